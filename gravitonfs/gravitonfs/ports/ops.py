"""What can be done to a namespace: ops, batches of them, and the answers.

One user operation is one batch. Times are nanoseconds since the epoch, by the client's clock, in the
batch. Names are bytes, 1 to 255 of them, without ``/`` and NUL, and not ``.`` or ``..``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import structs

from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NO_CONTENT, BlockId, ContentId, Ino, PackNumber
from gravitonfs.errors import GravitonError, Kind, error_of

ANY = -1
"""In place of an expected version: no expectation."""


class Attr(NamedTuple):
    """An inode's attributes. ``mode`` has the file type; ``content`` is 0 for a file without bytes.

    (``content``, ``version``) changes whenever the bytes do; caches key on the pair.
    """

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


class _Op(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    pass


class Create(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """A new inode under a new name: file, directory, symlink (``target``), FIFO, socket or device.

    ``ino`` comes from a granted range. ``mode`` carries the type and has the umask applied by the
    caller. The group of a setgid parent and the ACL of a parent with a default one are inherited
    here. ``parent`` 0 makes an inode without a name that this session claims (a staged PUT; it goes
    with the session). Answer: Attr. Errors: Exists, NotFound, NotADirectory, NameTooLong, Invalid.
    """

    parent: Ino
    name: bytes
    ino: Ino
    mode: int
    uid: int
    gid: int
    rdev: int = 0
    target: bytes = b""


class Link(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Another name for a file. Answer: Attr. Errors: Exists, NotFound, NotPermitted (a directory)."""

    ino: Ino
    parent: Ino
    name: bytes


