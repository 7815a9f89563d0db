"""What was looked up is believed for a moment: a request costs no look at the database, or at a daemon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED: Final = 5.0
"""Seconds from the look-up; what was revoked elsewhere works so long."""
_MOST: Final = 4096


class Remembered(Generic[K, V]):
    """Thread-safe; ``_lock`` guards the table. What is not there (None) is looked for each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[K, tuple[float, V]] = {}

    def get(self, key: K, look_up: Callable[[K], V]) -> V:
        """``look_up`` may raise, which is not remembered."""
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and known[0] > now:
            return known[1]
        found = look_up(key)
        if found is not None:
            with self._lock:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[key] = now + REMEMBERED, found
        return found

    def forget(self, key: K) -> None:
        with self._lock:
            self._known.pop(key, None)
