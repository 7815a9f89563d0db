"""Batches that were answered and are not known to survive a crash of the database."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from gravitonfs.ports.ops import Batch, Reply
from gravitonfs.ports.wire import STAMP

KEEP_BYTES: Final = 64 << 20
KEEP_BATCHES: Final = 20_000


class Unacknowledged:
    """In the order of their numbers. Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Batch, Reply]] = deque()
        self._stamps: dict[int, bytes] = {}
        self._bytes = 0

    def add(self, batch: Batch, reply: Reply, stamp: bytes) -> None:
        """``stamp``: the daemon's word that the blocks were the client's to name; empty without any."""
        if stamp.strip(b"\0"):
            self._stamps[batch.number] = stamp
        self._bytes += sum(len(block.payload) for block in batch.loose)
        self._kept.append((batch, reply))

    def durable_through(self, number: int) -> None:
        while self._kept and self._kept[0][0].number <= number:
            batch, _ = self._kept.popleft()
            self._bytes -= sum(len(block.payload) for block in batch.loose)
            self._stamps.pop(batch.number, None)

    def stamps_of(self, batches: Sequence[Batch]) -> bytes:
        """As a call takes them."""
        if not any(batch.number in self._stamps for batch in batches):
            return b""
        return b"".join(self._stamps.get(batch.number, bytes(STAMP)) for batch in batches)

    def after(self, number: int) -> Iterator[tuple[Batch, Reply]]:
        for batch, reply in list(self._kept):
            if batch.number > number:
                yield batch, reply

    @property
    def too_much(self) -> bool:
        """The next batch should wait until all are durable."""
        return self._bytes > KEEP_BYTES or len(self._kept) > KEEP_BATCHES

    def clear(self) -> int:
        count = len(self._kept)
        self._kept.clear()
        self._stamps.clear()
        self._bytes = 0
        return count

    def __len__(self) -> int:
        return len(self._kept)
