"""Batches that a crash of the database undid and that could not be done again: told, and kept to look at."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final, NamedTuple

from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import Batch, Reply

log = logging.getLogger("graviton.client")

_KEEP: Final = 1000


class LostBatch(NamedTuple):
    batch: Batch
    why: str


class LostBatches:
    """``_lock`` guards the list."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost: deque[LostBatch] = deque(maxlen=_KEEP)
        self.count = 0

    def keep(self, batch: Batch, before: Reply, after: Reply | GravitonError) -> None:
        if isinstance(after, GravitonError):
            why = str(after)
        else:
            why = (
                after.failure.message if after.failure is not None else "it succeeded, and had failed before"
            )
        ops = ", ".join(type(op).__name__ for op in batch.ops)
        log.error("batch %d (%s) was undone by a crash and cannot be done again: %s", batch.number, ops, why)
        with self._lock:
            self._lost.append(LostBatch(batch, why))
            self.count += 1

    def all(self) -> list[LostBatch]:
        with self._lock:
            return list(self._lost)
