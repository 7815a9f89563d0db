"""One session's view of a volume: the ``Namespace`` port on SQL.

Reads use the writing connection under the store's lock, so that what was applied is seen before it is
committed. They are written flat: an event loop calls them inline, tens of thousands a second.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from graviton_server.namespace import blobs, records, regions
from graviton_server.namespace.engine import DatabaseError, translate
from graviton_server.namespace.quotas import chain_of, room_of
from graviton_server.namespace.sessions import Recorded, Session
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NO_CONTENT, ContentId, Ino
from gravitonfs.errors import GravitonError, Invalid, NoAttribute, NotADirectory, NotFound, Stale
from gravitonfs.ports.namespace import (
    SMALL_CONTENT,
    BlobRef,
    Change,
    ContentInfo,
    ContentKind,
    Entry,
    Listener,
    RegionMap,
    Room,
    VolumeUsage,
)
from gravitonfs.ports.ops import Attr, Batch, Reply

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_ATTRIBUTES: Final = (
    "i.ino, i.mode, i.nlink, i.uid, i.gid, i.rdev, i.size, i.atime, i.mtime, i.ctime, i.btime, i.content,"
    " i.version"
)
_LOOKUP: Final = (
    f"SELECT {_ATTRIBUTES} FROM names n JOIN inodes i ON i.ino = n.ino"
    " WHERE n.parent = ? AND n.name = ? AND i.volume = ?"
)
_ATTR: Final = f"SELECT {_ATTRIBUTES} FROM inodes i WHERE i.ino = ? AND i.volume = ?"
_ENTRIES: Final = (
    f"SELECT n.name, c.digest, {_ATTRIBUTES} FROM names n JOIN inodes i ON i.ino = n.ino"
    " LEFT JOIN contents c ON c.id = i.content"
    " WHERE n.parent = ? AND n.name > ? AND i.volume = ? ORDER BY n.name LIMIT ?"
)
_PARENT: Final = "SELECT parent, name FROM names WHERE ino = ? LIMIT 1"
_MODE: Final = "SELECT mode, nlink FROM inodes WHERE ino = ? AND volume = ?"
_TARGET: Final = "SELECT target FROM inodes WHERE ino = ? AND volume = ?"
_XATTR: Final = "SELECT value FROM xattrs WHERE ino = ? AND name = ?"
_XATTRS: Final = "SELECT name, value FROM xattrs WHERE ino = ? ORDER BY name"
_XATTRS_OF: Final = (
    "SELECT x.ino, x.name, x.value FROM xattrs x JOIN inodes i ON i.ino = x.ino AND i.volume = ?"
    " WHERE x.ino IN ({}) AND substr(x.name, 1, ?) = ? ORDER BY x.ino, x.name"
)
_CONTENT: Final = "SELECT id, kind, length, version, digest FROM contents WHERE id = ?"
_HAS_CONTENT: Final = (
    "SELECT EXISTS (SELECT 1 FROM inodes WHERE content = ? AND content <> 0 AND volume = ?)"
    " OR EXISTS (SELECT 1 FROM blob_refs WHERE content = ? AND content <> 0 AND volume = ?)"
)
_SMALL_MAPS: Final = (
    "SELECT r.content, r.seq, r.data FROM contents c JOIN regions r ON r.content = c.id"
    f" WHERE c.id IN ({{}}) AND c.kind > 0 AND c.refs > 0 AND c.base = 0 AND c.length <= {SMALL_CONTENT}"
    " AND EXISTS (SELECT 1 FROM inodes i WHERE i.content = c.id AND i.content <> 0 AND i.volume = ?)"
    " ORDER BY r.content, r.seq"
)
_USED: Final = "SELECT refs FROM contents WHERE id = ?"
_OWNER: Final = "SELECT size, version FROM inodes WHERE content = ? AND content <> 0"

_new: Final = tuple.__new__  # half the time of a NamedTuple's own constructor, a thousand times a listing
_NO_INFO: Final = ContentInfo(NO_CONTENT, ContentKind.FROZEN, 0, 0, None)


class SqlNamespace:
    """Obtained by attaching to a ``NamespaceStore``."""

    inline = True
    settles = True

    def __init__(self, store: NamespaceStore, session: Session) -> None:
        self._store = store
        self._session = session
        self._execute = store.execute
        self._lock = store.lock
        self._volume = session.volume.id
        self.volume = session.volume.name
        self.session = session.id
        self.root = session.volume.root
        self.format = store.format
        self.read_only = session.read_only

    # --- changes -------------------------------------------------------------------------------------

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        store, session = self._store, self._session
        told: list[Change] = []
        done: list[Recorded] = []
        listeners: tuple[Listener, ...] = ()
        try:
            with self._lock:
                listeners = session.others
                store.check_readable()
                apply = store.applier.apply
                last = session.last
                for batch in batches:
                    done.append(apply(session, batch, told))
                if durable:
                    self._commit(last, told)
                elif batches:
                    store.applied()
        finally:
            if told:
                for listener in listeners:
                    listener(told)
        return [session.reply(found) for found in done]

    def _commit(self, last: int, told: list[Change]) -> None:
        """Or else nothing of the call has happened: the caller may give its batches up. Lock held."""
        try:
            self._store.make_durable()
        except GravitonError:
            told.clear()
            self._store.take_back(self._session, last)
            raise

    def grant(self, count: int) -> range:
        return self._store.grant(count)

    def grant_contents(self, count: int) -> range:
        return self._store.grant_contents(count)

    def detach(self) -> None:
        self._store.detach(self._session)

    def trusted_until(self) -> float:
        """In the process that owns the store sessions hear of all changes before these are answered."""
        session = self._session
        told = session.recall is not None and session.listener is not None and session.leased is None
        return math.inf if told and session.alive else 0.0

    # --- reads ---------------------------------------------------------------------------------------

    def _fetch(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        with self._lock:
            self._store.check_readable()
            try:
                return self._execute(sql, parameters).fetchall()
            except DatabaseError as error:
                raise translate(error) from error

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        rows = self._fetch(_LOOKUP, (parent, name, self._volume))
        if rows:
            return _new(Attr, rows[0])
        self._must_be_directory(parent)
        return None

    def _must_be_directory(self, ino: Ino) -> None:
        rows = self._fetch(_MODE, (ino, self._volume))
        if not rows:
            raise NotFound(f"directory {ino} does not exist any more")
        mode = rows[0][0]
        assert isinstance(mode, int)
        if mode & 0o170000 != stat.S_IFDIR:
            raise NotADirectory(f"inode {ino} is no directory")

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        steps: list[Attr] = []
        ino = self.root if start is None else start
        with self._lock:
            for name in path:
                rows = self._fetch(_LOOKUP, (ino, name, self._volume))
                if not rows:
                    break
                found = _new(Attr, rows[0])
                steps.append(found)
                ino = found.ino
        return steps

    def attr(self, ino: Ino) -> Attr:
        rows = self._fetch(_ATTR, (ino, self._volume))
        if not rows:
            self._gone(ino)
        return _new(Attr, rows[0])

    def _gone(self, ino: Ino) -> NoReturn:
        raise Stale(f"inode {ino} does not exist any more")

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        rows = self._fetch(_ENTRIES, (parent, after or b"", self._volume, limit))
        if not rows:
            self._must_be_directory(parent)
        return [_new(Entry, (row[0], _new(Attr, row[2:]), row[1])) for row in rows]

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        rows = self._fetch(_PARENT, (ino,))
        if not rows:
            self.attr(ino)
            return None
        parent, name = rows[0]
        assert isinstance(parent, int)
        assert isinstance(name, bytes)
        return Ino(parent), name

    def readlink(self, ino: Ino) -> bytes:
        rows = self._fetch(_TARGET, (ino, self._volume))
        if not rows:
            self._gone(ino)
        target = rows[0][0]
        if not isinstance(target, bytes):
            raise Invalid(f"inode {ino} is no symlink")
        return target

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        rows = self._fetch(_XATTR, (ino, name))
        if not rows:
            raise NoAttribute(f"inode {ino} has no attribute {name!r}")
        value = rows[0][0]
        assert isinstance(value, bytes)
        return value

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        with self._store.reading() as execute:
            return [(name, value) for name, value in execute(_XATTRS, (ino,))]

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        if not inos:
            return []
        sql = _XATTRS_OF.format(",".join("?" * len(inos)))
        with self._store.reading() as execute:
            return list(execute(sql, (self._volume, *inos, len(prefix), prefix)))

    def content(self, content: ContentId) -> ContentInfo:
        if not content:
            return _NO_INFO
        with self._store.reading() as execute:
            row = execute(_CONTENT, (content,)).fetchone()
            if row is None:
                raise NotFound(f"content {content} does not exist any more")
            number, kind, length, version, digest = row
            if kind == ContentKind.DRAFT:
                length, version = execute(_OWNER, (content,)).fetchone() or (length, version)
        return ContentInfo(ContentId(number), ContentKind(kind), length, version, digest)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        if not content:
            return []
        with self._lock:
            self._store.check_readable()
            try:
                row = self._execute(_USED, (content,)).fetchone()
                if row is None or not row[0]:
                    # What is being freed has lost rows already: they must not look like holes.
                    raise Stale(f"content {content} does not exist any more")
                return regions.read(self._execute, content, first, last)
            except DatabaseError as error:
                raise translate(error) from error

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        if not contents:
            return {}
        sql = _SMALL_MAPS.format(",".join("?" * len(contents)))
        with self._store.reading() as execute:
            return regions.small_maps(execute(sql, (*contents, self._volume)))

    def has_content(self, content: ContentId) -> bool:
        key = (content, self._volume)
        with self._store.reading() as execute:
            return bool(execute(_HAS_CONTENT, (*key, *key)).fetchone()[0])

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        with self._store.reading() as execute:
            return records.read(execute, self._volume, space, prefix)

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        with self._store.reading() as execute:
            return blobs.read(execute, self._volume, digest, length)

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        with self._store.reading() as execute:
            return blobs.page(execute, self._volume, after, limit)

    def usage(self) -> VolumeUsage:
        with self._lock:
            volume = self._session.volume
            return VolumeUsage(volume.logical_bytes, volume.inodes)

    def room(self, directory: Ino | None) -> Room | None:
        with self._store.reading() as execute:
            found = self._session.volume.quotas
            chain = found if directory is None or not found else chain_of(execute, directory)
            return room_of([found[ino] for ino in chain])

    def watch(self, since: int) -> Iterator[Change]:
        """Sessions in one process are told through their listeners: there is nothing left to tell."""
        return iter(())
