"""What can be asked of an open volume. ``Request[X]`` is answered with an ``X``.

Paths are absolute in the volume, components separated by ``/``, any bytes but NUL.
"""

from __future__ import annotations

from typing import Any

import msgspec

from graviton_server.control.answers import (
    Counters,
    NewNode,
    Node,
    Page,
    SmallFile,
    Status,
    Usage,
    WorkStatus,
)
from graviton_server.control.request import Request
from graviton_server.control.store_requests import (
    AddTarget,
    ChangeTarget,
    CheckQuotas,
    CreateSnapshot,
    DeleteQuota,
    DeleteSnapshot,
    DiffSnapshots,
    EvictSession,
    GetQuota,
    ListQuotas,
    ListSessions,
    ListSnapshots,
    ListTargets,
    ListTokens,
    ListTrash,
    MakeToken,
    RestoreRemoved,
    RestoreSnapshot,
    RevokeToken,
    SetQuota,
)
from graviton_server.maintenance.reports import (
    Archived,
    Checked,
    Collected,
    DroppedDump,
    Dumped,
    KeptDump,
    Scrubbed,
)

# --- nodes ------------------------------------------------------------------------------------


class Stat(Request[Node], frozen=True, kw_only=True):
    """``details``: with digest and extended attributes."""

    path: bytes
    follow: bool = False
    details: bool = False


class ListNames(Request[Page], frozen=True, kw_only=True):
    """A page of a directory, in byte order."""

    path: bytes
    after: bytes | None = None
    limit: int = 1000
    details: bool = False


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
    xattrs: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)


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


class TreeUsage(Request[Usage], frozen=True, kw_only=True):
    """``names_only``: without reading extent maps."""

    path: bytes
    names_only: bool = False


class Info(Request[dict[str, Any]], frozen=True, kw_only=True):
    """The whole volume's figures."""


class GetStatus(Request[Status], frozen=True, kw_only=True):
    pass


class GetWork(Request[WorkStatus], frozen=True, kw_only=True):
    """As ``GetStatus``, without what has to be read from the whole store."""


class GetCounters(Request[Counters], frozen=True, kw_only=True):
    pass


class Drain(Request[None], frozen=True, kw_only=True):
    """Events say how much is left; answered when nothing is."""

    mount: str


# --- upkeep -----------------------------------------------------------------------------------


class Collect(Request[Collected], frozen=True, kw_only=True):
    """Free what nothing names. ``dry_run``: only tell. ``empty_trash``: erase that first."""

    dry_run: bool = False
    empty_trash: bool = False


class Check(Request[Checked], frozen=True, kw_only=True):
    """``agreed``: the kinds of repair that are wanted; None: all."""

    read_data: bool = False
    rebuild_index: bool = False
    repair: bool = False
    after_restore: bool = False
    agreed: list[str] | None = None


class Scrub(Request[Scrubbed], frozen=True, kw_only=True):
    """``bytes_per_second`` 0: as fast as it goes."""

    bytes_per_second: int = 0


class Dump(Request[Dumped], frozen=True, kw_only=True):
    """The namespace, compressed, as data from the owner."""


class KeepDump(Request[Dumped], frozen=True, kw_only=True):
    """A dump that stays with the volume, with all that it names. Exists, Invalid."""

    name: str


class BackUp(Request[Archived], frozen=True, kw_only=True):
    """A dump on the targets, now."""


class ListDumps(Request[list[KeptDump]], frozen=True, kw_only=True):
    """Those that are kept."""


class DropDump(Request[DroppedDump], frozen=True, kw_only=True):
    """``owner``: the engine whose it is, where several have one of the name. NotFound, Invalid."""

    name: str
    owner: str | None = None
    dry_run: bool = False


REQUESTS: dict[str, type[Request[Any]]] = {
    cls.__name__: cls
    for cls in (
        Stat, ListNames, MakeNodes, SetTimes, MakeDirectory, Remove, Move, Copy, ReadFile, WriteFile,
        WriteSmall, Flush, Warm, TreeUsage, Info, GetStatus, GetWork, GetCounters, Drain, Collect, Check,
        Scrub, Dump, KeepDump, BackUp, ListDumps, DropDump, MakeToken, ListTokens, RevokeToken, ListSessions,
        EvictSession, CreateSnapshot, ListSnapshots, DeleteSnapshot, DiffSnapshots, RestoreSnapshot,
        ListTrash, RestoreRemoved,
        ListQuotas, GetQuota, SetQuota, DeleteQuota, CheckQuotas, ListTargets, AddTarget, ChangeTarget,
    )
}  # fmt: skip
