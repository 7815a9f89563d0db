"""Handlers of snapshots: a volume as it was."""

from __future__ import annotations

from graviton_server.control import requests
from graviton_server.control.answers import SnapshotInfo
from graviton_server.control.calls import Channel
from graviton_server.control.service import Service
from gravitonfs.ports.store import SnapshotRow


def handle_create(service: Service, request: requests.CreateSnapshot, _: Channel) -> SnapshotInfo:
    return told(service.engine.namespace_store.create_snapshot(request.volume, request.name))


def handle_list(service: Service, request: requests.ListSnapshots, _: Channel) -> list[SnapshotInfo]:
    return [told(row) for row in service.engine.namespace_store.snapshot_rows(request.volume)]


def handle_delete(service: Service, request: requests.DeleteSnapshot, _: Channel) -> None:
    service.engine.namespace_store.delete_snapshot(request.volume, request.name)


def told(row: SnapshotRow) -> SnapshotInfo:
    return SnapshotInfo(row.name, row.created_ns / 1e9, row.logical_bytes, row.inodes, row.scheduled)
