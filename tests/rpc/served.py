"""A namespace store behind a real server on loopback, for the port's suites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.ops import Batch, Reply
from gravitonfs.ports.store import LEASE_SECONDS, SessionRow, SnapshotRow
from gravitonfs.ports.target import Space
from harness.waiting import wait_until

SETTINGS = GrpcSettings(port=0, lease=20.0, stop_grace=2.0)


class NoBlocks:
    """The suites name blocks that no store has."""

    def sync(self, packs: Sequence[int]) -> None: ...

    def forget_packs(self, packs: Sequence[int]) -> None: ...


def believe(batches: Sequence[Batch], sender: object) -> list[Batch]:
    """The suites seal with digests of their own."""
    return list(batches)


class SettledNamespace(RemoteNamespace):
    """Waits, after each change, until the other sessions have heard of it: suites ask at once."""

    settle: Callable[[], None]

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        try:
            return super().apply(batches, durable=durable)
        finally:
            self.settle()


class ServedStore:
    def __init__(self, store: NamespaceStore | PostgresStore) -> None:
        self.local = store
        self.packs, self.loose = store.packs, store.loose
        backend = Backend(
            sessions=store,
            content=cast(Any, None),
            blocks=cast(Any, NoBlocks()),
            packs=store.packs,
            loose=store.loose,
            format=store.format,
            space=lambda: Space(0, 0),
            secret=bytes(32),
        )
        self.server = GrpcServer(backend, SETTINGS, vet=believe)
        self.server.start()
        self.connection = Connection(Endpoint((self.server.address,)))
        self.clients: list[SettledNamespace] = []
        self.open = True

    def attach(
        self,
        volume: str = "main",
        *,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        resume: int | None = None,
        at: int | None = None,
        recall: Recall | None = None,
        background: bool = False,
        leased: bytes | None = None,
        patience: float | None = None,
    ) -> Namespace:
        if resume is not None or at is not None or background:
            return self.local.attach(volume, label=label, resume=resume, at=at, background=background)
        made = SettledNamespace(
            self.connection,
            volume,
            label=label,
            claims=claims,
            listener=listener,
            read_only=read_only,
            recall=recall,
            timeout=10,
        )
        made.settle = self.settle
        self.clients.append(made)
        return made

    def settle(self) -> None:
        def settled() -> bool:
            for client in self.clients:
                remote = self.server.sessions.remote(client.session)
                if remote is None or client.attachment.ended:
                    continue
                if remote._asked or (
                    client._listener and client.attachment.sequence < remote._sequence > remote._first
                ):
                    return False
            return True

        wait_until(settled, "every session to hear of the change")

    @property
    def upkeep(self) -> Any:
        return SettledUpkeep(self)

    def create_snapshot(self, volume: str, name: str) -> SnapshotRow:
        return self.local.create_snapshot(volume, name)

    def delete_snapshot(self, volume: str, name: str) -> None:
        self.local.delete_snapshot(volume, name)

    def snapshot_rows(self, volume: str) -> list[SnapshotRow]:
        return self.local.snapshot_rows(volume)

    def sessions(self) -> list[SessionRow]:
        return self.local.sessions()

    def evict(self, number: int) -> None:
        self.server.sessions.evict(number)

    def set_barrier(self, barrier: Callable[[], None]) -> None:
        self.local.set_barrier(barrier)

    def commit(self) -> None:
        self.local.commit()

    def close(self) -> None:
        if self.open:
            self.open = False
            for client in self.clients:
                client._lifeline.stop()
                client.attachment.close()
            self.connection.close()
            self.server.stop(0)
            self.local.close()


class SettledUpkeep:
    def __init__(self, served: ServedStore) -> None:
        self._served = served

    def reap(self, limit: int) -> int:
        done = self._served.local.upkeep.reap(limit)
        self._served.settle()
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._served.local.upkeep, name)


class ServedStores:
    def __init__(self, path: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.path = path
        self.lease_seconds = lease_seconds
        self._opened: list[ServedStore] = []
        NamespaceStore.create(path, VolumeFormat(), b"store uuid 16 by")

    def open(self) -> ServedStore:
        opened = ServedStore(NamespaceStore.open(self.path, lease_seconds=self.lease_seconds))
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
