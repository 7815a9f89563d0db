"""Snapshots on PostgreSQL: the shared changes, with the gate closed, so that no batch is half in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import snapshots as shared
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.postgres.upkeep import VOLUMES
from graviton_server.namespace.postgres.work import Reader
from graviton_server.namespace.sessions import Volume
from gravitonfs.core import snapshots
from gravitonfs.errors import NotFound
from gravitonfs.ports.namespace import VolumeUsage
from gravitonfs.ports.store import SnapshotRow

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

Change = Callable[[Volume, Moment], None]

_USAGE: Final = f"SELECT logical_bytes, inodes FROM ({VOLUMES}) v WHERE id = %s"


def rows(store: PostgresStore, volume: str) -> list[SnapshotRow]:
    return shared.rows(Reader(store).execute, store.roster.named(volume).id)


def create(store: PostgresStore, volume: str, wanted: shared.Wanted) -> SnapshotRow:
    """What whoever has the volume to itself has answered is in, too."""
    snapshots.check_name(wanted.name)

    def keep(found: Volume, moment: Moment) -> None:
        usage = VolumeUsage(*store.work.scope_of_thread().exchange.query((_USAGE, (found.id,)))[0])
        shared.keep(store.work.execute, found, wanted, usage, moment)

    _change(store, volume, keep)
    return next(row for row in rows(store, volume) if row.name == wanted.name)


def drop(store: PostgresStore, volume: str, name: str) -> None:
    """Whoever has the volume to itself does not show what is gone."""
    _change(store, volume, lambda found, moment: shared.drop(store.work.execute, found, name, moment))


def _change(store: PostgresStore, volume: str, change: Change) -> None:
    """Whoever has the volume to itself sends what it has answered and lets go first."""
    visitor = store.attach(volume, label="snapshot")
    try:
        store.upkeep.again(_behind_gate, store, volume, change)
    finally:
        visitor.detach()


def _behind_gate(store: PostgresStore, name: str, change: Change) -> None:
    work = store.work
    with work.lock:
        work.close_gate()
        volume = _named(store, name)
        moment = work.applier.moment()
        work.applier.outside_batch(volume, moment)
        change(volume, moment)
        work.commit()


def _named(store: PostgresStore, name: str) -> Volume:
    for volume in store.work.volumes_by_number().values():
        if volume.name == name:
            return volume
    raise NotFound(f"there is no volume {name!r}")
