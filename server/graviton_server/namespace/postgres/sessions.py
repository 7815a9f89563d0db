"""Sessions as this process keeps them: their numbering, their answers, what may still be lost."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from graviton_server.namespace.sessions import Recorded, Session, recorded
from gravitonfs.ports.ops import Batch

KEEP: Final = 4096
"""Answers kept in the database, for whoever asks again or replays after a crash."""
KEEP_HERE: Final = 256
PRUNE_EVERY: Final = 512

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
    logical_bytes: int = 0
    inodes: int = 0
    """What its batches have added to the volume, in all."""

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
