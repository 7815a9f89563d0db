"""How much may still be stored in the target."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from gravitonfs.core.units import format_size
from gravitonfs.errors import NoSpace
from gravitonfs.ports.target import Space

RESERVE: Final = 64 << 20
_SECONDS: Final = 0.05
_BYTES: Final = 8 << 20


class Room:
    """Refuses to fill the target's last bytes, which the database needs to commit what is stored.

    ``_lock`` guards what is remembered of the last look at the target.
    """

    def __init__(
        self, name: str, space: Callable[[], Space], reserve: int | None, pending: Callable[[], int]
    ) -> None:
        """``space``: of the place that is filled, the target ``name`` or a disk on the way to it.
        ``pending``: bytes that were put and do not take space there yet."""
        self._name = name
        self._space = space
        self._reserve = reserve
        self._pending = pending
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._left = 0

    def claim(self, size: int) -> None:
        """Raises ``NoSpace``. Looks at the target every 50 ms, every 8 MiB, and when it gets tight."""
        with self._lock:
            now = time.monotonic()
            if now < self._until and self._left >= size:
                self._left -= size
                return
            space = self._space()
            reserve = min(RESERVE, space.capacity // 20) if self._reserve is None else self._reserve
            left = space.free - reserve - self._pending() - size if space.capacity else _BYTES
            if left < 0:
                self._left = 0
                raise NoSpace(
                    f"the target {self._name} has {format_size(space.free)} left, of which"
                    f" {format_size(reserve)} are kept for the database: free some space"
                )
            self._left = min(left, _BYTES)
            self._until = now + _SECONDS
