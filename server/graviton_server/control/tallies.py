"""What the HTTP API has done, for /metrics and ``graviton stats``."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """One operation. ``buckets``: how many took under 2 to the power of the index nanoseconds, and not under
    half of that."""

    count: int = 0
    errors: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * 64)


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
            tally.buckets[int(seconds * 1e9).bit_length()] += 1
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

    def errors(self) -> dict[str, int]:
        """By class."""
        with self._lock:
            return dict(self._errors)
