"""Byte budgets with back-pressure."""

from __future__ import annotations

import threading


class Budget:
    """Counts bytes held somewhere against a limit.

    ``add`` never blocks: whoever fills the buffer has the bytes already. It then waits (``wait``)
    until others have let go, so the overshoot is one piece per writer.

    ``_changed`` guards ``_used``.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        return self._used

    def exceeded(self) -> bool:
        return self._used > self.limit

    def add(self, count: int) -> None:
        with self._changed:
            self._used += count

    def release(self, count: int) -> None:
        with self._changed:
            self._used -= count
            if self._used <= self.limit:
                self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Until the budget is no longer exceeded; False when that took longer than ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._used <= self.limit, timeout)
