"""What long work has in common: it tells how far it is, can be stopped, and keeps to a rate."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from gravitonfs.errors import GravitonError, Kind

_BUSY_STEP = 0.05
_BUSY_SHARE = 4
"""While others use the volume, background work rests so many steps for each it takes."""


class Stopped(GravitonError):
    """The work was cancelled. What it did so far holds; starting it again goes on."""

    kind = Kind.UNAVAILABLE


class Progress(Protocol):
    def __call__(self, done: int, total: int, what: str, /) -> None:
        """``total`` 0: not known. May raise, which ends the work."""


class Busy(Protocol):
    def __call__(self) -> bool:
        """Whether the volume's users are doing something right now; costs nothing."""


class Work:
    """One run of something long. Used by one thread; ``cancelled`` may be set by any.

    ``bytes_per_second`` 0: no limit.
    """

    def __init__(
        self,
        progress: Progress | None = None,
        cancelled: threading.Event | None = None,
        *,
        bytes_per_second: int = 0,
        busy: Busy | None = None,
    ) -> None:
        self.cancelled = cancelled or threading.Event()
        self.bytes_per_second = bytes_per_second
        self._progress = progress
        self._busy = busy
        self._ready_at = time.monotonic()

    def tell(self, done: int, total: int, what: str) -> None:
        """Report, and stop here if somebody wants that."""
        self.check()
        if self._progress is not None:
            self._progress(done, total, what)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Stopped("stopped before it was done; run it again to go on")

    def spend(self, count: int) -> None:
        """``count`` bytes were read or written: wait as long as the rate and the volume's users want."""
        self.check()
        now = time.monotonic()
        if self.bytes_per_second:
            self._ready_at = max(self._ready_at, now - 1.0) + count / self.bytes_per_second
            if self._ready_at > now:
                self.cancelled.wait(self._ready_at - now)
        self.give_way()

    def give_way(self) -> None:
        """Rest a little while the volume is in use."""
        if self._busy is None:
            return
        for _ in range(_BUSY_SHARE):
            if not self._busy() or self.cancelled.wait(_BUSY_STEP):
                break
        self.check()
