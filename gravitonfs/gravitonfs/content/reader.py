"""Bytes out: extents, cache, store; verified by the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from typing_extensions import Buffer

from gravitonfs.content.budget import Budget
from gravitonfs.content.cache import BlockCache
from gravitonfs.content.maps import Laid, SmallMaps
from gravitonfs.content.runs import RUN, plan, read_runs
from gravitonfs.core.extents import REGION, Extent, covering, inside, laid_out, overlay, split_by_region
from gravitonfs.core.ids import NO_CONTENT, BlockId, PackNumber
from gravitonfs.errors import Damaged, GravitonError
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr

SMALL = 64 << 10
"""A file up to this size is read together with its neighbours in the pack."""
NEAR_SPAN = 1 << 20
_MAPS_MAX = 64
_HOLE_MIN = 64 << 10
_REGIONS_AT_ONCE = 64
_WINDOW = 16 << 20
_STEP = 1 << 20
FAR_RUN = 8 << 20
FAR_RUN_MAX = 11 << 20
_BLOCK_MAX = 1 << 20
_LONG_SHARE = 4
"""A stream of more than this part of the cache does not go through it."""


class Fetcher:
    """Gets blocks into the cache, each only once at a time. Shared by all readers. Thread-safe.

    ``held`` counts what long streams hold outside the cache. ``_lock`` guards ``_flying``: which blocks
    a worker is fetching.
    """

    def __init__(
        self,
        store: BlockStore,
        cache: BlockCache,
        workers: ThreadPoolExecutor,
        run_workers: ThreadPoolExecutor,
        held: Budget,
        *,
        far: bool = False,
    ) -> None:
        """``far``: the store is behind a network, and each request to it costs what half a megabyte costs."""
        self.store = store
        self.cache = cache
        self.run_workers = run_workers
        self.held = held
        self._run, self._run_max = (FAR_RUN, FAR_RUN_MAX) if far else (RUN, RUN)
        self._workers = workers
        self._lock = threading.Lock()
        self._flying: dict[BlockId, Future[None]] = {}

    def read_from_afar(self) -> None:
        """See ``far``."""
        self._run, self._run_max = FAR_RUN, FAR_RUN_MAX

    def block(self, block: BlockId, hint: PackNumber, *, small: bool = False) -> Buffer:
        """One block, from the cache, from whoever is fetching it, or from the store.

        ``small``: what lies behind it in the pack comes along, in one ranged read.
        """
        found = self.cache.get(block)
        if found is not None:
            return found
        flying = self._flying.get(block)
        if flying is not None:
            flying.result()
            found = self.cache.get(block)
            if found is not None:
                return found
        if small:  # also without a hint: loose blocks lie together once they are drained
            together = self.store.near(block, hint, NEAR_SPAN)
            for neighbour, data in reversed(together):
                self.cache.put(neighbour, data)
            return together[0][1]
        data = next(iter(self.store.get(((block, hint),))))
        self.cache.put(block, data)
        return data

    def gather(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> None:
        """Bring several blocks that are needed now, where nobody has them yet, in as few reads as may be."""
        lacking = {pair[0]: pair for pair in wanted if self.lacks(pair[0])}
        if len(lacking) < 2:
            return
        try:
            for block, data in zip(lacking, self.store.get(list(lacking.values())), strict=True):
                self.cache.put(block, data)
        except Damaged:
            pass  # whoever asks for the block itself is told

    def quick(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        """As ``block``, but None where that would wait."""
        found = self.cache.get(block)
        if found is None and block not in self._flying:
            found = self.store.get_cached(block, hint)
            if found is not None:
                self.cache.put(block, found)
        return found

    def ahead(self, wanted: Sequence[tuple[BlockId, PackNumber, int]]) -> None:
        """Start fetching (block, hint, plain length)s that are not there yet; returns at once."""
        lacking: dict[BlockId, tuple[PackNumber, int]] = {}  # a fragmented file has many pieces of one block
        for block, hint, length in wanted:
            if self.lacks(block):
                lacking.setdefault(block, (hint, length))
        # Runs of about the same size: a small rest would cost a request of its own.
        total = sum(length for _, length in lacking.values())
        limit = min(self._run_max, total // max(1, round(total / self._run)) + _BLOCK_MAX // 2)
        group: list[tuple[BlockId, PackNumber]] = []
        size = 0
        for block, (hint, length) in lacking.items():
            if size + length > limit and group:
                self._start(group)
                group, size = [], 0
            group.append((block, hint))
            size += length
        if group:
            self._start(group)

    def lacks(self, block: BlockId) -> bool:
        """It is neither in the cache nor on its way."""
        return block not in self.cache and block not in self._flying

    def fetch(self, group: list[tuple[BlockId, PackNumber]]) -> bool:
        """As ``ahead``, on this thread; returns when they are there. False where one cannot be read."""
        group, landed = self._claim(group)
        return not group or self._fetch(group, landed)

    def fill(self, group: Sequence[tuple[BlockId, PackNumber]]) -> bool:
        """As ``fetch``, but nobody who needs one of them meanwhile waits for this."""
        try:
            for (block, _), data in zip(group, self.store.get(group), strict=True):
                self.cache.put(block, data)
        except GravitonError:
            return False  # whoever needs the block asks the store itself and is told what is wrong with it
        return True

    def _start(self, group: list[tuple[BlockId, PackNumber]]) -> None:
        group, landed = self._claim(group)
        if group:
            self._workers.submit(self._fetch, group, landed)

    def _claim(
        self, group: list[tuple[BlockId, PackNumber]]
    ) -> tuple[list[tuple[BlockId, PackNumber]], Future[None]]:
        """Those that nobody is fetching; from now on somebody is."""
        landed: Future[None] = Future()
        with self._lock:
            group = [pair for pair in group if pair[0] not in self._flying]
            for block, _ in group:
                self._flying[block] = landed
        return group, landed

    def _fetch(self, group: list[tuple[BlockId, PackNumber]], landed: Future[None]) -> bool:
        try:
            return self.fill(group)
        finally:
            with self._lock:
                for block, _ in group:
                    self._flying.pop(block, None)
            landed.set_result(None)


class ContentReader:
    """Reads one content at one version. Thread-safe.

    Extents are kept by region. When a block is gone (re-chunked and collected meanwhile) they are
    read anew, once.
    """

    def __init__(
        self, namespace: Namespace, fetcher: Fetcher, attr: Attr, known: SmallMaps | None = None
    ) -> None:
        """``known``: maps that were read ahead."""
        self.size = attr.size
        self.key = (attr.content, attr.version)
        self._namespace = namespace
        self._fetcher = fetcher
        self._known = known
        self._maps: OrderedDict[int, tuple[Extent, ...]] = OrderedDict()
        extents = None if known is None else known.get(attr.content)
        if extents is not None:
            self._maps[0] = extents

    def lay(self, laid: Laid, below: ContentReader | None) -> None:
        """The map follows from what was just written over what was known before: nobody has to be asked."""
        if laid.after != self.key:
            return
        above = split_by_region(laid.extents)
        if laid.whole:
            for region in range((self.size - 1) // REGION + 1):
                self._maps[region] = tuple(above.get(region, ()))
        elif below is not None and below.key == laid.before:
            for region, known in list(below._maps.items()):
                self._maps[region] = tuple(overlay(known, above.get(region, ())))

    def read(self, offset: int, length: int) -> Buffer:
        """Up to ``length`` bytes at ``offset``, fewer only at the end. Holes read as zeroes."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        try:
            return self._assemble(offset, end)
        except Damaged:
            self._maps.clear()
            if self._known is not None:
                self._known.drop(self.key[0])
            return self._assemble(offset, end)

    def mapped(self, offset: int, length: int) -> bool:
        """The extents of the range are in memory: reading would not ask the namespace for them."""
        end = min(offset + length, self.size)
        first, last = offset // REGION, max(end - 1, 0) // REGION
        return self.key[0] == NO_CONTENT or all(region in self._maps for region in range(first, last + 1))

    def read_quick(self, offset: int, length: int) -> Buffer | None:
        """As ``read``, but None where that would wait for a disk or a network."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        parts = self.extents(offset, end)
        found: list[tuple[Extent, Buffer]] = []
        for extent in parts:
            data = self._fetcher.quick(extent.block, extent.hint)
            if data is None:
                return None
            found.append((extent, data))
        return _lay_out(found, offset, end)

    def runs(self, start: int, stop: int) -> Iterator[Sequence[Buffer]]:
        """As ``stream``, but pieces that came together are given together, and what is long goes past
        the cache. Who keeps a piece for long copies it."""
        stop = min(stop, self.size)
        if (stop - start) * _LONG_SHARE > self._fetcher.cache.limit:
            return read_runs(self._fetcher, plan(self.extents, start, stop), self._pieces)
        return ((piece,) for piece in self.stream(start, stop))

    def stream(self, start: int, stop: int) -> Iterator[Buffer]:
        """[start, stop) in pieces of about a block, through the cache, with reading ahead."""
        stop = min(stop, self.size)
        offset = start
        ahead = min(stop, start + _WINDOW)
        self.ahead(start, ahead)
        for piece in self._pieces(start, stop):
            yield piece
            offset += memoryview(piece).nbytes
            if ahead < stop and offset + _WINDOW // 2 >= ahead:
                target = min(stop, offset + _WINDOW)
                self.ahead(ahead, target)
                ahead = target

    def _pieces(self, start: int, stop: int) -> Iterator[Buffer]:
        """Through the cache, each extent or hole a piece of its own."""
        while start < stop:
            extents = self.extents(start, min(start + _STEP, stop))
            end = min(start + _STEP, stop)
            if extents and extents[0].offset > start:
                end = min(extents[0].offset, end)
            elif extents:
                end = min(extents[0].end, stop)
            yield self.read(start, end - start)
            start = end

    def data_runs(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Where [start, stop) has bytes, front to back; holes under 64 KiB belong to the run around them."""
        stop = min(stop, self.size)
        run: tuple[int, int] | None = None
        for extent in self._all_extents(start, stop):
            low, high = max(extent.offset, start), min(extent.end, stop)
            if run is not None and low - run[1] < _HOLE_MIN:
                run = (run[0], high)
                continue
            if run is not None:
                yield run
            run = (low, high)
        if run is not None:
            yield run

    def _all_extents(self, start: int, stop: int) -> Iterator[Extent]:
        """Many regions a question: most of a large sparse file's have nothing."""
        if start >= stop or self.key[0] == NO_CONTENT:
            return
        last = (stop - 1) // REGION
        for first in range(start // REGION, last + 1, _REGIONS_AT_ONCE):
            until = min(first + _REGIONS_AT_ONCE - 1, last)
            for part in self._namespace.extents(self.key[0], first, until):
                yield from covering(part.extents, start, stop)

    def ahead(self, start: int, end: int) -> None:
        """Start fetching what [start, end) needs; returns at once."""
        end = min(end, self.size)
        if end > start:
            self._fetcher.ahead([(e.block, e.hint, e.length) for e in self.extents(start, end)])

    def tail(self, maximum: int) -> bytes:
        """The last block's bytes if the file ends in a block of its own under ``maximum`` bytes."""
        if not self.size:
            return b""
        last = self.extents(self.size - 1, self.size)
        if not last or last[0].length >= maximum or last[0].end != self.size or last[0].block_offset:
            return b""
        return bytes(self.read(last[0].offset, last[0].length))

    def _assemble(self, offset: int, end: int) -> Buffer:
        small = self.size <= SMALL
        block = self._fetcher.block
        extents = self.extents(offset, end)
        if len(extents) > 1 and not small:
            self._fetcher.gather([(e.block, e.hint) for e in extents])
        parts = [(e, block(e.block, e.hint, small=small)) for e in extents]
        return _lay_out(parts, offset, end)

    def extents(self, start: int, end: int) -> list[Extent]:
        """Those that touch [start, end), which must not be empty."""
        first, last = start // REGION, (end - 1) // REGION
        if first == last:
            return covering(self._map(first), start, end)
        result: list[Extent] = []
        for region in range(first, last + 1):
            result += covering(self._map(region), start, end)
        return result

    def _map(self, region: int) -> tuple[Extent, ...]:
        found = self._maps.get(region)
        if found is None:
            content = self.key[0]
            maps = self._namespace.extents(content, region, region) if content != NO_CONTENT else []
            found = maps[0].extents if maps else ()
            self._maps[region] = found
            while len(self._maps) > _MAPS_MAX:
                self._maps.popitem(last=False)
        return found


def _lay_out(parts: list[tuple[Extent, Buffer]], start: int, end: int) -> Buffer:
    """The bytes of [start, end): a view where one extent has them all, else a copy."""
    if len(parts) == 1:
        extent, data = parts[0]
        if extent.offset <= start and extent.end >= end:
            at = start - extent.offset + extent.block_offset
            return inside(data, at, end - start)
    return b"".join(laid_out(parts, start, end))
