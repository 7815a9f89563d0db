"""A volume as it was at a retained version: live rows born by then, and history rows not yet dead."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from graviton_server.namespace import regions
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.sessions import Session
from gravitonfs.core.extents import Extent
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import NO_CONTENT, ContentId, Ino
from gravitonfs.errors import Invalid, NoAttribute, NotADirectory, NotFound, ReadOnly, Stale
from gravitonfs.ports.namespace import (
    SMALL_CONTENT,
    BlobRef,
    Change,
    ContentInfo,
    ContentKind,
    Entry,
    RegionMap,
    Room,
    VolumeUsage,
)
from gravitonfs.ports.ops import Attr, Batch, Reply


class HistoricStore(Protocol):
    """What a reader of the past needs of its store."""

    @property
    def format(self) -> VolumeFormat: ...
    def reading(self) -> AbstractContextManager[Execute]: ...
    def detach(self, session: Session) -> None: ...


_ATTRIBUTES: Final = "ino, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, btime, content, version"


def _at(table: str, columns: str, condition: str) -> str:
    return (
        f"SELECT {columns} FROM {table} WHERE {condition} AND born <= ? UNION ALL"
        f" SELECT {columns} FROM {table}_history WHERE {condition} AND born <= ? AND died > ?"
    )


_INODE: Final = _at("inodes", f"{_ATTRIBUTES}, target", "ino = ? AND volume = ?")
_OWNER: Final = _at("inodes", "size, version", "content = ? AND content <> 0 AND volume = ?")
_NAME: Final = _at("names", "ino", "parent = ? AND name = ?")
_NAMES: Final = _at("names", "name, ino", "parent = ? AND name > ?") + " ORDER BY name LIMIT ?"
_LISTED: Final = f"i.{_ATTRIBUTES.replace(', ', ', i.')}, c.digest, c.version"
_ENTRIES: Final = (
    f"SELECT n.name, {_LISTED} FROM ({_NAMES}) n JOIN inodes i ON i.ino = n.ino AND i.volume = ?"
    " LEFT JOIN contents c ON c.id = i.content WHERE i.born <= ?"
    f" UNION ALL SELECT n.name, {_LISTED} FROM ({_NAMES}) n"
    " JOIN inodes_history i ON i.ino = n.ino AND i.volume = ?"
    " LEFT JOIN contents c ON c.id = i.content WHERE i.born <= ? AND i.died > ? ORDER BY 1"
)
"""A page of names, and each with the row that its inode had."""
_PARENT: Final = _at("names", "parent, name", "ino = ?")
_XATTR: Final = _at("xattrs", "name, value", "ino = ? AND name = ?")
_XATTRS: Final = _at("xattrs", "name, value", "ino = ?") + " ORDER BY name"
_BASE: Final = _at("contents", "base, base_limit", "id = ?")
_ROWS: Final = (
    _at("regions", "region, seq, data", "content = ? AND region BETWEEN ? AND ?") + " ORDER BY region, seq"
)
_CONTENT: Final = "SELECT kind, length, version, digest FROM contents WHERE id = ?"


class HistoricNamespace:
    """The ``Namespace`` port, read-only, at one version."""

    inline = True
    settles = True
    read_only = True

    def __init__(self, store: HistoricStore, session: Session, version: int) -> None:
        self._store = store
        self._session = session
        self._at = version
        self._volume = session.volume.id
        self.volume = session.volume.name
        self.session = session.id
        self.root = session.volume.root
        self.format = store.format

    def _all(self, sql: str, *condition: Any, limit: int | None = None) -> list[Any]:
        at = self._at
        tail = () if limit is None else (limit,)
        with self._store.reading() as execute:
            return execute(sql, (*condition, at, *condition, at, at, *tail)).fetchall()

    def _inode(self, ino: Ino) -> tuple[Attr, bytes | None]:
        rows = self._all(_INODE, ino, self._volume)
        if not rows:
            raise Stale(f"inode {ino} did not exist then")
        return Attr._make(rows[0][:-1]), rows[0][-1]

    def _must_be_directory(self, ino: Ino) -> None:
        try:
            attr, _ = self._inode(ino)
        except Stale as error:
            raise NotFound(str(error)) from None
        if not stat.S_ISDIR(attr.mode):
            raise NotADirectory(f"inode {ino} is no directory")

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        if batches:
            raise ReadOnly("a volume as it was cannot be changed")
        return []

    def grant(self, count: int) -> range:
        raise ReadOnly("a volume as it was cannot be changed")

    def grant_contents(self, count: int) -> range:
        raise ReadOnly("a volume as it was cannot be changed")

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        rows = self._all(_NAME, parent, name)
        if not rows:
            self._must_be_directory(parent)
            return None
        return self.attr(Ino(rows[0][0]))

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        steps: list[Attr] = []
        ino = self.root if start is None else start
        for name in path:
            rows = self._all(_NAME, ino, name)
            if not rows:
                break
            steps.append(self.attr(Ino(rows[0][0])))
            ino = steps[-1].ino
        return steps

    def attr(self, ino: Ino) -> Attr:
        return self._inode(ino)[0]

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        at = self._at
        key = (parent, after or b"")
        names = (*key, at, *key, at, at, limit)
        with self._store.reading() as execute:
            rows = execute(_ENTRIES, (*names, self._volume, at, *names, self._volume, at, at)).fetchall()
        if not rows:
            self._must_be_directory(parent)
        result = []
        for name, *fields, digest, version in rows:
            attr = Attr._make(fields)
            # A seal that came after a later change is not the digest of what it was then.
            result.append(Entry(name, attr, digest if version == attr.version else None))
        return result

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        rows = self._all(_PARENT, ino)
        if not rows:
            self.attr(ino)
            return None
        return Ino(rows[0][0]), rows[0][1]

    def readlink(self, ino: Ino) -> bytes:
        target = self._inode(ino)[1]
        if target is None:
            raise Invalid(f"inode {ino} is no symlink")
        return target

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        rows = self._all(_XATTR, ino, name)
        if not rows:
            raise NoAttribute(f"inode {ino} had no attribute {name!r}")
        value: bytes = rows[0][1]
        return value

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value in self._all(_XATTRS, ino)]

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        return [
            (ino, name, value)
            for ino in sorted(inos)
            for name, value in self.xattrs(ino)
            if name.startswith(prefix)
        ]

    def content(self, content: ContentId) -> ContentInfo:
        if not content:
            return ContentInfo(NO_CONTENT, ContentKind.FROZEN, 0, 0, None)
        with self._store.reading() as execute:
            row = execute(_CONTENT, (content,)).fetchone()
        if row is None:
            raise NotFound(f"content {content} does not exist any more")
        return ContentInfo(content, ContentKind(row[0]), row[1], row[2], row[3])

    def content_then(self, content: ContentId) -> ContentInfo:
        """As the file had it: what has been changed or sealed since is told as it was. NotFound."""
        rows = self._all(_OWNER, content, self._volume)
        if not rows:
            raise NotFound(f"no file had content {content} then")
        size, version = rows[0]
        now = self.content(content)
        if now.kind != ContentKind.DRAFT and now.version == version:
            return now
        return ContentInfo(content, ContentKind.FROZEN, size, version, None)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        return regions.merge(content, (first, last), self._rows_of, self._base_of)

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        """One after the other: nobody reads the past ahead. None of it changes any more."""
        found = {}
        for content in contents:
            maps = self.extents(content, 0, 1)
            if len(maps) == 1 and maps[0].extents[-1].end <= SMALL_CONTENT:
                found[content] = maps[0].extents
        return found

    def _rows_of(self, content: ContentId, first: int, last: int) -> list[tuple[int, int, bytes]]:
        return self._all(_ROWS, content, first, last)

    def _base_of(self, content: ContentId) -> tuple[ContentId, int] | None:
        rows = self._all(_BASE, content)
        return (ContentId(rows[0][0]), rows[0][1]) if rows else None

    def has_content(self, content: ContentId) -> bool:
        return True

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        return []

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        """A snapshot is of the tree, to which blobs do not belong."""
        return None

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        return []

    def usage(self) -> VolumeUsage:
        """Counted, as nothing keeps it for the past."""
        logical = inodes = 0
        pending = [self.root]
        seen: set[Ino] = {self.root}
        while pending:
            attr = self.attr(pending.pop())
            inodes += 1
            if stat.S_ISREG(attr.mode):
                logical += attr.size
            elif stat.S_ISDIR(attr.mode):
                below = {Ino(row[1]) for row in self._all(_NAMES, attr.ino, b"", limit=1 << 40)}
                pending.extend(below - seen)
                seen |= below
        return VolumeUsage(logical, inodes)

    def room(self, directory: Ino | None) -> Room | None:
        """Nothing is added to the past."""
        return None

    def watch(self, since: int) -> Iterator[Change]:
        return iter(())

    def trusted_until(self) -> float:
        return 0.0

    def detach(self) -> None:
        self._store.detach(self._session)
