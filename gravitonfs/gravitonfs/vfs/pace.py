"""When an event loop may wait itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class Pace:
    """Whether the disk is quick enough to be waited for on the event loop.

    A thread and back costs 100 microseconds, a quarter of a random read from a fast disk. After one read
    that took too long the next thousand go to threads.
    """

    __slots__ = ("_start", "_threads")

    LIMIT = 0.002
    PAUSE = 1000

    def __init__(self) -> None:
        self._threads = 0
        self._start = 0.0

    def allows(self) -> bool:
        if self._threads:
            self._threads -= 1
            return False
        return True

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *error: object) -> None:
        if time.monotonic() - self._start > self.LIMIT:
            self._threads = self.PAUSE


class Beside(Protocol):
    """Calls something on a thread, and waits for it in the quickest way there is."""

    async def run(
        self, call: Callable[[], None], otherwise: Callable[[Callable[[], None]], Awaitable[None]]
    ) -> None: ...
