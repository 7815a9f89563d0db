"""Puts the HTTP API together over an open engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from graviton_server.auth.apptokens import AppTokens
from graviton_server.auth.authenticator import Authenticator, authenticator
from graviton_server.auth.exposure import check_exposure
from graviton_server.auth.websessions import WebSessions
from graviton_server.cli.davserver import dav_server
from graviton_server.cli.limits import SharedLimits
from graviton_server.config.environment import Surroundings
from graviton_server.config.sections import Config
from graviton_server.control import trash
from graviton_server.control.handlers import answer
from graviton_server.control.service import MAIN, Service
from graviton_server.control.snapshots import told as snapshot_told
from graviton_server.control.tallies import Tallies
from graviton_server.http_api.app import Backstage
from graviton_server.http_api.browsers import Browsers
from graviton_server.http_api.context import Api
from graviton_server.http_api.jobboard import JobBoard
from graviton_server.http_api.jobs import JobChannel, Jobs
from graviton_server.http_api.server import HttpServer
from graviton_server.http_api.settings import HttpSettings
from graviton_server.http_api.transfers import Transfers
from graviton_server.maintenance import history
from graviton_server.metrics import renderer
from graviton_webdav.app import WebDavServer
from gravitonfs.errors import GravitonError

log = logging.getLogger("graviton")

WRITE_FLOOR = 64 << 20
"""Bytes that must be free for a daemon to be ready to take writes."""


def http_settings(config: Config, surroundings: Surroundings, *, shared: bool = False) -> HttpSettings:
    http, constraints = config.server.http, config.constraints
    tls = http.tls
    return HttpSettings(
        host=http.host,
        port=http.port,
        certificate=_path(tls.cert_file) if tls.enabled else None,
        private_key=_path(tls.key_file) if tls.enabled else None,
        client_authorities=_path(tls.trust_cert_collection_file) if tls.enabled else None,
        request_timeout=http.request_timeout,
        max_request_size=http.max_request_size,
        max_blob_size=constraints.max_blob_size,
        max_concurrent_uploads=constraints.max_concurrent_uploads,
        correlation_header=config.logging.correlation_id_header,
        metrics=config.metrics.enabled,
        production=surroundings.production,
        shared=shared,
    )


def http_server(
    service: Service, config: Config, surroundings: Surroundings, limits: SharedLimits, *, insecure: bool
) -> HttpServer:
    """Raises Invalid where it would be open to others without that being meant."""
    guard = make_authenticator(service, config)
    tls = config.server.http.tls
    guarded = guard is not None or (tls.enabled and tls.trust_cert_collection_file is not None)
    warning = check_exposure(
        "HTTP", config.server.http.host, guarded=guarded, auth=config.auth, insecure=insecure
    )
    if warning is not None:
        log.warning("%s", warning)
    settings = http_settings(config, surroundings, shared=service.engine.shared)
    service.tallies = Tallies()
    transfers = Transfers(
        limits.slots, limits.rate_in, limits.rate_out, settings.request_timeout, service.tallies
    )
    engine = service.engine
    console = config.console
    browsers = None
    if guard is not None and console.enabled:
        sessions = WebSessions(service.records, AppTokens(service.records), console.session_lifetime)
        browsers = Browsers(sessions, f"graviton_{engine.namespace_store.store_uuid.hex()[:12]}")

    def names() -> list[str]:
        return [row.name for row in engine.namespace_store.volume_rows()]

    api = Api(settings, service.pool, transfers, names)
    backstage = Backstage(
        ask=lambda request: answer(service, request, JobChannel()),
        sessions=_Sessions(service),
        volumes=_Volumes(service),
        snapshots=_Snapshots(service),
        jobs=Jobs(
            lambda request, channel: answer(service, request, channel),
            JobBoard(service.records) if engine.shared else None,
        ),
        checks=Checks(service).states,
        metrics=renderer(service),
        recovery=_Recovery(service),
        history=lambda: _history(service),
        browsers=browsers,
        console=console.enabled,
    )
    return HttpServer(api, backstage, guard)


def make_authenticator(service: Service, config: Config) -> Authenticator | None:
    """App tokens are kept in the records of the first volume."""
    return authenticator(config.auth, AppTokens(service.records))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def webdav_server(
    service: Service, config: Config, limits: SharedLimits, *, insecure: bool, read_only: bool = False
) -> WebDavServer:
    """Raises Invalid where it would be open to others without that being meant."""
    return dav_server(
        lambda: service.pool.use(MAIN),
        MAIN,
        make_authenticator(service, config),
        lambda: service.engine.space().free,
        config,
        limits,
        insecure=insecure,
        read_only=read_only,
    )


class _Sessions:
    def __init__(self, service: Service) -> None:
        self._store = service.engine.namespace_store

    def list(self) -> list[dict[str, Any]]:
        return [row._asdict() for row in self._store.sessions()]

    def evict(self, number: int) -> None:
        self._store.evict(number)


class _Volumes:
    def __init__(self, service: Service) -> None:
        self._store = service.engine.namespace_store

    def create(self, name: str) -> dict[str, Any]:
        row = self._store.create_volume(name)
        return {"name": row.name, "logical_bytes": row.logical_bytes, "inodes": row.inodes}

    def delete(self, name: str) -> None:
        self._store.delete_volume(name)

    def list(self) -> list[dict[str, Any]]:
        return [
            {"name": row.name, "logical_bytes": row.logical_bytes, "inodes": row.inodes}
            for row in self._store.volume_rows()
        ]


class _Snapshots:
    def __init__(self, service: Service) -> None:
        self._store = service.engine.namespace_store

    def list(self, volume: str) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(snapshot_told(row)) for row in self._store.snapshot_rows(volume)]

    def create(self, volume: str, name: str) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(snapshot_told(self._store.create_snapshot(volume, name)))
        return told

    def delete(self, volume: str, name: str) -> None:
        self._store.delete_snapshot(volume, name)


class _Recovery:
    def __init__(self, service: Service) -> None:
        self._pool = service.pool

    def removed(self, volume: str, path: bytes, limit: int) -> tuple[list[dict[str, object]], bool]:
        with self._pool.volume(volume) as attached:
            return trash.some(attached, path, limit)


def _history(service: Service) -> list[dict[str, Any]]:
    with service.records() as volume:
        return history.read(volume.namespace)


class Checks:
    """What a daemon needs to serve: its database, and room on the target for writes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def states(self) -> dict[str, str | None]:
        return {"database": self._database(), "storage": self._storage()}

    def good(self) -> bool:
        return all(wrong is None for wrong in self.states().values())

    def _database(self) -> str | None:
        try:
            self._service.engine.namespace_store.check()
        except GravitonError as error:
            return str(error)
        return None

    def _storage(self) -> str | None:
        copies = self._service.engine.replication
        if copies is not None and (wrong := copies.target.below_floor()) is not None:
            return wrong
        try:
            space = self._service.engine.space()
        except GravitonError as error:
            return str(error)
        if space.capacity and space.free < WRITE_FLOOR:
            return f"{space.free} bytes are free, and {WRITE_FLOOR} are needed for writes"
        return None