class Unlink(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Remove a name that is no directory. ``claim``: this session has the inode open and keeps it.

    Where there is a trash, what loses its last name by any op goes there. An op that names a place in it
    (``core.trash``) erases what is there, and Rename brings it back, never over what exists (Exists).

    Answer: Removed.
    """

    parent: Ino
    name: bytes
    claim: bool = False


class Rmdir(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Remove an empty directory. Answer: Removed."""

    parent: Ino
    name: bytes


class RenameMode(enum.IntEnum):
    REPLACE = 0
    NOREPLACE = 1
    EXCHANGE = 2


class Rename(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Atomic. What stood at the new name goes (``claim`` as in Unlink), unless the mode says otherwise.

    Both names of one inode: nothing happens. Answer: Removed, of what was replaced (ino 0: nothing).
    Errors: as rename(2).
    """

    parent: Ino
    name: bytes
    new_parent: Ino
    new_name: bytes
    mode: int = RenameMode.REPLACE
    claim: bool = False


class SetAttr(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Change what is not None; sets ctime. chmod of an inode with an ACL changes the ACL's mask entry.

    Answer: Attr.
    """

    ino: Ino
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None

    def of(self, attr: Attr, now: int) -> Attr:
        """The attributes after it; ``now``: the batch's time."""
        return attr._replace(
            mode=attr.mode if self.mode is None else attr.mode & 0o170000 | self.mode & 0o7777,
            uid=attr.uid if self.uid is None else self.uid,
            gid=attr.gid if self.gid is None else self.gid,
            atime_ns=attr.atime_ns if self.atime_ns is None else self.atime_ns,
            mtime_ns=attr.mtime_ns if self.mtime_ns is None else self.mtime_ns,
            ctime_ns=now if self.ctime_ns is None else self.ctime_ns,
        )


class Truncate(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Set the size, up or down; what comes back later reads as zeroes. Answer: Attr."""

    ino: Ino
    size: int
    keep_times: bool = False


class Write(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Lay extents (file offsets, any order of non-overlapping ones, holes allowed) over a file's map.

    The size becomes the larger of the old one and ``end``. A shared or sealed content is not
    touched: the inode gets a draft that stands on it. Without extents nothing but the seal happens.

    ``seal`` is the BLAKE3 of the whole file as its writer streamed it. It holds, and the content is
    sealed, if the inode's version before this op is ``expect`` and its size after is ``end``;
    otherwise it is ignored. ``mtime_ns`` None: the batch's time; 0: leave it. ``content``: a granted
    number for the content, where this op has to make one; 0: the namespace takes one. Answer: Attr.
    Errors: Invalid (a number that was not granted, or is in use).
    """

    ino: Ino
    extents: tuple[Extent, ...]
    end: int
    expect: int = ANY
    seal: bytes | None = None
    mtime_ns: int | None = None
    content: ContentId = NO_CONTENT


class Append(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """As Write, but the extents count from 0 and are placed at the size the file has now.

    Answer: Attr, whose size is where they end.
    """

    ino: Ino
    extents: tuple[Extent, ...]
    length: int


class Rewrite(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Same bytes, other blocks (re-chunking, flattening): applies only if ``content`` has ``version``.

    Replaces the whole map, or with ``whole`` False only what the extents cover. Changes neither version
    nor times. Answer: None. Errors: Conflict.
    """

    content: ContentId
    version: int
    extents: tuple[Extent, ...]
    whole: bool = True


class Seal(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Freeze a content and record its digest, if it still has ``version``. Answer: None; Conflict."""

    content: ContentId
    version: int
    digest: bytes


class Publish(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Make a staged inode's content visible under a name, whole.

    Where a file stands there it keeps its inode, mode, owner, links and attributes and gets the
    content; otherwise the staged inode gets the name. ``expect``: (content, version) that the name
    must have, (0, 0) for an empty file; ``absent``: nothing may stand there. Answer: Attr.
    Errors: Conflict, IsADirectory, NotFound.
    """

    staged: Ino
    parent: Ino
    name: bytes
    expect: tuple[int, int] | None = None
    absent: bool = False


class Clone(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """A copy of ``source``, in O(1) for a file whatever its size: both share one immutable content.

    A directory is copied with all that is in it when ``tree``, else alone. Extended attributes and
    modes are kept; owner and times too when ``preserve``, else they are the batch's time and
    ``uid``, ``gid``. Replaces a file at the new name only with ``replace``, atomically. ``ino`` is
    the copy's; those below it are granted inside. Answer: Attr. Errors: Exists, Invalid (into
    itself).
    """

    source: Ino
    parent: Ino
    name: bytes
    ino: Ino
    uid: int
    gid: int
    preserve: bool = False
    tree: bool = True
    replace: bool = False


class RemoveTree(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Remove a name and, if it is a directory, all below it: gone at once, freed in the background.

    Answer: Removed.
    """

    parent: Ino
    name: bytes


class SetXattr(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Answer: Attr. ``system.posix_acl_access`` also sets the mode. Errors: Exists, NoAttribute.

    ``flags`` are those of setxattr(2): 1 create, 2 replace. Values up to 64 KiB.
    """

    ino: Ino
    name: bytes
    value: bytes
    flags: int = 0


class RemoveXattr(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Answer: Attr. Errors: NoAttribute."""

    ino: Ino
    name: bytes


class Disclaim(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """This session no longer holds these inodes without names; what nobody holds is freed. Answer: None."""

    inos: tuple[Ino, ...]


class Retain(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """Keep an inode without a name although sessions end: a resumable upload. ``keep`` False lets it go,
    as Disclaim does. A name (Publish) ends it too. Answer: None. Errors: Stale.
    """

    ino: Ino
    keep: bool = True


class SetRecord(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """A small record of a front end's own (WebDAV locks, ...); None removes it. Answer: None.

    ``expect``: the value it must have now (b"": absent), else Conflict; None: no expectation.
    """

    space: str
    key: bytes
    value: bytes | None
    expect: bytes | None = None


class AddBlobRef(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """The volume refers to a file's sealed content as a blob, so that it stays when the file goes.

    ``ino``: a file, with a name or staged, whose content is sealed with this digest and length; the
    caller has seen to it that the engine verified the digest. A second reference to the same blob
    changes nothing. Answer: None. Errors: Conflict (not these bytes, or not sealed), Stale.
    """

    ino: Ino
    digest: bytes
    length: int


class DropBlobRef(_Op, frozen=True, tag=True, array_like=True, gc=False):
    """The volume refers to a blob no longer; files keep the bytes. Answer: None. Errors: NotFound."""

    digest: bytes
    length: int


Op: TypeAlias = (
    Create | Link | Unlink | Rmdir | Rename | SetAttr | Truncate | Write | Append | Rewrite | Seal
    | Publish | Clone | RemoveTree | SetXattr | RemoveXattr | Disclaim | Retain | SetRecord | AddBlobRef
    | DropBlobRef
)  # fmt: skip


class LooseBlock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block that travels in the batch. ``payload`` is bytes: the batch outlives the call."""

    id: BlockId
    codec: int
    plain_length: int
    payload: bytes


def hinted(op: Op, packs: Mapping[BlockId, PackNumber]) -> Op:
    """The op with these hints for the blocks it names."""
    if not isinstance(op, (Write, Append)):
        return op
    extents = tuple(e._replace(hint=packs[e.block]) if e.block in packs else e for e in op.extents)
    return structs.replace(op, extents=extents)


class Batch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One atomic change. ``number`` counts from 1 in each session, without gaps.

    ``packs``: every pack of every block that the extents name, new and found.
    """

    number: int
    time_ns: int
    ops: tuple[Op, ...]
    packs: tuple[PackNumber, ...] = ()
    loose: tuple[LooseBlock, ...] = ()


class Removed(NamedTuple):
    """``ino`` lost a name; ``links`` are left; ``kept`` says that some session claims it."""

    ino: Ino
    links: int
    kept: bool


Result: TypeAlias = Attr | Removed | None


class Failure(NamedTuple):
    """A recorded error; ``op`` is the index of the op that failed. Nothing of the batch was applied."""

    op: int
    kind: str
    message: str

    def error(self) -> GravitonError:
        return error_of(Kind(self.kind), self.message)


class Reply(NamedTuple):
    """The recorded answer of one batch: a result an op, or a failure.

    ``durable_through``: batches up to this number survive a crash of the database.
    """

    number: int
    results: tuple[Result, ...]
    failure: Failure | None
    durable_through: int
