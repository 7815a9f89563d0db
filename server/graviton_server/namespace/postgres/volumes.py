"""Making and removing volumes on PostgreSQL: the shared changes, with the gate closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from graviton_server.namespace import volumes
from graviton_server.namespace.postgres.upkeep import VOLUMES
from graviton_server.namespace.roster import GONE
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Busy, Exists, Invalid, NotFound, NotPermitted
from gravitonfs.ports.store import VolumeRow

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore
    from graviton_server.namespace.store import NamespaceStore

_ROWS: Final = f"SELECT name, root, logical_bytes, inodes FROM ({VOLUMES}) v ORDER BY id"
_SESSIONS: Final = "SELECT count(*) FROM sessions WHERE volume = %s"


def rows(store: PostgresStore) -> list[VolumeRow]:
    found = (VolumeRow(*row) for row in store.ask(_ROWS, ()))
    return [row for row in found if not row.name.startswith(GONE)]


def create(store: PostgresStore, name: str) -> VolumeRow:
    if not volumes._NAME.fullmatch(name):
        raise Invalid("a volume's name has 1 to 63 of a-z, 0-9, '-', '_' and '.', and no '.' at the start")
    root = Ino(store.numbers.grant(1))
    store.upkeep.again(_create, store, name, root)
    return VolumeRow(name, root, 0, 1)


def _create(store: PostgresStore, name: str, root: Ino) -> None:
    work = store.work
    with work.lock:
        work.close_gate()
        there = work.volumes_by_number()
        if any(volume.name == name for volume in there.values()):
            raise Exists(f"there is a volume {name!r} already")
        volume = Volume(max(there) + 1, name, root, 0, 1)
        volumes._create(cast("NamespaceStore", work), volume, work.applier.moment())
        work.commit()


def delete(store: PostgresStore, name: str) -> None:
    store.upkeep.again(_delete, store, name)


def _delete(store: PostgresStore, name: str) -> None:
    work = store.work
    with work.lock:
        work.close_gate()
        found = [volume for volume in work.volumes_by_number().values() if volume.name == name]
        if not found or name.startswith(GONE):
            raise NotFound(f"there is no volume {name!r}")
        [volume] = found
        if volume.id == volumes._FIRST:
            raise NotPermitted(f"the volume {name!r} cannot be removed, only emptied")
        there = work.scope_of_thread().exchange.query((_SESSIONS, (volume.id,)))[0][0]
        if there:
            raise Busy(f"{there} sessions use the volume {name!r}: end them first")
        volumes._delete(cast("NamespaceStore", work), volume, work.applier.moment())
        work.commit()
