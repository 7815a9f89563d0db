"""Which records of which packs files still need: one bit a record.

The order matters. The time comes first, then the list of sealed packs, then the rows: what a batch
names after that time has set ``relied`` of its packs, and so keeps them from being condemned.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from graviton_server.index import Location
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from graviton_server.packs.format import RECORD_HEADER
from graviton_server.packs.upkeep import Record
from gravitonfs.core.ids import HOLE, NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState

log = logging.getLogger(__name__)

_BATCH: Final = 8192
"""Block ids looked up at once."""
_OFFSETS_MAX: Final = 64 << 20
"""Bytes of record offsets kept while marking."""


class Need(NamedTuple):
    """What extents say of a block: the last hint, and how many of its bytes they use."""

    hint: PackNumber
    end: int


class PackMark:
    """What a mark knows of one sealed pack. ``bits``: the records that files need."""

    __slots__ = ("bits", "live", "live_plain", "live_stored", "row", "unreadable")

    def __init__(self, row: PackRow) -> None:
        self.row = row
        self.bits = bytearray((row.blocks + 7) // 8)
        self.live = 0
        self.live_stored = 0
        """With the records' headers: so many bytes a copy of the live ones takes."""
        self.live_plain = 0
        self.unreadable = False
        """Its footer cannot be read, so nothing is known of it: it is never given up."""

    def set(self, record: int, stored: int, plain: int) -> None:
        byte, bit = record >> 3, 1 << (record & 7)
        if not self.bits[byte] & bit:
            self.bits[byte] |= bit
            self.live += 1
            self.live_stored += RECORD_HEADER + stored
            self.live_plain += plain

    def has(self, record: int) -> bool:
        return bool(self.bits[record >> 3] & (1 << (record & 7)))


class Mark:
    """The result. ``packs``: those that were sealed when the mark began, live or abandoned.

    ``open_*``: distinct blocks that are in packs still open, and how much of each pack is in use.
    ``loose``: blocks in the database alone.
    ``missing``: blocks that files name and that are nowhere, with the last hint. ``astray``: blocks
    that are in a pack although the index does not lead there. ``doubtful``: blocks that should be in a
    pack without a readable footer. ``short``: blocks of which files want more bytes than they have.
    """

    def __init__(self, began_ns: int, packs: dict[PackNumber, PackMark]) -> None:
        self.began_ns = began_ns
        self.packs = packs
        self.open_blocks: set[tuple[PackNumber, int]] = set()
        self.open_live: dict[PackNumber, int] = {}
        self.open_plain = 0
        self.loose: dict[BlockId, tuple[int, int]] = {}
        self.missing: dict[BlockId, PackNumber] = {}
        self.astray: dict[BlockId, PackNumber] = {}
        self.doubtful: dict[BlockId, PackNumber] = {}
        self.short: set[BlockId] = set()
        self.extents = 0
        self.rows = 0

    @property
    def live_blocks(self) -> int:
        return sum(pack.live for pack in self.packs.values()) + len(self.open_blocks) + len(self.loose)

    @property
    def live_stored(self) -> int:
        packed = sum(pack.live_stored for pack in self.packs.values())
        return packed + sum(self.open_live.values()) + sum(stored for stored, _ in self.loose.values())

    @property
    def live_plain(self) -> int:
        packed = sum(pack.live_plain for pack in self.packs.values())
        return packed + self.open_plain + sum(plain for _, plain in self.loose.values())


def sealed_packs(stores: Stores) -> Iterator[PackRow]:
    for row in pack_rows(stores):
        if row.length and row.state in (PackState.LIVE, PackState.ABANDONED):
            yield row


def pack_rows(stores: Stores) -> Iterator[PackRow]:
    return rows_of(stores.packs)


def rows_of(registry: PackRegistry) -> Iterator[PackRow]:
    after = NO_PACK
    while page := registry.rows(after):
        yield from page
        after = page[-1].number


