"""What long work has in common: it tells how far it is, can be stopped, and keeps to a rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from gravitonfs.errors import GravitonError, Kind

Activity = Callable[[], object]
"""A value that differs after every use of the volume by others than background work; costs nothing."""

_LISTEN_EVERY: Final = 0.1
_LISTEN: Final = 0.005
_REST: Final = 0.05
_RESTS: Final = 6
"""Work goes on after so many rests even on a volume that is always in use."""


class Stopped(GravitonError):
    """The work was cancelled. What it did so far holds; starting it again goes on."""

    kind = Kind.UNAVAILABLE


class Progress(Protocol):
    def __call__(self, done: int, total: int, what: str, /) -> None:
        """``total`` 0: not known. May raise, which ends the work."""


class Work:
    """One run of something long. Used by one thread; ``cancelled`` may be set by any.

    ``bytes_per_second`` 0: no limit. ``activity``: given way to.
    """

    def __init__(
        self,
        progress: Progress | None = None,
        cancelled: threading.Event | None = None,
        *,
        bytes_per_second: int = 0,
        activity: Activity | None = None,
    ) -> None:
        self.cancelled = cancelled or threading.Event()
        self._lost = ""
        self.bytes_per_second = bytes_per_second
        self._progress = progress
        self._activity = activity
        self._ready_at = time.monotonic()
        self._listened = time.monotonic()

    def tell(self, done: int, total: int, what: str) -> None:
        """Report, and stop here if somebody wants that."""
        self.check()
        if self._progress is not None:
            self._progress(done, total, what)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Stopped("stopped before it was done; run it again to go on")
        if self._lost:
            raise Stopped(self._lost)

    def lose(self, why: str) -> None:
        """The work ends at its next safe point: by any thread."""
        self._lost = why

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
        """Every tenth of a second, listen for a moment: while others use the volume, rest."""
        self.check()
        if self._activity is None or time.monotonic() - self._listened < _LISTEN_EVERY:
            return
        pause = _LISTEN
        for _ in range(_RESTS):
            before = self._activity()
            if self.cancelled.wait(pause) or self._activity() == before:
                break
            pause = _REST
        self._listened = time.monotonic()
        self.check()
