"""How long a target's reads take."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Final

FLOOR: Final = 0.02
"""Seconds that are never unusual."""
UNKNOWN: Final = 0.5
_FAR: Final = 100
_KEPT: Final = 256
_ENOUGH: Final = 20
_EACH: Final = 16
"""Reads after which the figures are made anew."""
_FORGOTTEN: Final = 30.0
"""Seconds after which a target that was not read any more may have become quick again."""


class Latency:
    """``_lock`` guards ``_recent`` and the counters. Figures are replaced whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=_KEPT)
        self._count = 0
        self._hanging = 0
        self._last = 0.0
        self._slow_at = -math.inf
        self._high = UNKNOWN
        self._median = 0.0

    def took(self, seconds: float) -> None:
        now = self._last = time.monotonic()
        if seconds > FLOOR:
            self._slow_at = now
        with self._lock:
            self._recent.append(seconds)
            self._count += 1
            if self._count % _EACH and self._count > _ENOUGH:
                return
            ordered = sorted(self._recent)
        self._median = ordered[len(ordered) // 2]
        if len(ordered) >= _ENOUGH:
            self._high = ordered[len(ordered) * 97 // 100]

    def hangs(self, seconds: float) -> None:
        """A read that others did not wait for, so far so long; ``ended`` is called when it has."""
        with self._lock:
            self._hanging += 1
        self.took(seconds)

    def ended(self) -> None:
        with self._lock:
            self._hanging -= 1

    def unusual(self) -> float:
        """Seconds after which a read is slower than nearly all were."""
        return max(FLOOR, self._high)

    @property
    def was_slow(self) -> bool:
        """A read lately."""
        return time.monotonic() - self._slow_at < _FORGOTTEN

    @property
    def distance(self) -> int:
        """Grows by one as reads take four times as long; differences below a millisecond do not count. Far
        while a read hangs there."""
        if self._hanging:
            return _FAR
        if time.monotonic() - self._last > _FORGOTTEN:
            return 0
        return int(math.log(max(self._median / 0.001, 1.0), 4))
