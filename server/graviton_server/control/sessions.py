"""Handlers of sessions: who uses the store, through whichever process."""

from __future__ import annotations

from graviton_server.control import store_requests
from graviton_server.control.answers import SessionInfo
from graviton_server.control.calls import Channel
from graviton_server.control.service import Service


def handle_list(service: Service, request: store_requests.ListSessions, _: Channel) -> list[SessionInfo]:
    return [
        SessionInfo(row.number, row.volume, row.label, row.read_only, row.leased, row.attached, row.holds)
        for row in service.engine.namespace_store.sessions()
    ]


def handle_evict(service: Service, request: store_requests.EvictSession, _: Channel) -> None:
    service.engine.namespace_store.evict(request.number)
