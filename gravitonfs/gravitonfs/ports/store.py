"""What daemons and engines ask of the store of namespaces itself: sessions, volumes, rows of packs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.packs import LooseBlocks, PackRegistry
from gravitonfs.ports.quotas import Quotas
from gravitonfs.ports.replicas import Replicas
from gravitonfs.ports.upkeep import Housekeeping, Upkeep

JOURNAL_PATIENCE: Final = 30.0 * 24 * 3600
"""Silence for so long ends a session whose client keeps a journal of what is not stored yet (``journals``).
Before that only ``evict`` does."""


class SessionState(NamedTuple):
    """``last``: the last batch applied; ``durable_through``: the last that survives a crash."""

    last: int
    durable_through: int


class SessionRow(NamedTuple):
    """``leased``: it belongs to another process, which with ``journals`` keeps a journal. ``attached``: this
    process has it."""

    number: int
    volume: str
    label: str
    read_only: bool
    leased: bool
    attached: bool
    last: int
    holds: bool = False
    """It has its volume to itself, and may keep what it was told."""
    journals: bool = False


class VolumeRow(NamedTuple):
    name: str
    root: Ino
    logical_bytes: int
    inodes: int


class SnapshotRow(NamedTuple):
    """A volume as it was at ``version``, and what was in it then. ``number``: of the snapshots of a volume,
    never another's. ``scheduled``: the schedule made it, and deletes it in time."""

    name: str
    version: int
    created_ns: int
    logical_bytes: int
    inodes: int
    number: int
    scheduled: bool


class VolumeLease(NamedTuple):
    """``number``: rises from lease to lease; 0: none, others are attached. ``seconds``: granted from now on;
    0.0: it was recalled and is to be let go."""

    number: int
    seconds: float


NO_LEASE: Final = VolumeLease(0, 0.0)
LEASE_SECONDS: Final = 50.0
"""A little less than mounts wait before they give up: who follows a dead one gets in."""


class SessionStore(Protocol):
    """Thread-safe. Errors as everywhere: ``GravitonError``."""

    incarnation: int
    """Another one after every start, restore and fail-over of the database: answers that were not durable
    before may be lost."""

    def attach(
        self,
        volume: str = "main",
        *,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        resume: int | None = None,
        leased: bytes | None = None,
        recall: Recall | None = None,
        background: bool = False,
        patience: float | None = None,
        process: str = "",
        journals: bool = False,
    ) -> Namespace:
        """A new session. Whoever holds the volume's lease is recalled first; where it does not answer, this
        waits until the lease has run out, or raises Throttled after ``patience``. For more see
        ``NamespaceStore.attach``."""

    def lease(self, number: int, at_most: float) -> VolumeLease:
        """Ask for the volume's lease, or for more time, on behalf of a session of another process that was
        attached with ``recall``: at most so many seconds. Durable. Fenced."""

    def let_go(self, number: int, lease: int) -> None:
        """Nothing answered under this lease of the session is used any more. Idempotent."""

    def lease_of(self, number: int) -> int:
        """The number of the lease that a session has, recalled or not; 0: none."""

    def commit(self) -> None:
        """Everything applied is durable when this returns."""

    def state_of(self, number: int) -> SessionState:
        """Of an attached session. Fenced where there is none."""

    def retake(self, number: int) -> bool:
        """The client of an attached session is back. False: another process has had it meanwhile, and what is
        known of it here is old: it has been let go of here, and has to be attached again."""

    def set_aside(self, number: int) -> None:
        """Nothing is heard of the client of an attached session. It stays as it is, for whoever resumes it,
        but is not attached any more: its lease is over, others may have the volume to themselves, and calls
        under way are refused with Fenced. Durable. Fenced where there is none."""

    def sessions(self) -> list[SessionRow]: ...

    def evict(self, number: int) -> None:
        """End a session, whoever has it. NotFound. Durable."""

    def release(self, number: int, inos: Sequence[Ino]) -> None:
        """A session that was asked whether it has these inodes open has not. Idempotent."""

    def claims_of(self, number: int) -> list[Ino]:
        """The inodes without names that are kept for a session."""

    def create_volume(self, name: str) -> VolumeRow: ...

    def delete_volume(self, name: str) -> None: ...

    def volume_rows(self) -> list[VolumeRow]: ...

    def create_snapshot(self, volume: str, name: str, *, scheduled: bool = False) -> SnapshotRow:
        """The volume as it is now, read-only, under a name. Atomic, whatever the tree's size: all that any
        session was answered before is in it, nothing that comes after. Waits for a session that has the
        volume to itself to let go. Durable. NotFound, Exists, Invalid."""

    def delete_snapshot(self, volume: str, name: str) -> None:
        """Gone at once; what it alone kept is freed in the background. Durable. NotFound."""

    def snapshot_rows(self, volume: str) -> list[SnapshotRow]:
        """The oldest comes first. NotFound."""

    @property
    def quotas(self) -> Quotas: ...


class EngineNames(SessionStore, Protocol):
    """What an engine puts its packs beside: names, and the rows of packs and loose blocks with them."""

    @property
    def store_uuid(self) -> bytes: ...

    @property
    def secret(self) -> bytes:
        """Random, the same for all who have the store open, told to nobody else; not part of a dump."""

    @property
    def format(self) -> VolumeFormat: ...

    @property
    def packs(self) -> PackRegistry: ...

    @property
    def replicas(self) -> Replicas: ...

    @property
    def loose(self) -> LooseBlocks: ...

    def hurry(self, seconds: float) -> None:
        """From now on calls, those under way too, wait for a database that is away no longer than that."""

    @property
    def upkeep(self) -> Upkeep: ...

    @property
    def housekeeping(self) -> Housekeeping | None:
        """None where one process owns the store."""

    def set_barrier(self, barrier: Callable[[], None]) -> None:
        """Called before batches become durable: what they rely on must be so first."""

    def set_presync(self, presync: Callable[[], None]) -> None:
        """Called ahead of that where it can be, so that little is left to the barrier."""

    def check(self) -> None:
        """Returns soon: Unavailable while the database does not answer."""

    def close(self) -> None:
        """Everything applied is durable. Idempotent."""
