"""Batches that were answered and are not known to survive a crash of the database."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from gravitonfs.ports.ops import Batch, Reply

KEEP_BYTES: Final = 64 << 20
KEEP_BATCHES: Final = 20_000


class Unacknowledged:
    """In the order of their numbers. Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Batch, Reply]] = deque()
        self._bytes = 0

    def add(self, batch: Batch, reply: Reply) -> None:
        self._bytes += sum(len(block.payload) for block in batch.loose)
        self._kept.append((batch, reply))

    def durable_through(self, number: int) -> None:
        while self._kept and self._kept[0][0].number <= number:
            batch, _ = self._kept.popleft()
            self._bytes -= sum(len(block.payload) for block in batch.loose)

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
        self._bytes = 0
        return count

    def __len__(self) -> int:
        return len(self._kept)
