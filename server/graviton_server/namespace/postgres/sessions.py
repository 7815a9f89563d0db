"""Sessions as this process keeps them: their numbering, their answers, what may still be lost."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from graviton_server.namespace.postgres.belief import Belief
from graviton_server.namespace.sessions import Recorded, Session, recorded
from gravitonfs.core.trust import Trust
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.ports.ops import Batch, Removed, Result

KEEP: Final = 4096
"""Answers kept in the database, for whoever asks again or replays after a crash."""
KEEP_HERE: Final = 256
PRUNE_EVERY: Final = 512
TURN_SECONDS: Final = 30.0

_encode = msgspec.msgpack.Encoder().encode


class Kept(NamedTuple):
    """A batch that a crash of the server may still take back, and what it was answered."""

    batch: Batch
    answer: Recorded
    given: list[int]
    lsn: int


@dataclass(eq=False, slots=True)
class PostgresSession(Session):
    lock: threading.RLock = field(default_factory=threading.RLock)
    """One transaction of a session at a time."""
    kept: deque[Kept] = field(default_factory=deque)
    whole_in: str = ""
    """The incarnation of the database that was last seen to have all that was answered."""
    belief: Belief = field(default_factory=Belief)
    alone: bool = False
    """No other process had a session of its volume when the database was last asked."""
    logical_bytes: int = 0
    inodes: int = 0
    """What its batches have added to the volume, in all."""
    counted: bool = False
    """Its volume had quotas when the database was last asked."""

    trust: Trust | None = None
    """Of the volume's lease; only where it asks for it by itself."""
    order: threading.Condition = field(default_factory=threading.Condition)
    """Guards ``running``."""
    running: int = 0
    """Calls that do not wait for their turn."""

    def __post_init__(self) -> None:
        if self.recall is not None and self.listener is not None and self.leased is None:
            self.trust = Trust(self._drop)

    def _drop(self) -> None:
        """Others may have been let in since the lease before."""
        if self.listener is not None:
            self.listener([EVERYTHING])

    def arrive(self, number: int) -> None:
        """A call whose first batch has this number: it waits for those before it that are under way here.

        Callers may have many in flight, on threads that overtake each other.
        """
        with self.order:
            while number > self.last + 1 and self.running:
                if not self.order.wait(TURN_SECONDS):
                    break
            self.running += 1

    def depart(self) -> None:
        with self.order:
            self.running -= 1
            self.order.notify_all()

    def flushed(self, lsn: int) -> None:
        """The server's log is on disk up to here."""
        while self.kept and self.kept[0].lsn <= lsn:
            self.durable = self.kept.popleft().batch.number
        if not self.kept:
            self.durable = self.last

    def remember(self, answer: Recorded) -> None:
        self.recorded.append(answer)
        while len(self.recorded) > KEEP_HERE:
            self.recorded.popleft()


def encode(answer: Recorded) -> bytes:
    return _encode(answer)


def decode(data: bytes) -> Recorded:
    fields: list[Any] = msgspec.msgpack.decode(data)
    return recorded(fields)


def same(one: Recorded, other: Recorded) -> bool:
    """Answers as a client sees them; who else holds a removed inode may have changed."""
    if (one[2] is None) != (other[2] is None):
        return False
    if one[2] is not None and other[2] is not None:
        return one[2].kind == other[2].kind
    return [_told(result) for result in one[1]] == [_told(result) for result in other[1]]


def _told(result: Result) -> Result:
    return result._replace(kept=False) if isinstance(result, Removed) else result
