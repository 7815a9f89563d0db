"""A file that is read here and there and fits into the cache: after a while the rest of it is fetched, too.

On a local disk each block that a random reader finds missing costs 400 microseconds, one that is there 50;
fetched in runs of 4 MiB a block costs 170, on a thread beside the reader. Behind a network a missing block
costs some 4 milliseconds, for which several megabytes could have come: there it begins sooner, first with
what lies around the blocks that were missed, and several runs are on their way at a time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from gravitonfs.content.reader import ContentReader, Fetcher
from gravitonfs.content.runs import RUN
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import GravitonError

SHARE = 16
"""So small a part of the file must have been missed: who reads a few bytes causes no more than that."""
SHARE_FAR = 32
BLOCK = 256 << 10
"""What one miss fetches, about."""
EVIDENCE = 4
"""Misses behind a network from which on what lies around one is fetched; not before them all of a file is."""
_FAR_RUNS = 3
"""On their way at a time."""

Group = list[tuple[BlockId, PackNumber]]


class Misses:
    """Of one reader; not thread-safe. ``fit``: the largest file that is fetched whole."""

    __slots__ = ("_count", "_fit", "_least", "_share", "_started")

    def __init__(self, fit: int, *, far: bool = False) -> None:
        self._fit = fit
        self._share, self._least = (SHARE_FAR, EVIDENCE) if far else (SHARE, 1)
        self._count = 0
        self._started = False

    def enough(self, size: int) -> bool:
        """One more; True once, when the rest is to be fetched."""
        if self._started or size > self._fit:
            return False
        self._count += 1
        self._started = self._count * BLOCK * self._share >= size and self._count >= self._least
        return self._started

    @property
    def several(self) -> bool:
        """Behind a network what lies around the next one is to be fetched."""
        return self._count >= EVIDENCE and not self._started


def around(reader: ContentReader, offset: int) -> None:
    """Start fetching the run that ``offset`` lies in; returns at once. Its map must be in memory."""
    start = offset - offset % RUN
    end = min(start + RUN, reader.size)
    if reader.mapped(start, end - start):
        reader.ahead(start, end)


def fetch_rest(
    reader: ContentReader, fetcher: Fetcher, workers: ThreadPoolExecutor, *, far: bool = False
) -> None:
    """Until the file is there or nobody reads it any more; returns at once."""
    groups = _Groups(weakref.ref(reader), fetcher)
    if not far:
        workers.submit(_fetch, groups, fetcher.fill)  # it is quicker to read a block than to wait for a run
        return
    for _ in range(_FAR_RUNS):
        workers.submit(_fetch, groups, fetcher.fetch)


class _Groups:
    """Blocks of a file that are to be fetched, a run at a time, for several threads. ``_lock`` is held by
    whoever looks for the next."""

    def __init__(self, wanted: weakref.ref[ContentReader], fetcher: Fetcher) -> None:
        self._wanted = wanted
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._groups = self._all()
        self._over = False

    def next(self) -> Group | None:
        with self._lock:
            if self._over or self._wanted() is None:
                return None
            return next(self._groups, None)

    def stop(self) -> None:
        self._over = True

    def _all(self) -> Iterator[Group]:
        start = 0
        while (reader := self._wanted()) is not None and start < reader.size:
            try:
                extents = reader.extents(start, min(start + REGION, reader.size))
            except GravitonError:
                return
            del reader
            group: Group = []
            size = 0
            for extent in extents:
                if not self._fetcher.lacks(extent.block):
                    continue
                if group and size + extent.length > RUN:
                    yield group
                    group, size = [], 0
                group.append((extent.block, extent.hint))
                size += extent.length
            if group:
                yield group
            start += REGION


def _fetch(groups: _Groups, fetch: Callable[[Group], bool]) -> None:
    """Whoever needs a block that cannot be read asks for it and is told what is wrong with it."""
    while (group := groups.next()) is not None:
        if not fetch(group):
            groups.stop()
