"""What the ops of one batch share: the connection, the time, the version, what they changed."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from graviton_server.namespace.engine import Execute
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.tape import Tape
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import NAME_MAX, ContentId, Ino
from gravitonfs.core.snapshots import is_past
from gravitonfs.core.trash import is_trash
from gravitonfs.errors import Invalid, IsADirectory, NameTooLong, NotADirectory, NotFound, ReadOnly, Stale
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.ports.ops import Attr

if TYPE_CHECKING:
    from graviton_server.namespace.quotas import Ledger

ACL_ACCESS: Final = 1
ACL_DEFAULT: Final = 2
XATTRS: Final = 4
"""Inode flags: it has an access ACL, a default ACL, other attributes. They save a query where not."""

ROW: Final = (
    "ino, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, btime, content, version, flags, volume"
)
_GET: Final = f"SELECT {ROW} FROM inodes WHERE ino = ?"
_TOUCH: Final = "UPDATE inodes SET mtime = ?, ctime = ? WHERE ino = ?"
_TOUCH_LINKS: Final = "UPDATE inodes SET mtime = ?, ctime = ?, nlink = nlink + ? WHERE ino = ?"

_RESERVE_CONTENTS: Final = "UPDATE meta SET value = ? WHERE key = 'next_content'"
_CONTENT_STEP: Final = 65_536

_ATTRIBUTES: Final = len(Attr._fields)
_DOTS: Final = (b".", b"..")


class Inode(NamedTuple):
    """A row of ``inodes`` as the ops read it: ``Attr`` and what is ours alone."""

    ino: Ino
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    content: ContentId
    version: int
    flags: int
    volume: int

    def attr(self) -> Attr:
        return Attr._make(self[:_ATTRIBUTES])

    @property
    def is_directory(self) -> bool:
        return self.mode & 0o170000 == stat.S_IFDIR


class Txn:
    """The state of the batch that is being applied. One per store, guarded by its lock."""

    __slots__ = (
        "bytes", "changes", "claimants", "clock", "content", "content_limit", "execute", "format", "grant",
        "ino_limit", "inodes", "ledger", "now", "session", "snapshot", "tape", "touched", "trash", "version",
        "volume",
    )  # fmt: skip

    def __init__(
        self,
        execute: Execute,
        fmt: VolumeFormat,
        claimants: Callable[[Txn, Ino], list[int]],
        grant: Callable[[Txn, int], int],
    ) -> None:
        self.execute = execute
        self.format = fmt
        self.claimants = claimants
        self.grant = grant
        self.now = 0
        """The batch's time, by the client's clock."""
        self.clock = 0
        """The database's."""
        self.version = 1
        self.snapshot = 0
        """Version of the volume's newest snapshot; 0: none."""
        self.trash: int | None = None
        """What is removed is kept for a while if it is so old (ns); None: it is not."""
        self.volume = 0
        self.session = 0
        self.content = 1
        """The next content id; never given twice, because caches on disk key on it."""
        self.content_limit = 1
        self.ino_limit = 0
        self.bytes = 0
        self.inodes = 0
        """What the batch added to the volume's usage."""
        self.touched: dict[int, int] = {}
        """Drafts changed since the last commit, with the time."""
        self.changes: list[Change] | None = None
        self.tape: Tape | None = None
        """Made when the batch has something to decide."""
        self.ledger: Ledger | None = None
        """Of a batch on a volume with quotas."""

    def get(self, ino: Ino) -> Inode:
        row = self.execute(_GET, (ino,)).fetchone()
        if row is None or row[14] != self.volume:
            refuse_past(ino)
            raise Stale(f"inode {ino} does not exist any more")
        return Inode._make(row)

    def file(self, ino: Ino) -> Inode:
        """A regular file's row."""
        inode = self.get(ino)
        kind = inode.mode & 0o170000
        if kind != stat.S_IFREG:
            if kind == stat.S_IFDIR:
                raise IsADirectory(f"inode {ino} is a directory")
            raise Invalid(f"inode {ino} is no regular file")
        return inode

    def directory(self, ino: Ino) -> Inode:
        """A directory that can take names: a removed one cannot."""
        row = self.execute(_GET, (ino,)).fetchone()
        if row is None or row[14] != self.volume:
            refuse_past(ino)
            raise NotFound(f"directory {ino} does not exist any more")
        if row[1] & 0o170000 != stat.S_IFDIR:
            raise NotADirectory(f"inode {ino} is no directory")
        if row[2] == 0:
            raise NotFound(f"directory {ino} has been removed")
        return Inode._make(row)

    def touch_directory(self, ino: Ino, links: int = 0) -> None:
        """Its entries changed: times, and links where a directory came or went."""
        if self.snapshot:
            keep_inode(self, ino)
        if links:
            self.execute(_TOUCH_LINKS, (self.now, self.now, links, ino))
        else:
            self.execute(_TOUCH, (self.now, self.now, ino))

    def contents_granted(self) -> int:
        """All ids below have been given to somebody."""
        return self.content

    def next_content(self) -> ContentId:
        content = self.content
        self.content = content + 1
        if content >= self.content_limit:
            self.reserve_contents(content)
        return ContentId(content)

    def reserve_contents(self, above: int) -> None:
        self.content_limit = above + _CONTENT_STEP
        self.execute(_RESERVE_CONTENTS, (self.content_limit,))

    def tell_entry(self, parent: Ino, name: bytes, ino: Ino) -> None:
        if self.changes is not None:
            self.changes.append(Change(Touched.ENTRY, ino, parent, name))
            self.changes.append(Change(Touched.ATTR, parent, Ino(0), b""))

    def tell(self, touched: Touched, ino: Ino) -> None:
        if self.changes is not None:
            self.changes.append(Change(touched, ino, Ino(0), b""))


def refuse_past(ino: Ino) -> None:
    if is_trash(ino):
        raise ReadOnly("what is in the trash cannot be changed, only moved out or removed")
    if is_past(ino):
        raise ReadOnly("a snapshot cannot be changed")


def check_name(name: bytes) -> None:
    if not 0 < len(name) <= NAME_MAX:
        if name:
            raise NameTooLong(f"a name has {len(name)} bytes, and {NAME_MAX} are allowed")
        raise Invalid("a name is empty")
    if b"/" in name or b"\0" in name or name in _DOTS:
        raise Invalid(f"{name!r} is no name")
