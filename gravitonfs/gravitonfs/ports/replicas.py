"""Which targets a store has, and which of them has, or shall have, a copy of each pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, NewType, Protocol

from gravitonfs.core.ids import PackNumber

TargetNumber = NewType("TargetNumber", int)
NO_TARGET = TargetNumber(0)
Placing = Callable[[bytes], Sequence[TargetNumber]]
"""The targets that a new pack of this UUID belongs on."""


class TargetState(Enum):
    ACTIVE = "active"
    DRAINING = "draining"
    """Takes no new packs; those it has move elsewhere, and are read from it until then."""
    REMOVED = "removed"
    """Has nothing any more and is not opened. Its row stays, so that its number and name do."""


class TargetRow(NamedTuple):
    """``location``: JSON, what opens it; never a secret. ``capacity`` 0: whatever it has. ``copies`` in
    ``zones``: what it keeps by itself. ``number`` 0: not saved yet."""

    number: TargetNumber
    name: str
    kind: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    state: TargetState
    location: str


class CopyState(Enum):
    WANTED = "wanted"
    """Not there yet, or lost."""
    STORED = "stored"
    BAD = "bad"
    """There, and not what was written."""
    MOVING = "moving"
    """To be made because the pack belongs there now; nothing is missing."""
    LEAVING = "leaving"
    """There, and no longer needed: to be deleted."""


UNHEALTHY = (CopyState.WANTED, CopyState.BAD)
READABLE = (CopyState.STORED, CopyState.LEAVING)


class Copy(NamedTuple):
    target: TargetNumber
    state: CopyState


class CopyJob(NamedTuple):
    """A copy of a live pack that is not as it should be."""

    pack: PackNumber
    uuid: bytes
    length: int
    target: TargetNumber
    state: CopyState


class PackCopies(NamedTuple):
    pack: PackNumber
    uuid: bytes
    copies: tuple[Copy, ...]


class CopyTally(NamedTuple):
    target: TargetNumber
    state: CopyState
    packs: int
    bytes: int


class Replicas(Protocol):
    """Rows of targets and copies. Thread-safe; each call is one transaction.

    A pack without rows of copies is on the first target: stores with one target need none.
    """

    def targets(self) -> list[TargetRow]:
        """By number, removed ones too."""

    def save_target(self, row: TargetRow) -> TargetRow:
        """Add a target, or change the one of that name; as it is saved, with its number. Durable."""

    def settings(self) -> bytes:
        """What ``save_settings`` was given last; empty when it never was."""

    def save_settings(self, settings: bytes) -> None:
        """How many copies are asked for, for commands that know no configuration. Durable."""

    def router(self) -> bytes:
        """What ``follow`` was given; empty where this store is nobody's shard."""

    def follow(self, router: bytes) -> bytes:
        """This store is the shard of that router from now on, unless it was somebody's before: whose it is.
        Then its packs are its router's, and nothing here may tell that they are not needed. Durable."""

    def place_by(self, placing: Placing) -> None:
        """From now on ``PackRegistry.begin`` writes ``wanted`` rows with the pack's row, for the targets
        that ``placing`` names."""

    def adopt(self, target: TargetNumber) -> int:
        """Packs without rows of copies get one, ``stored`` on this target; how many. Durable."""

    def copies(self, uuid: bytes) -> list[Copy]:
        """Of a pack; none for one that is not known."""

    def stored(self, uuid: bytes, targets: Sequence[TargetNumber]) -> None:
        """These targets have a good copy. Not durable by itself, but before whatever follows."""

    def bad(self, uuid: bytes, target: TargetNumber, state: CopyState) -> bool:
        """A copy that was ``stored`` is ``bad``, or lost (``wanted``); False where it was not stored."""

    def want(self, pack: PackNumber, targets: Sequence[TargetNumber], state: CopyState) -> None:
        """Rows for copies that a live pack has not; those it has stay as they are."""

    def leave(self, pack: PackNumber, targets: Sequence[TargetNumber]) -> None:
        """Copies that are not needed: what is there is ``leaving``; what is not has no row any more."""

    def claim(
        self, targets: Sequence[TargetNumber], states: Sequence[CopyState], limit: int, seconds: float
    ) -> list[CopyJob]:
        """Work on copies in these states at these targets that nobody has in hand; nobody else gets it for
        so long."""

    def finished(self, job: CopyJob, *, there: bool) -> bool:
        """A job is done: the copy is ``stored``, or, unless ``there``, its row goes. False, and nothing
        changed, where the pack is not live any more or has no such row. Durable."""

    def later(self, job: CopyJob, seconds: float) -> None:
        """A job that could not be done is tried again."""

    def lost_all(self, target: TargetNumber) -> int:
        """A target is empty: all its copies are ``wanted``, or, where they were leaving, gone. Durable."""

    def page(self, after: PackNumber, limit: int) -> list[PackCopies]:
        """Live packs by number, those behind ``after``."""

    def tally(self) -> list[CopyTally]:
        """Copies of live packs by target and state."""
