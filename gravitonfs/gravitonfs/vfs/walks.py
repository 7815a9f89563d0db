"""Whether somebody walks through a tree, reading what lies in it, and which directories come next."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from gravitonfs.core.ids import Ino

IDLE: Final = 10.0
"""Seconds without another file or directory after which nobody reads on."""
_ENOUGH: Final = 2
_MOST: Final = 6
_DIRECTORIES: Final = 256
_BELOW: Final = 1000


class Walk:
    """Not thread-safe: the caller has a lock.

    Each listing is a step without proof, each first file of a listed directory is proof of two: who lists and
    does not read is no reader, and one who reads a part of the directories is still one.
    """

    def __init__(self) -> None:
        self._proof = 0
        self._last = 0.0
        self._below: OrderedDict[Ino, Sequence[Ino]] = OrderedDict()
        self._above: dict[Ino, Ino] = {}

    def listed(self) -> bool:
        """A directory with small files was listed. Whether its files will be read."""
        if time.monotonic() - self._last > IDLE:
            self._proof = 0
        self._proof = max(self._proof - 1, 0)
        return self._proof >= _ENOUGH

    def read(self) -> None:
        """A first file of a directory that was listed."""
        self._proof = min(self._proof + 2, _MOST)
        self._last = time.monotonic()

    @property
    def goes_on(self) -> bool:
        return self._proof >= _ENOUGH and time.monotonic() - self._last <= IDLE

    def know(self, directory: Ino, below: Sequence[Ino]) -> None:
        """The directories in a directory, in the order of their names."""
        for old in self._below.pop(directory, ()):
            self._above.pop(old, None)
        if not below:
            return
        self._below[directory] = below[:_BELOW]
        for one in self._below[directory]:
            self._above[one] = directory
        if len(self._below) > _DIRECTORIES:
            _, old_ones = self._below.popitem(last=False)
            for old in old_ones:
                self._above.pop(old, None)

    def after(self, directory: Ino) -> Iterator[Ino]:
        """Those that a walk comes to next, as far as they are known: down first, then on."""
        yield from self._down(directory)
        at = directory
        for _ in range(_DIRECTORIES):
            above = self._above.get(at)
            if above is None:
                return
            beside = self._below[above]
            for one in beside[beside.index(at) + 1 :]:
                yield one
                yield from self._down(one)
            at = above

    def _down(self, directory: Ino, depth: int = 0) -> Iterator[Ino]:
        if depth < 64:
            for one in self._below.get(directory, ()):
                yield one
                yield from self._down(one, depth + 1)
