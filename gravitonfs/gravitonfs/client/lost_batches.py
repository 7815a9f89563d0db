"""Batches that a crash of the database undid and that could not be done again: told, and kept to look at."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import Batch, Reply

log = logging.getLogger("graviton.client")

_KEEP: Final = 1000


class LostBatch(NamedTuple):
    session: int
    batch: Batch
    why: str


Heir = Callable[[LostBatch], None]
"""Told of each lost batch, with locks held: must not block."""


class LostBatches:
    """``_lock`` guards the list."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost: deque[LostBatch] = deque(maxlen=_KEEP)
        self.count = 0
        self.heir: Heir | None = None
        """Who keeps them where people find them; those that came before are told when it is set."""

    def inherit(self, heir: Heir) -> None:
        with self._lock:
            self.heir = heir
            before = list(self._lost)
        for lost in before:
            heir(lost)

    def keep(self, session: int, batch: Batch, before: Reply, after: Reply | GravitonError) -> None:
        if isinstance(after, GravitonError):
            why = str(after)
        else:
            why = (
                after.failure.message if after.failure is not None else "it succeeded, and had failed before"
            )
        ops = ", ".join(type(op).__name__ for op in batch.ops)
        log.error("batch %d (%s) was undone by a crash and cannot be done again: %s", batch.number, ops, why)
        lost = LostBatch(session, batch, why)
        with self._lock:
            self._lost.append(lost)
            self.count += 1
            heir = self.heir
        if heir is not None:
            heir(lost)

    def all(self) -> list[LostBatch]:
        with self._lock:
            return list(self._lost)
