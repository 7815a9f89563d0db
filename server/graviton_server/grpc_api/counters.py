"""What was asked of this server, for whoever exports metrics."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Counted(NamedTuple):
    """One operation, since the start. ``errors`` does not count clients' own mistakes."""

    calls: int
    errors: int
    seconds: float


class Counters:
    """``_lock`` guards all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations: dict[str, Counted] = {}
        self._errors: dict[str, int] = {}
        self._running = 0
        self._uploads = self._downloads = 0
        self._received = self._sent = 0

    def began(self) -> None:
        with self._lock:
            self._running += 1

    def ended(self, operation: str, seconds: float, error: str | None) -> None:
        """``error``: the kind of an error that is not the client's own mistake."""
        with self._lock:
            self._running -= 1
            old = self._operations.get(operation, Counted(0, 0, 0.0))
            failed = error is not None
            self._operations[operation] = Counted(old.calls + 1, old.errors + failed, old.seconds + seconds)
            if error is not None:
                self._errors[error] = self._errors.get(error, 0) + 1

    def uploaded(self, size: int) -> None:
        with self._lock:
            self._uploads += 1
            self._received += size

    def downloaded(self, size: int) -> None:
        with self._lock:
            self._downloads += 1
            self._sent += size

    def operations(self) -> dict[str, Counted]:
        with self._lock:
            return dict(self._operations)

    def errors(self) -> dict[str, int]:
        with self._lock:
            return dict(self._errors)

    def totals(self) -> dict[str, int]:
        """``uploads`` and ``downloads`` are of blobs, with their bytes; ``running``: calls at this moment."""
        with self._lock:
            return {
                "running": self._running,
                "uploads": self._uploads,
                "downloads": self._downloads,
                "received_bytes": self._received,
                "sent_bytes": self._sent,
            }
