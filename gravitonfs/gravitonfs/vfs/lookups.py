"""Inodes that the kernel has just been told of and may open next.

Between the look-up of a name and the open of what it led to another session may give the name to another
file, and the old one be freed: the kernel looks once more, and then the program would be told ``ESTALE``. So
what was looked up in the last seconds is claimed like what is open, and let go together with others later.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from gravitonfs.core.ids import Ino

KEEP: Final = 5.0
"""Seconds from a look-up to the open that it was for, on a busy machine."""
_MAX: Final = 20_000
_TOGETHER: Final = 500

Key = tuple[Ino, bytes]


class Lookups:
    """Any thread. ``_lock`` guards all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = 0
        self._found: OrderedDict[Ino, float] = OrderedDict()
        self._names: dict[Key, Ino] = {}
        self._held: dict[Ino, float] = {}

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a look-up: its answer may be on its way while the inode loses its name."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1

    def found(self, parent: Ino, name: bytes, ino: Ino) -> None:
        """While ``asking``."""
        now = self._clock()
        with self._lock:
            self._found.pop(ino, None)
            self._found[ino] = now
            self._names[parent, name] = ino
            while self._found and (len(self._found) > _MAX or next(iter(self._found.values())) < now - KEEP):
                self._found.popitem(last=False)
            if len(self._names) > 2 * _MAX:
                self._names.clear()

    def removing(self, parent: Ino, name: bytes) -> None:
        """This mount removes the name itself, for which the kernel has looked it up."""
        with self._lock:
            ino = self._names.pop((parent, name), None)
            if ino is not None:
                self._found.pop(ino, None)

    def claims(self, ino: Ino) -> bool:
        """Another session has removed its last name: whether it must be kept for a while."""
        now = self._clock()
        with self._lock:
            if not self._asking and self._found.get(ino, 0.0) < now - KEEP:
                return False
            self._held[ino] = now
            return True

    def opened(self, ino: Ino) -> bool:
        """Whether it is claimed: from now on by who has it open."""
        with self._lock:
            return self._held.pop(ino, None) is not None

    def over(self) -> list[Ino]:
        """Those that nobody has opened in time: to be let go."""
        now = self._clock()
        with self._lock:
            over = [ino for ino, since in self._held.items() if since < now - KEEP]
            for ino in over:
                del self._held[ino]
            return over


async def tend(lookups: Lookups, let_go: Callable[[Sequence[Ino]], object]) -> None:
    """Until cancelled. ``let_go`` must not raise; it may block."""
    while True:
        await trio.sleep(KEEP / 2)
        over = lookups.over()
        for at in range(0, len(over), _TOGETHER):
            await trio.to_thread.run_sync(let_go, over[at : at + _TOGETHER])
