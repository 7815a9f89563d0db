"""For how long a session may rely on its volume's lease: shorter than the store grants it.

Counted from when the question was sent that the lease was the answer to, by a clock that goes on while the
machine sleeps. Nothing is compared with a clock of another machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

MARGIN: Final = 0.1
"""Of a lease, at its end, the holder does not trust: clocks run at slightly different speeds."""
NAP: Final = 0.5
"""A machine that has slept for longer has kernel caches that are too old."""

_DOUBTED: Final = -1

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def instant() -> float:
    """Now, by the clock that leases are counted on."""
    return time.clock_gettime(_CLOCK)


class Trust:
    """``_lock`` guards all of it; ``until`` reads one attribute without.

    Leases have numbers that rise. One that was given up is not taken again, however late its grant arrives.
    """

    def __init__(self, drop: Callable[[], None]) -> None:
        """``drop``: forget everything; others may have been let in since the lease before. No lock held."""
        self._drop = drop
        self._lock = threading.Lock()
        self._until = 0.0
        self._number = 0
        self._given_up = 0
        self._not_before = 0.0
        self._ended = False
        self._awake = _awake()

    def until(self) -> float:
        """See ``Namespace.trusted_until``."""
        until = self._until
        if not until:
            return 0.0
        left = until - instant()
        return time.monotonic() + left if left > 0 else 0.0

    @property
    def number(self) -> int:
        """Of the lease that is held, or was, and may be renewed; else 0."""
        return self._number

    def granted(self, number: int, seconds: float, asked: float) -> None:
        """The answer to a question that was sent at ``asked``."""
        if not self._holds_good(number, asked):
            return
        if self._number not in (0, number):
            self._drop()
        with self._lock:
            if self._holds_good(number, asked):
                self._number = number
                self._until = asked + seconds * (1 - MARGIN)

    def _holds_good(self, number: int, asked: float) -> bool:
        return not self._ended and number > self._given_up and asked >= self._not_before

    def was_given_up(self, number: int) -> bool:
        """The store has not heard so."""
        return number <= self._given_up

    def give_up(self, number: int) -> None:
        """The lease was recalled: it is not trusted from now on."""
        with self._lock:
            self._given_up = max(self._given_up, number)
            if self._number <= number:
                self._until = 0.0

    def dropped(self, number: int) -> None:
        """Nothing is kept of what was told under this lease."""
        with self._lock:
            if self._number <= number:
                self._number = 0

    def suspend(self) -> None:
        """Recalls could not be heard: nothing is trusted until the store has been asked again."""
        with self._lock:
            self._until = 0.0
            self._not_before = instant()

    def doubt(self) -> None:
        """What was told may be wrong (the database has lost some of it): it is dropped before any of it is
        trusted again, by the same lease or another."""
        with self._lock:
            self._until = 0.0
            self._not_before = instant()
            self._number = self._number and _DOUBTED

    def end(self) -> None:
        with self._lock:
            self._ended = True
            self._until = 0.0

    def slept(self) -> bool:
        """The machine was suspended since the last call: what the kernel caches has not aged meanwhile."""
        awake = _awake()
        napped = awake - self._awake < -NAP
        self._awake = awake
        return napped


def _awake() -> float:
    """Falls while the machine sleeps."""
    return time.monotonic() - instant()
