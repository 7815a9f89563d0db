"""What requests are answered with, and what they carry."""

from __future__ import annotations

from typing import Any

import msgspec

from graviton_server.maintenance.reports import BackupStatus, TaskStatus


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


class Page(msgspec.Struct, frozen=True):
    nodes: list[Node]
    more: bool


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


class SmallFile(msgspec.Struct, frozen=True, kw_only=True):
    path: bytes
    body: bytes
    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    xattrs: list[tuple[bytes, bytes]] = []


class Usage(msgspec.Struct, frozen=True):
    """Of a tree; unique and stored bytes of its distinct blocks, extents of its distinct contents."""

    logical_bytes: int
    unique_bytes: int
    stored_bytes: int
    files: int
    directories: int
    others: int
    extents: int
    blocks: int


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
    upkeep: list[TaskStatus]
    info: dict[str, Any]
    http: str | None = None
    grpc: str | None = None
    targets: list[TargetInfo] = []
    replication: ReplicationInfo | None = None
    shard: str | None = None
    """What its router calls it."""
    backup: BackupStatus | None = None


class WorkStatus(msgspec.Struct, frozen=True):
    """What the process that answers does in the background. ``pending_bytes``: not stored yet."""

    pid: int
    role: str
    started: float
    pending_bytes: int
    upkeep: list[TaskStatus]
    replication: ReplicationInfo | None = None
    shard: str | None = None
    backup: BackupStatus | None = None


class Operation(msgspec.Struct, frozen=True):
    """One kind of operation since the process started, times in seconds."""

    front_end: str
    name: str
    count: int
    errors: int
    seconds: float
    slowest: float


class TokenInfo(msgspec.Struct, frozen=True):
    """A token, without its secret; times in seconds since the epoch."""

    id: str
    name: str
    scopes: list[str]
    volumes: list[str] | None
    created: float
    expires: float | None


class SessionInfo(msgspec.Struct, frozen=True):
    """``remote``: of another process, by gRPC. ``attached``: this process has it. ``holds``: it has its
    volume to itself, and keeps what it was told."""

    number: int
    volume: str
    label: str
    read_only: bool
    remote: bool
    attached: bool
    holds: bool


class QuotaInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may lie below a directory (None: no limit), and what does. ``path_base64``: of a path that is no
    text. ``counting``: what was there before is being counted, and nothing is refused."""

    path: str
    path_base64: str | None = None
    max_bytes: int | None
    max_inodes: int | None
    bytes: int
    inodes: int
    counting: bool


class CheckedQuota(msgspec.Struct, frozen=True):
    """As it was kept, and as it was counted at the same moment."""

    quota: QuotaInfo
    counted_bytes: int
    counted_inodes: int
    right: bool
    repaired: bool


class SnapshotInfo(msgspec.Struct, frozen=True):
    """``created``: seconds since the epoch. ``scheduled``: the schedule deletes it in time."""

    name: str
    created: float
    logical_bytes: int
    inodes: int
    scheduled: bool


class Restored(msgspec.Struct, frozen=True):
    """``bytes``: logical ones; none were copied."""

    files: int
    directories: int
    bytes: int


class BroughtBack(msgspec.Struct, frozen=True):
    """``restored``: files, links and trees; ``left``: those whose names are taken. ``to``: where."""

    restored: int
    left: int
    to: str


class Differences(msgspec.Struct, frozen=True):
    """How many of each kind were told."""

    added: int
    removed: int
    changed: int
    renamed: int


class TargetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A place for packs. Counts are of copies; ``missing`` and ``bad`` are made anew, ``moving`` are on their
    way to it and ``leaving`` away from it. ``in_use``: the process that answers has it open."""

    name: str
    kind: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    state: str
    location: str
    packs: int
    bytes: int
    missing: int
    bad: int
    moving: int
    leaving: int
    free: int
    in_use: bool
    trouble: str


class ReplicationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, what the targets allow, and how it stands. ``last_end``: seconds since the epoch."""

    factor: int
    min_zones: int
    possible_factor: int
    possible_zones: int
    unhealthy: int
    moving: int
    degraded_writes: int
    hedged_reads: int
    hedges_won: int
    repairing: bool
    last_end: float
    copies_made: int
    copied_bytes: int
    copies_removed: int
    failed: int
    error: str


class NewToken(msgspec.Struct, frozen=True):
    """``token`` is told this once; only its hash is kept."""

    token: str
    info: TokenInfo


class Counters(msgspec.Struct, frozen=True):
    """Running totals of the process; a rate is the difference of two."""

    time: float
    values: dict[str, float]
    operations: list[Operation]
