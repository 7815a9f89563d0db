"""Who waits for packs to fill up: what is stored in one may be named once the pack itself is stored.

Without being told, a writer whose budget is used up by such bytes would wait for its own next write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Look = Callable[[], object]


class Held:
    """Of all writers of a store. Thread-safe. ``_lock`` guards ``_waiting``."""

    def __init__(self, workers: ThreadPoolExecutor) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._waiting: set[Look] = set()

    def add(self, look: Look) -> None:
        """Have ``look`` called, once, on a worker, when packs were stored. Who adds it looks once more."""
        with self._lock:
            self._waiting.add(look)

    def stored(self) -> None:
        """Some pack was stored."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for look in waiting:
            try:
                self._workers.submit(look)
            except RuntimeError:
                return  # they are shut down: a flush has named everything
