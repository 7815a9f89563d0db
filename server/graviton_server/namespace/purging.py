"""History that no snapshot sees any more: found by walking the tables of history, some rows at a time.

A row is seen by a snapshot of a version from ``born`` up to before ``died``. Versions are the store's: a row
of one volume stays as long as a snapshot of any sees that time, but for inodes, which know their volume.
Where it was is not written down; after a restart the walk begins anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from graviton_server.namespace.snapshots import UNPURGED

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_WANTED: Final = "SELECT value FROM meta WHERE key = ?"
_DONE: Final = "DELETE FROM meta WHERE key = ? AND value = ?"
_SNAPSHOTS: Final = "SELECT volume, version FROM snapshots ORDER BY version"
_DROP_REF: Final = "UPDATE contents SET refs = refs - 1 WHERE id = ?"


class _Table(NamedTuple):
    """``key``: its columns, which order it. ``used``: the content that a row counts as a user of."""

    name: str
    key: tuple[str, ...]
    used: str = "0"
    volume: str = "0"

    def page(self) -> str:
        key = ", ".join(self.key)
        marks = ", ".join("?" * len(self.key))
        return (
            f"SELECT {key}, born, died, {self.used}, {self.volume} FROM {self.name}"
            f" WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT ?"
        )

    def delete(self) -> str:
        return f"DELETE FROM {self.name} WHERE " + " AND ".join(f"{column} = ?" for column in self.key)

    def start(self) -> tuple[Any, ...]:
        return tuple(b"" if column == "name" else -1 for column in self.key)


_TABLES: Final = (
    _Table("names_history", ("parent", "name", "died")),
    _Table("xattrs_history", ("ino", "name", "died")),
    _Table("regions_history", ("content", "region", "seq", "died")),
    _Table("contents_history", ("id", "died"), used="base"),
    _Table("inodes_history", ("ino", "died"), used="content", volume="volume"),
)
_PAGES: Final = tuple((table.page(), table.delete(), len(table.key)) for table in _TABLES)


class Purger:
    """One thread at a time."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._wanted = 0
        self._table = 0
        self._after: tuple[Any, ...] = ()

    def step(self, limit: int) -> int:
        """Look at up to so many rows, and delete those that nothing sees. 0: there is nothing to purge."""
        store = self._store
        with store.lock:
            store.check_readable()
            row = store.execute(_WANTED, (UNPURGED,)).fetchone()
            if row is None:
                return 0
            if row[0] != self._wanted:
                self._wanted, self._table, self._after = row[0], 0, _TABLES[0].start()
            if self._table == len(_TABLES):
                store.change(store.execute, _DONE, (UNPURGED, self._wanted))
                self._wanted = 0
                return 1
            page, delete, width = _PAGES[self._table]
            rows = store.execute(page, (*self._after, limit)).fetchall()
            versions = store.execute(_SNAPSHOTS).fetchall()
            dead = [row for row in rows if not _is_seen(versions, row[width], row[width + 1], row[width + 3])]
            if dead:
                store.change(_purge, store, delete, [(row[:width], row[width + 2]) for row in dead])
            if len(rows) < limit:
                self._table += 1
                self._after = _TABLES[self._table].start() if self._table < len(_TABLES) else ()
            else:
                self._after = tuple(rows[-1][:width])
            return max(len(rows), 1)


def _is_seen(snapshots: list[tuple[int, int]], born: int, died: int, volume: int) -> bool:
    versions = [version for number, version in snapshots if volume in (0, number)]
    at = bisect_left(versions, born)
    return at < len(versions) and versions[at] < died


def _purge(store: NamespaceStore, delete: str, dead: Sequence[tuple[tuple[Any, ...], int]]) -> None:
    for key, used in dead:
        if store.execute(delete, key).rowcount and used:
            store.execute(_DROP_REF, (used,))
