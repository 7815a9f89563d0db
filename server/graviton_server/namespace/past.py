"""The directory ``.snapshots`` of a volume: the tree of each snapshot, under numbers of its own.

An answer is given only if the snapshot is still there after it was read: else its history may have been
purged meanwhile, and what is missing would look like a hole or like nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from graviton_server.namespace import snapshots as rows
from graviton_server.namespace.historic import HistoricNamespace, HistoricStore
from graviton_server.namespace.sessions import Session
from graviton_server.namespace.walking import walked
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.core.snapshots import DIRECTORY, DIRECTORY_INO, parted, past_content, past_ino
from gravitonfs.errors import GravitonError, Invalid, NoAttribute, Stale
from gravitonfs.ports.namespace import ContentInfo, Entry, RegionMap
from gravitonfs.ports.ops import Attr
from gravitonfs.ports.store import SnapshotRow

T = TypeVar("T")
_EXISTS: Final = "SELECT 1 FROM snapshots WHERE volume = ? AND name = ? AND version = ?"


class PastTree:
    """Of one session. Thread-safe: what it keeps is only added to, and checked after each use."""

    def __init__(self, store: HistoricStore, session: Session, root: Callable[[], Attr]) -> None:
        """``root`` tells who owns the volume."""
        self._store = store
        self._session = session
        self._root = root
        self._known: dict[int, tuple[SnapshotRow, HistoricNamespace]] = {}

    # --- snapshots -----------------------------------------------------------------------------------

    def rows(self) -> list[SnapshotRow]:
        """By name, as directories list. Those without a number, of an early release, are not shown."""
        with self._store.reading() as execute:
            found = rows.rows(execute, self._session.volume.id)
        for row in found:
            if row.number not in self._known:
                then = HistoricNamespace(self._store, self._session, row.version)
                self._known[row.number] = row, then
        return sorted((row for row in found if row.number), key=lambda row: row.name)

    def _ask(self, number: int, question: Callable[[HistoricNamespace], T]) -> T:
        if number not in self._known:
            self.rows()
        if number not in self._known or not number:
            raise Stale("there is no such snapshot any more")
        row, then = self._known[number]
        try:
            answer = question(then)
        except GravitonError:
            self._must_exist(row)
            raise
        self._must_exist(row)
        return answer

    def _must_exist(self, row: SnapshotRow) -> None:
        with self._store.reading() as execute:
            there = execute(_EXISTS, (self._session.volume.id, row.name, row.version)).fetchone()
        if there is None:
            self._known.pop(row.number, None)
            raise Stale(f"the snapshot {row.name!r} has been deleted")

    # --- names ---------------------------------------------------------------------------------------

    def directory(self) -> Attr:
        """``.snapshots`` itself."""
        found = self.rows()
        root = self._root()
        changed = max((row.created_ns for row in found), default=root.btime_ns)
        return root._replace(
            ino=DIRECTORY_INO,
            mode=stat.S_IFDIR | 0o555,
            nlink=2 + len(found),
            size=0,
            atime_ns=changed,
            mtime_ns=changed,
            ctime_ns=changed,
        )

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        number, ino = parted(parent)
        if parent == DIRECTORY_INO:
            for row in self.rows():
                if row.name.encode() == name:
                    return self.attr(past_ino(row.number, self._session.volume.root))
            return None
        found = self._ask(number, lambda then: then.lookup(Ino(ino), name))
        return None if found is None else _shown(number, found)

    def resolve(self, path: Sequence[bytes], start: Ino) -> list[Attr]:
        return walked(self.lookup, path, start)

    def attr(self, ino: Ino) -> Attr:
        if ino == DIRECTORY_INO:
            return self.directory()
        number, live = parted(ino)
        return _shown(number, self._ask(number, lambda then: then.attr(Ino(live))))

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        number, ino = parted(parent)
        if parent == DIRECTORY_INO:
            found = [row for row in self.rows() if row.name.encode() > (after or b"")]
            root = self._session.volume.root
            return [
                Entry(row.name.encode(), self.attr(past_ino(row.number, root)), None) for row in found[:limit]
            ]
        listed = self._ask(number, lambda then: then.entries(Ino(ino), after, limit))
        return [Entry(name, _shown(number, attr), digest) for name, attr, digest in listed]

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        root = self._session.volume.root
        if ino == DIRECTORY_INO:
            return root, DIRECTORY
        number, live = parted(ino)
        if live == root:
            self.attr(ino)
            return DIRECTORY_INO, self._known[number][0].name.encode()
        found = self._ask(number, lambda then: then.parent(Ino(live)))
        return None if found is None else (past_ino(number, found[0]), found[1])

    def readlink(self, ino: Ino) -> bytes:
        number, live = parted(ino)
        if ino == DIRECTORY_INO:
            raise Invalid(f"{DIRECTORY.decode()} is no symlink")
        return self._ask(number, lambda then: then.readlink(Ino(live)))

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        for found, value in self.xattrs(ino):
            if found == name:
                return value
        raise NoAttribute(f"inode {ino} had no attribute {name!r}")

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        number, live = parted(ino)
        if ino == DIRECTORY_INO:
            return []

        def question(then: HistoricNamespace) -> list[tuple[bytes, bytes]]:
            then.attr(Ino(live))
            return then.xattrs(Ino(live))

        return self._ask(number, question)

    # --- bytes ---------------------------------------------------------------------------------------

    def content(self, content: ContentId) -> ContentInfo:
        number, live = parted(content)
        found = self._ask(number, lambda then: then.content_then(ContentId(live)))
        return found._replace(id=content)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        number, live = parted(content)
        return self._ask(number, lambda then: then.extents(ContentId(live), first, last))

    def has_content(self, content: ContentId) -> bool:
        try:
            self.content(content)
        except GravitonError:
            return False
        return True


def _shown(number: int, attr: Attr) -> Attr:
    return attr._replace(ino=past_ino(number, attr.ino), content=past_content(number, attr.content))