def mark_live(stores: Stores, work: Work, more_roots: Iterable[Iterable[BlockId]] = ()) -> Mark:
    """Mark everything that keeps blocks alive: all rows of extents, and ``more_roots`` (dumps)."""
    began = stores.packs.clock_ns()
    mark = Mark(began, {row.number: PackMark(row) for row in sealed_packs(stores)})
    marker = _Marker(stores, mark)
    batch: dict[BlockId, Need] = {}
    for page in stores.upkeep.extent_rows():
        for row in page:
            mark.rows += 1
            mark.extents += len(row.extents)
            for extent in row.extents:
                _, length, block, block_offset, hint = extent
                if block != HOLE:
                    end = block_offset + length
                    known = batch.get(block)
                    if known is None or known.end < end:
                        batch[block] = Need(hint, end)
        if len(batch) >= _BATCH:
            marker.add(batch)
            batch = {}
            work.tell(mark.live_blocks, 0, "blocks found in use")
            work.give_way()
    for root in more_roots:
        for block in root:
            batch[block] = Need(NO_PACK, 0)
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

    def add(self, batch: dict[BlockId, Need]) -> None:
        places = self._stores.blocks.locate(list(batch))
        for (block, need), place in zip(batch.items(), places, strict=True):
            if place is None or not self._set(block, place):
                self._unresolved[block] = need.hint
            elif need.end > place.plain:
                self._mark.short.add(block)

    def _set(self, block: BlockId, place: Location) -> bool:
        """False when there is no such record in a pack that may be relied on."""
        pack = self._mark.packs.get(place.pack)
        if pack is None:
            return self._set_open(place)
        offsets = self._record_offsets(pack)
        if offsets is None:
            self._mark.doubtful[block] = place.pack
            return True  # the pack is kept as a whole
        record = bisect_left(offsets, place.offset)
        if record == len(offsets) or offsets[record] != place.offset:
            return False
        pack.set(record, place.stored, place.plain)
        return True

    def _set_open(self, place: Location) -> bool:
        """A pack that was open when the mark began, or is younger: never touched, only counted."""
        mark = self._mark
        key = (place.pack, place.offset)
        if key not in mark.open_blocks:
            row = self._stores.packs.get(place.pack)
            if row is None or row.state is not PackState.LIVE:
                return False
            mark.open_blocks.add(key)
            mark.open_live[place.pack] = mark.open_live.get(place.pack, 0) + RECORD_HEADER + place.stored
            mark.open_plain += place.plain
        return True

    def _record_offsets(self, pack: PackMark) -> array[int] | None:
        number = pack.row.number
        found = self._offsets.get(number)
        if found is not None:
            self._offsets.move_to_end(number)
            return found
        records = self._records(pack)
        if records is None:
            return None
        found = self._offsets[number] = array("I", [record.offset for record in records])
        self._offsets_bytes += len(found) * 4
        while self._offsets_bytes > _OFFSETS_MAX and len(self._offsets) > 1:
            self._offsets_bytes -= len(self._offsets.popitem(last=False)[1]) * 4
        return found

    def _records(self, pack: PackMark) -> list[Record] | None:
        if pack.unreadable:
            return None
        try:
            records = self._stores.blocks.records(pack.row.number)
        except (NotFound, Damaged) as error:
            log.error("pack %d: %s", pack.row.number, error)
            pack.unreadable = True
            return None
        if len(pack.bits) < (len(records) + 7) // 8:
            pack.bits.extend(bytes((len(records) + 7) // 8 - len(pack.bits)))
        return records

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
                self._records(pack)  # a pack is given up only if it can be read

    def _retry(self) -> None:
        ids = list(self._unresolved)
        for block, place in zip(ids, self._stores.blocks.locate(ids), strict=True):
            if place is not None and self._set(block, place):
                del self._unresolved[block]

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
            records = self._records(pack)
            work.check()
            if records is None:
                continue
            for at, record in enumerate(records):
                if record.id in self._unresolved:
                    pack.set(at, record.stored, record.plain)
                    del self._unresolved[record.id]
                    self._mark.astray[record.id] = number
            if not self._unresolved:
                return
