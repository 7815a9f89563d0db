"""Snapshots on PostgreSQL: the shared changes, with the gate closed, so that no batch is half in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from graviton_server.namespace import snapshots as shared
from graviton_server.namespace.postgres.upkeep import VOLUMES
from graviton_server.namespace.postgres.work import Reader
from graviton_server.namespace.sessions import Volume
from gravitonfs.core import snapshots
from gravitonfs.errors import NotFound
from gravitonfs.ports.namespace import VolumeUsage
from gravitonfs.ports.store import SnapshotRow

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

_USAGE: Final = f"SELECT logical_bytes, inodes FROM ({VOLUMES}) v WHERE id = %s"


def rows(store: PostgresStore, volume: str) -> list[SnapshotRow]:
    return shared.rows(Reader(store).execute, store.roster.named(volume).id)


def create(store: PostgresStore, volume: str, wanted: shared.Wanted) -> SnapshotRow:
    """Whoever has the volume to itself sends what it has answered and lets go first: it is in, too."""
    snapshots.check_name(wanted.name)
    visitor = store.attach(volume, label="snapshot")
    try:
        store.upkeep.again(_create, store, volume, wanted)
    finally:
        visitor.detach()
    return next(row for row in rows(store, volume) if row.name == wanted.name)


def _create(store: PostgresStore, name: str, wanted: shared.Wanted) -> None:
    work = store.work
    with work.lock:
        work.close_gate()
        volume = _named(store, name)
        usage = VolumeUsage(*work.scope_of_thread().exchange.query((_USAGE, (volume.id,)))[0])
        moment = work.applier.moment()
        work.applier.outside_batch(volume, moment)
        shared.keep(work.execute, volume, wanted, usage, moment)
        work.commit()


def drop(store: PostgresStore, volume: str, name: str) -> None:
    """Whoever has the volume to itself lets go first: it might show what is gone."""
    visitor = store.attach(volume, label="snapshot")
    try:
        store.upkeep.again(_drop, store, volume, name)
    finally:
        visitor.detach()


def _drop(store: PostgresStore, name: str, snapshot: str) -> None:
    work = store.work
    with work.lock:
        work.close_gate()
        volume = _named(store, name)
        moment = work.applier.moment()
        work.applier.outside_batch(volume, moment)
        shared.drop(work.execute, volume, snapshot, moment)
        work.commit()


def _named(store: PostgresStore, name: str) -> Volume:
    for volume in store.work.volumes_by_number().values():
        if volume.name == name:
            return volume
    raise NotFound(f"there is no volume {name!r}")
