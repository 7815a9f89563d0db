"""Taking, listing and dropping snapshots: the changes that both engines share.

A snapshot is a row with a version; what else is known of it lies in a record beside it, so that the schema
is that of the first release. What a dropped one alone saw is purged later (``purging``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from graviton_server.namespace.applying import Moment
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.sessions import Volume
from gravitonfs.core import snapshots
from gravitonfs.core.ids import NO_INO
from gravitonfs.errors import Exists, NoSpace, NotFound
from gravitonfs.ports.namespace import Change, Touched, VolumeUsage
from gravitonfs.ports.store import SnapshotRow

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

SPACE: Final = "snapshots"
_LAST: Final = b"\0last"
UNPURGED: Final = "unpurged"
"""In ``meta``: the version of the last drop, while what it has left is not purged."""

_ADD: Final = "INSERT INTO snapshots (volume, name, version, created) VALUES (?, ?, ?, ?)"
_DROP: Final = "DELETE FROM snapshots WHERE volume = ? AND name = ?"
_ROWS: Final = "SELECT name, version, created FROM snapshots WHERE volume = ? ORDER BY version"
_NEWEST: Final = "SELECT coalesce(max(version), 0) FROM snapshots WHERE volume = ?"
_RECORDS: Final = "SELECT key, value FROM records WHERE volume = ? AND space = ?"
_RECORD: Final = "SELECT value FROM records WHERE volume = ? AND space = ? AND key = ?"
_PUT_RECORD: Final = (
    "INSERT INTO records (volume, space, key, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (volume, space, key) DO UPDATE SET value = excluded.value"
)
_DROP_RECORD: Final = "DELETE FROM records WHERE volume = ? AND space = ? AND key = ?"
_SET_UNPURGED: Final = (
    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_encode = msgspec.msgpack.encode
_UNTOLD: Final = _encode((0, 0, 0, False))


class Wanted(NamedTuple):
    """``scheduled``: made by the schedule, which may drop it again."""

    name: str
    scheduled: bool


def rows(execute: Execute, volume: int) -> list[SnapshotRow]:
    """The oldest comes first. Those that an early release took have no number, and only a version."""
    told = dict(execute(_RECORDS, (volume, SPACE)).fetchall())
    found = []
    for name, version, created in execute(_ROWS, (volume,)).fetchall():
        number, size, inodes, scheduled = msgspec.msgpack.decode(
            told.get(name.encode(), _encode((0, 0, 0, False)))
        )
        found.append(SnapshotRow(name, version, created, size, inodes, number, scheduled))
    return found


def keep(execute: Execute, volume: Volume, wanted: Wanted, usage: VolumeUsage, moment: Moment) -> None:
    """Everything applied up to the moment is in it. Nothing else changes the volume meanwhile."""
    if any(row.name == wanted.name for row in rows(execute, volume.id)):
        raise Exists(f"there is a snapshot {wanted.name!r} already: choose another name, or delete it first")
    last = execute(_RECORD, (volume.id, SPACE, _LAST)).fetchone()
    number = 1 + (msgspec.msgpack.decode(last[0]) if last else 0)
    if number > snapshots.NUMBER_MAX:
        raise NoSpace(f"the volume has had {number - 1} snapshots, and can have no more")
    execute(_PUT_RECORD, (volume.id, SPACE, _LAST, _encode(number)))
    told = _encode((number, usage.logical_bytes, usage.inodes, wanted.scheduled))
    execute(_PUT_RECORD, (volume.id, SPACE, wanted.name.encode(), told))
    execute(_ADD, (volume.id, wanted.name, moment.version, moment.clock))
    volume.snapshot = moment.version
    moment.changes[:] = _listed(volume, number, wanted.name)


def drop(execute: Execute, volume: Volume, name: str, moment: Moment) -> None:
    number = next((row.number for row in rows(execute, volume.id) if row.name == name), None)
    if number is None:
        raise missing(name)
    execute(_DROP, (volume.id, name))
    execute(_DROP_RECORD, (volume.id, SPACE, name.encode()))
    execute(_SET_UNPURGED, (UNPURGED, moment.version))
    volume.snapshot = execute(_NEWEST, (volume.id,)).fetchone()[0]
    moment.changes[:] = _listed(volume, number, name)


def _listed(volume: Volume, number: int, name: str) -> list[Change]:
    """What is below one that has gone is reached no more, and its numbers are never another's."""
    root = snapshots.past_ino(number, volume.root)
    return [
        Change(Touched.ENTRY, root, snapshots.DIRECTORY_INO, name.encode()),
        Change(Touched.ATTR, snapshots.DIRECTORY_INO, NO_INO, b""),
    ]


def drop_all(execute: Execute, moment: Moment) -> None:
    """Of a volume whose rows are gone."""
    execute(_SET_UNPURGED, (UNPURGED, moment.version))


def missing(name: str) -> NotFound:
    return NotFound(f"there is no snapshot {name!r}: 'graviton snapshot list' tells which there are")


# --- in the process that owns the store --------------------------------------------------------------


def create_here(store: NamespaceStore, volume: str, wanted: Wanted) -> SnapshotRow:
    """What whoever has the volume to itself has answered is in, too."""
    snapshots.check_name(wanted.name)

    def change(found: Volume, moment: Moment) -> None:
        usage = VolumeUsage(found.logical_bytes, found.inodes)
        store.change(keep, store.execute, found, wanted, usage, moment)

    _change(store, volume, change)
    return next(row for row in rows_here(store, volume) if row.name == wanted.name)


def drop_here(store: NamespaceStore, volume: str, name: str) -> None:
    """Whoever has the volume to itself does not show what is gone."""
    _change(store, volume, lambda found, moment: store.change(drop, store.execute, found, name, moment))


def _change(store: NamespaceStore, volume: str, change: Callable[[Volume, Moment], None]) -> None:
    """Whoever has the volume to itself sends what it has answered and lets go first."""
    visitor = store.attach(volume, label="snapshot")
    try:
        with store.lock:
            store.check_readable()
            found = store.roster.named(volume)
            moment = store.applier.moment()
            change(found, moment)
            store.commits.commit()
        _tell(store, found, moment.changes)
    finally:
        visitor.detach()


def rows_here(store: NamespaceStore, volume: str) -> list[SnapshotRow]:
    with store.reading() as execute:
        return rows(execute, store.roster.named(volume).id)


def _tell(store: NamespaceStore, volume: Volume, changes: list[Change]) -> None:
    with store.lock:
        told = [session.listener for session in store.roster.in_use(volume) if session.listener is not None]
    for listener in told:
        listener(changes)
