"""Which records of which packs files still need: one bit a record.

The order matters. The time comes first, then the list of sealed packs, then the rows: what a batch
names after that time has set ``relied`` of its packs, and so keeps them from being condemned.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from graviton_server.index import Location
from graviton_server.maintenance.mark import Mark, PackMark, sealed_packs
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from graviton_server.packs.format import RECORD_HEADER
from gravitonfs.core.ids import HOLE, NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.packs import PackState

log = logging.getLogger(__name__)

_BATCH: Final = 8192
"""Block ids looked up at once."""
_OFFSETS_MAX: Final = 64 << 20
"""Bytes of record offsets kept while marking."""


Batch = dict[BlockId, tuple[PackNumber, int]]
"""What extents say of blocks: the last hint, and how many of a block's bytes they use."""


def mark_live(stores: Stores, work: Work, more_roots: Iterable[Iterable[BlockId]] = ()) -> Mark:
    """Mark everything that keeps blocks alive: all rows of extents, and ``more_roots`` (dumps)."""
    began = stores.packs.clock_ns()
    mark = Mark(began, {row.number: PackMark(row) for row in sealed_packs(stores)})
    marker = _Marker(stores, mark)
    batch: Batch = {}
    for page in stores.upkeep.extent_rows():
        for row in page:
            mark.rows += 1
            mark.extents += len(row.extents)
            for extent in row.extents:
                _, length, block, block_offset, hint = extent
                if block != HOLE:
                    end = block_offset + length
                    known = batch.get(block)
                    if known is None or known[1] < end:
                        batch[block] = (hint, end)
        if len(batch) >= _BATCH:
            marker.add(batch)
            batch = {}
            work.tell(mark.live_blocks, 0, "blocks found in use")
            work.give_way()
    for root in more_roots:
        for block in root:
            batch[block] = (NO_PACK, 0)
            if len(batch) >= _BATCH:
                marker.add(batch)
                batch = {}
                work.check()
    marker.add(batch)
    marker.finish(work)
    return mark


class _Marker:
    def __init__(self, stores: Stores, mark: Mark) -> None:
        self._stores = stores
        self._mark = mark
        self._offsets: OrderedDict[PackNumber, array[int]] = OrderedDict()
        self._offsets_bytes = 0
        self._unresolved: dict[BlockId, PackNumber] = {}

    def add(self, batch: Batch) -> None:
        ids = sorted(batch)  # the index lies in this order: neighbours cost one read
        places = self._stores.blocks.locate(ids)
        groups: dict[PackNumber, list[tuple[BlockId, Location]]] = {}
        for block, place in zip(ids, places, strict=True):
            hint, end = batch[block]
            if place is None:
                self._unresolved[block] = hint
                continue
            if end > place.plain:
                self._mark.short.add(block)
            group = groups.get(place.pack)
            if group is None:
                groups[place.pack] = [(block, place)]
            else:
                group.append((block, place))
        for number, group in groups.items():
            self._add_group(number, group)

    def _add_group(self, number: PackNumber, group: list[tuple[BlockId, Location]]) -> None:
        pack = self._mark.packs.get(number)
        if pack is None:
            self._add_open(number, group)
            return
        offsets = self._record_offsets(pack)
        if offsets is None:  # the pack is kept as a whole
            self._mark.doubtful.update((block, number) for block, _ in group)
            return
        count = len(offsets)
        for block, (_, offset, stored, plain, _) in group:
            record = bisect_left(offsets, offset)
            if record < count and offsets[record] == offset:
                pack.set(record, stored, plain)
            else:
                self._unresolved[block] = number

    def _add_open(self, number: PackNumber, group: list[tuple[BlockId, Location]]) -> None:
        """A pack that was open when the mark began, or is younger: never touched, only counted."""
        mark = self._mark
        row = self._stores.packs.get(number)
        if row is None or row.state is not PackState.LIVE:
            self._unresolved.update((block, number) for block, _ in group)
            return
        for _, place in group:
            key = (number, place.offset)
            if key not in mark.open_blocks:
                mark.open_blocks.add(key)
                mark.open_live[number] = mark.open_live.get(number, 0) + RECORD_HEADER + place.stored
                mark.open_plain += place.plain

    def _record_offsets(self, pack: PackMark) -> array[int] | None:
        number = pack.row.number
        found = self._offsets.get(number)
        if found is not None:
            self._offsets.move_to_end(number)
            return found
        found = self._read_offsets(pack)
        if found is None:
            return None
        self._offsets[number] = found
        self._offsets_bytes += len(found) * 4
        while self._offsets_bytes > _OFFSETS_MAX and len(self._offsets) > 1:
            self._offsets_bytes -= len(self._offsets.popitem(last=False)[1]) * 4
        return found

    def _read_offsets(self, pack: PackMark) -> array[int] | None:
        if pack.unreadable:
            return None
        try:
            offsets = self._stores.blocks.record_offsets(pack.row.number)
        except (NotFound, Damaged) as error:
            pack.unreadable = True
            row = self._stores.packs.get(pack.row.number)
            if row is not None and row.state is PackState.LIVE:  # else collected while we looked
                log.error("pack %d: %s", pack.row.number, error)
            return None
        pack.bits.extend(bytes(max(0, (len(offsets) + 7) // 8 - len(pack.bits))))
        return offsets

    def finish(self, work: Work) -> None:
        """What the index did not find: it was loose, or moved meanwhile, or the index is incomplete."""
        self._retry()
        self._take_loose()
        if self._unresolved:
            self._search_footers(work)
        if self._unresolved:
            self._retry()
        self._mark.missing = self._unresolved
        for pack in self._mark.packs.values():
            if not pack.live and not pack.unreadable:
                self._read_offsets(pack)  # a pack is given up only if it can be read

    def _retry(self) -> None:
        again: Batch = {block: (hint, 0) for block, hint in self._unresolved.items()}
        self._unresolved = {}
        self.add(again)

    def _take_loose(self) -> None:
        ids = list(self._unresolved)
        for start in range(0, len(ids), _BATCH):
            for block, found in self._stores.loose.loose_get(ids[start : start + _BATCH]).items():
                self._mark.loose[block] = (memoryview(found.payload).nbytes, found.plain_length)
                del self._unresolved[block]

    def _search_footers(self, work: Work) -> None:
        """An index may be incomplete; packs say themselves what they hold. Youngest first."""
        for number in sorted(self._mark.packs, reverse=True):
            pack = self._mark.packs[number]
            work.check()
            if self._read_offsets(pack) is None:
                continue
            for at, record in enumerate(self._stores.blocks.records(number)):
                if record.id in self._unresolved:
                    pack.set(at, record.stored, record.plain)
                    del self._unresolved[record.id]
                    self._mark.astray[record.id] = number
            if not self._unresolved:
                return
