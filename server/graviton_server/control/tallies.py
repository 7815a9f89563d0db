"""What the HTTP API has done, for /metrics and ``graviton stats``."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Of the histogram of durations, in seconds; whatever takes longer is in the last bucket."""


@dataclass(slots=True)
class Tally:
    """One operation. ``buckets`` are not cumulative and have one more than ``BOUNDS``."""

    count: int = 0
    errors: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Tallies:
    """Thread-safe; ``_lock`` guards all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_operation: dict[str, Tally] = {}
        self._errors: dict[str, int] = {}
        self.uploads = 0
        self.downloads = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def request(self, operation: str, seconds: float, error: str | None) -> None:
        """``error``: its class, where it was no mistake of the client's."""
        with self._lock:
            tally = self._by_operation.setdefault(operation, Tally())
            tally.count += 1
            tally.seconds += seconds
            tally.slowest = max(tally.slowest, seconds)
            tally.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
            if error is not None:
                tally.errors += 1
                self._errors[error] = self._errors.get(error, 0) + 1

    def uploaded(self, count: int) -> None:
        with self._lock:
            self.uploads += 1
            self.bytes_in += count

    def downloaded(self, count: int) -> None:
        with self._lock:
            self.downloads += 1
            self.bytes_out += count

    def operations(self) -> list[tuple[str, Tally]]:
        with self._lock:
            return sorted(self._by_operation.items())

    def errors(self) -> Sequence[tuple[str, int]]:
        with self._lock:
            return sorted(self._errors.items())
