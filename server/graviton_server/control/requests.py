"""What can be asked of an open volume. ``Request[X]`` is answered with an ``X``.

Paths are absolute in the volume, components separated by ``/``, any bytes but NUL.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

import msgspec

R = TypeVar("R")


class Request(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """The base of all; each is one of those in ``REQUESTS``."""


# --- nodes ------------------------------------------------------------------------------------


class Node(msgspec.Struct, frozen=True):
    """An inode under a name. ``digest`` only of sealed files; ``target`` only of symlinks."""

    name: bytes
    ino: int
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
    content: int
    version: int
    digest: bytes | None = None
    target: bytes | None = None
    xattrs: list[tuple[bytes, bytes]] = []


class Stat(Request[Node], frozen=True, kw_only=True):
    """``details``: with digest and extended attributes."""

    path: bytes
    follow: bool = False
    details: bool = False


class Page(msgspec.Struct, frozen=True):
    nodes: list[Node]
    more: bool


class ListNames(Request[Page], frozen=True, kw_only=True):
    """A page of a directory, in byte order."""

    path: bytes
    after: bytes | None = None
    limit: int = 1000
    details: bool = False


class NewNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node without bytes to be made: a directory, symlink, FIFO, device, or a link to another name.

    What stands at the path stays if it is a directory as well, and is replaced otherwise.
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    atime_ns: int
    rdev: int = 0
    target: bytes = b""
    link_to: bytes | None = None
    xattrs: list[tuple[bytes, bytes]] = []


class MakeNodes(Request[int], frozen=True, kw_only=True):
    """Made in order; the answer is how many were not there already just so.

    A regular file is not made: one that is there gets its mode, owner, times and attributes.
    """

    nodes: list[NewNode]


class SetTimes(Request[None], frozen=True, kw_only=True):
    """(path, atime, mtime), set last, because filling a directory changes its own."""

    times: list[tuple[bytes, int, int]]


class MakeDirectory(Request[None], frozen=True, kw_only=True):
    path: bytes
    parents: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Remove(Request[None], frozen=True, kw_only=True):
    path: bytes
    recursive: bool = False
    missing_ok: bool = False


class Move(Request[None], frozen=True, kw_only=True):
    source: bytes
    target: bytes
    replace: bool = True


class Copy(Request[None], frozen=True, kw_only=True):
    source: bytes
    target: bytes
    recursive: bool = False
    replace: bool = True
    preserve: bool = False
    uid: int = 0
    gid: int = 0


# --- bytes ------------------------------------------------------------------------------------


class ReadFile(Request[Node], frozen=True, kw_only=True):
    """The bytes from ``offset`` on, as data from the owner; ``length`` -1: to the end.

    Only if the file still has ``expect`` (content, version), when that is given.
    """

    path: bytes
    offset: int = 0
    length: int = -1
    expect: tuple[int, int] | None = None


class WriteFile(Request[Node], frozen=True, kw_only=True):
    """A file from the data that follows, visible whole or not at all."""

    path: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    atime_ns: int | None = None
    mtime_ns: int | None = None
    xattrs: list[tuple[bytes, bytes]] = []


class SmallFile(msgspec.Struct, frozen=True, kw_only=True):
    path: bytes
    body: bytes
    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    xattrs: list[tuple[bytes, bytes]] = []


class WriteSmall(Request[int], frozen=True, kw_only=True):
    """Many small files in one request; the answer is how many."""

    files: list[SmallFile]


class Flush(Request[None], frozen=True, kw_only=True):
    """Return when everything applied so far survives a loss of power."""


class Warm(Request[int], frozen=True, kw_only=True):
    """Read all blocks under a path into the caches; the answer is how many bytes."""

    path: bytes
    jobs: int = 4


# --- reports ----------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True):
    """Of a tree; ``unique_bytes`` are those of its distinct blocks, ``extents`` of its distinct contents."""

    logical_bytes: int
    unique_bytes: int
    files: int
    directories: int
    others: int
    extents: int
    blocks: int


class TreeUsage(Request[Usage], frozen=True, kw_only=True):
    """``names_only``: without reading extent maps."""

    path: bytes
    names_only: bool = False


class Info(Request[dict[str, Any]], frozen=True, kw_only=True):
    """The whole volume's figures."""


class MountPoint(msgspec.Struct, frozen=True):
    path: str
    subdir: str = "/"
    read_only: bool = False


class Status(msgspec.Struct, frozen=True):
    """The process that has the volume open. ``pending_bytes``: accepted, and not stored yet."""

    pid: int
    role: str
    data: str
    started: float
    mounts: list[MountPoint]
    webdav: str | None
    pending_bytes: int
    clients: int
    upkeep: list[dict[str, Any]]
    info: dict[str, Any]


class GetStatus(Request[Status], frozen=True, kw_only=True):
    pass


class Operation(msgspec.Struct, frozen=True):
    """One kind of operation since the process started, times in seconds."""

    front_end: str
    name: str
    count: int
    errors: int
    seconds: float
    slowest: float


class Counters(msgspec.Struct, frozen=True):
    """Running totals of the process; a rate is the difference of two."""

    time: float
    values: dict[str, float]
    operations: list[Operation]


class GetCounters(Request[Counters], frozen=True, kw_only=True):
    pass


class Drain(Request[None], frozen=True, kw_only=True):
    """Events say how much is left; answered when nothing is."""

    mount: str


REQUESTS: dict[str, type[Request[Any]]] = {
    cls.__name__: cls
    for cls in (
        Stat, ListNames, MakeNodes, SetTimes, MakeDirectory, Remove, Move, Copy, ReadFile, WriteFile,
        WriteSmall, Flush, Warm, TreeUsage, Info, GetStatus, GetCounters, Drain,

    )
}  # fmt: skip


def answer_type(request: type[Request[Any]]) -> Any:
    """The ``X`` of ``class ...(Request[X])``."""
    return get_args(request.__orig_bases__[0])[0]  # type: ignore[attr-defined]
