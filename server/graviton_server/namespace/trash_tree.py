"""The directory ``.trash`` of a volume, to read: days, and on each the paths of what was removed.

Directories show the owner and mode that they have, or had when they went, so that nobody gets at what he
could not get at before. Only owners move or remove what is in them: they are sticky.
"""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import trash_places as places
from graviton_server.namespace.historic import HistoricStore
from graviton_server.namespace.sessions import Session
from graviton_server.namespace.walking import walked
from gravitonfs.core.ids import Ino
from gravitonfs.core.trash import (
    DIRECTORY,
    DIRECTORY_INO,
    day_name,
    parse_day,
    trash_ino,
    trash_parted,
)
from gravitonfs.errors import NotADirectory, Stale
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr

if TYPE_CHECKING:
    from graviton_server.namespace.reading import SqlNamespace

_PLACE: Final = "SELECT parent, name FROM names WHERE ino = ? LIMIT 1"
_DIGEST: Final = "SELECT digest FROM contents WHERE id = ?"
_LISTING_SECONDS: Final = 30.0


class TrashTree:
    """Of one session. Thread-safe. A listing is kept while its pages are read; what went meanwhile is left
    out."""

    def __init__(
        self, store: HistoricStore, session: Session, present: SqlNamespace, root: Callable[[], Attr]
    ) -> None:
        """``root`` tells who owns the volume."""
        self._store = store
        self._volume = session.volume
        self._present = present
        self._root = root
        self._lock = threading.Lock()
        self._listed: tuple[Ino, float, list[tuple[bytes, Ino]]] = (Ino(0), 0.0, [])

    def directory(self) -> Attr:
        """``.trash`` itself."""
        root = self._root()
        with self._store.reading() as execute:
            found = places.days(execute, self._volume.id)
        mode = stat.S_IFDIR | root.mode & 0o555
        return root._replace(ino=DIRECTORY_INO, mode=mode, nlink=2 + len(found), size=0)

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        if parent == DIRECTORY_INO:
            day = parse_day(name)
            if day is None:
                return None
            with self._store.reading() as execute:
                there = places.has_day(execute, self._volume.id, day)
            return self.attr(trash_ino(day, self._volume.root)) if there else None
        day, directory = trash_parted(parent)
        with self._store.reading() as execute:
            found = places.find(execute, day, directory, name)
        if found is not None:
            return self.attr(trash_ino(day, found.ino))
        self._must_be_directory(parent)
        return None

    def _must_be_directory(self, ino: Ino) -> None:
        if not stat.S_ISDIR(self.attr(ino).mode):
            raise NotADirectory(f"inode {ino} is no directory")

    def resolve(self, path: Sequence[bytes], start: Ino) -> list[Attr]:
        return walked(self.lookup, path, start)

    def attr(self, ino: Ino) -> Attr:
        if ino == DIRECTORY_INO:
            return self.directory()
        live = trash_parted(ino)[1]
        attr = self._root() if live == self._volume.root else self._present.attr(live)
        if stat.S_ISDIR(attr.mode):
            return attr._replace(ino=ino, mode=attr.mode | stat.S_ISVTX, nlink=2)
        return attr._replace(ino=ino, nlink=max(1, attr.nlink))

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        if parent == DIRECTORY_INO:
            with self._store.reading() as execute:
                days = places.days(execute, self._volume.id)
            named = [(day_name(day), day) for day in days if day_name(day) > (after or b"")]
            return [
                Entry(name, self.attr(trash_ino(day, self._volume.root)), None) for name, day in named[:limit]
            ]
        day, _ = trash_parted(parent)
        found: list[Entry] = []
        for name, ino in self._list(parent, after):
            if len(found) == limit:
                break
            try:
                attr = self.attr(trash_ino(day, ino))
            except Stale:
                continue
            found.append(Entry(name, attr, self._digest(attr)))
        if not found:
            self._must_be_directory(parent)
        return found

    def _list(self, parent: Ino, after: bytes | None) -> list[tuple[bytes, Ino]]:
        day, directory = trash_parted(parent)
        with self._lock:
            of, until, names = self._listed
        if not after or of != parent or time.monotonic() > until:
            with self._store.reading() as execute:
                names = places.listing(execute, self._volume.id, day, directory)
            with self._lock:
                self._listed = parent, time.monotonic() + _LISTING_SECONDS, names
        return [entry for entry in names if entry[0] > after] if after else names

    def _digest(self, attr: Attr) -> bytes | None:
        if not attr.content:
            return None
        with self._store.reading() as execute:
            row = execute(_DIGEST, (attr.content,)).fetchone()
        return None if row is None else row[0]

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        if ino == DIRECTORY_INO:
            return self._volume.root, DIRECTORY
        day, live = trash_parted(ino)
        if live == self._volume.root:
            return DIRECTORY_INO, day_name(day)
        with self._store.reading() as execute:
            row = places.row_of(execute, live)
            if row is not None:
                return trash_ino(day, row.parent), places.shown_name(execute, day, row)
            found = execute(_PLACE, (live,)).fetchone()
        return None if found is None else (trash_ino(day, Ino(found[0])), found[1])
