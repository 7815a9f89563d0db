"""A file that is read here and there and fits into the cache: after a while the rest of it is fetched, too.

Each block that a random reader finds missing costs 400 microseconds, one that is there 50; fetched in runs
of 4 MiB a block costs 170, on a thread beside the reader.
"""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor

from gravitonfs.content.cache import BlockCache
from gravitonfs.content.reader import ContentReader
from gravitonfs.content.runs import RUN
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.blocks import BlockStore

SHARE = 16
"""So small a part of the file must have been missed: who reads a few bytes causes no more than that."""
BLOCK = 256 << 10
"""What one miss fetches, about."""


class Misses:
    """Of one reader; not thread-safe. ``fit``: the largest file that is fetched whole."""

    __slots__ = ("_count", "_fit", "_started")

    def __init__(self, fit: int) -> None:
        self._fit = fit
        self._count = 0
        self._started = False

    def enough(self, size: int) -> bool:
        """One more; True once, when the rest is to be fetched."""
        if self._started or size > self._fit:
            return False
        self._count += 1
        self._started = self._count * BLOCK * SHARE >= size
        return self._started


def fetch_rest(
    reader: ContentReader, store: BlockStore, cache: BlockCache, workers: ThreadPoolExecutor
) -> None:
    """On one worker, until the file is there or nobody reads it any more; returns at once."""
    workers.submit(_fetch, weakref.ref(reader), store, cache)


def _fetch(wanted: weakref.ref[ContentReader], store: BlockStore, cache: BlockCache) -> None:
    start = 0
    while (reader := wanted()) is not None and start < reader.size:
        try:
            extents = reader.extents(start, min(start + REGION, reader.size))
        except GravitonError:
            return
        del reader
        group: list[tuple[BlockId, PackNumber]] = []
        size = 0
        for extent in extents:
            if wanted() is None:
                return
            if extent.block not in cache:
                group.append((extent.block, extent.hint))
                size += extent.length
            if size >= RUN:
                if not _fill(group, store, cache):
                    return
                group, size = [], 0
        if group and not _fill(group, store, cache):
            return
        start += REGION


def _fill(group: list[tuple[BlockId, PackNumber]], store: BlockStore, cache: BlockCache) -> bool:
    """Whoever needs a block that cannot be read asks for it and is told what is wrong with it."""
    try:
        for (block, _), data in zip(group, store.get(group), strict=True):
            cache.put(block, data)
    except GravitonError:
        return False
    return True
