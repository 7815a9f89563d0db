"""Work on whole packs: draining loose blocks into them, checking them, moving what is alive out of them."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator, Sequence
from typing import Final, NamedTuple

from graviton_server.index import Entry, Location
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.footers import read_trailer
from graviton_server.packs.format import HEADER_SIZE, RECORD_HEADER, decode_header, decode_record, pack_digest
from graviton_server.packs.reading import GAP
from graviton_server.packs.recovery import entries
from graviton_server.packs.scan import good_payload
from graviton_server.packs.unsealed import UnsealedPacks
from graviton_server.packs.writing import PackWriting
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged, MissingBlocks, NotFound
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import LooseBlocks, PackRegistry, PackState
from gravitonfs.ports.target import AppendTarget

DRAIN_PAGE: Final = 8 << 20
_PIECE: Final = 4 << 20


class Record(NamedTuple):
    """One record of a pack; ``offset`` is that of its header."""

    id: BlockId
    offset: int
    stored: int
    plain: int
    codec: int


class PackProblem(NamedTuple):
    """What is wrong with a pack, as a sentence; ``block``: the block that cannot be read, or None."""

    pack: PackNumber
    what: str
    block: BlockId | None


class Relocation(NamedTuple):
    """The packs that the blocks are in now, copies or not, to be synced; and those that could not be read."""

    packs: tuple[PackNumber, ...]
    blocks: int
    bytes: int
    damaged: tuple[BlockId, ...]


class PackUpkeep:
    """No state of its own: its parts lock for themselves."""

    def __init__(
        self,
        target: AppendTarget,
        registry: PackRegistry,
        loose: LooseBlocks,
        catalog: Catalog,
        writing: PackWriting,
        unsealed: UnsealedPacks,
        block_key: bytes,
        drain_page: int = DRAIN_PAGE,
    ) -> None:
        self._target = target
        self._registry = registry
        self._loose = loose
        self._catalog = catalog
        self._writing = writing
        self._unsealed = unsealed
        self._block_key = block_key
        self._drain_page = drain_page

    # --- loose blocks ---

    def drain_loose(self) -> int:
        """Put the loose blocks that are there now into packs. They are stored even where the index
        knows them: what it names may be a pack that is about to go.

        Order: append, sync, and only then drop, in a transaction behind the one that has the pack's row.
        """
        left = self._loose.loose_bytes()
        drained = 0
        while left > 0 and (page := self._loose.loose_page(self._drain_page)):
            packs = {place.pack for place in self._writing.append(page)}
            self._writing.sync(packs)
            try:
                self._loose.loose_drop([block.id for block in page], sorted(packs))
            except MissingBlocks as refusal:  # collected meanwhile: the next run stores them again
                for number in refusal.packs:
                    self._catalog.forget(PackNumber(number))
                return drained
            left -= sum(memoryview(block.payload).nbytes for block in page)
            drained += len(page)
        return drained

    # --- records ---

    def records(self, number: PackNumber) -> list[Record]:
        """What is in a pack, in its order; of an open one, what is durable. Raises ``NotFound``,
        ``Damaged`` when its footer is."""
        return [Record(block, *place[1:]) for block, place in self._entries(number)]

    def record_offsets(self, number: PackNumber) -> array[int]:
        """As ``records`` of a sealed pack, but only where each begins: cheap, for marking."""
        return self._catalog.records(number).offsets

    def _entries(self, number: PackNumber) -> list[Entry]:
        pack = self._unsealed.find(number)
        if pack is not None:
            return pack.entries(0, pack.durable_records())
        return list(entries(number, self._catalog.records(number)))

    def pack_path(self, number: PackNumber) -> str:
        """The key of a pack in its target. Raises ``NotFound``."""
        return self._catalog.key(number)

    # --- checking ---

    def verify(self, number: PackNumber) -> Iterator[PackProblem]:
        """Read a pack whole and compare it with everything that is known of it. A block that turns out
        damaged is dropped from the index, so that writing it again stores it again."""
        try:
            key = self._catalog.key(number)
            if self._unsealed.find(number) is None:
                self._catalog.footers.drop(key)  # what the medium has, not what memory remembers
                yield from self._verify_frame(number, key)
            places = self._entries(number)
        except (NotFound, Damaged) as error:
            yield PackProblem(number, str(error), None)
            return
        for block, place, data in self._read_records(key, places):
            if isinstance(data, str):
                yield self._bad(number, block, place, data)
                continue
            head = decode_record(data)
            if head is None or head.id != block:
                yield self._bad(number, block, place, "its record's header is damaged")
            elif not good_payload(block, place.codec, data[RECORD_HEADER:], place.plain, self._block_key):
                yield self._bad(number, block, place, "its bytes are not those of its id")

    def _read_records(
        self, key: str, places: Sequence[Entry]
    ) -> Iterator[tuple[BlockId, Location, memoryview | str]]:
        """Each record with its bytes, neighbours in one read; or with what prevents that."""
        for run in _runs(places):
            start = run[0][1].offset
            end = run[-1][1].offset + RECORD_HEADER + run[-1][1].stored
            try:
                data = memoryview(self._target.get(key, start, end - start))
            except (NotFound, Damaged) as error:
                if len(run) == 1:
                    yield *run[0], str(error)
                else:
                    for one in run:
                        yield from self._read_records(key, [one])
                continue
            for block, place in run:
                at = place.offset - start
                yield block, place, data[at : at + RECORD_HEADER + place.stored]

    def _bad(self, number: PackNumber, block: BlockId, place: Location, why: str) -> PackProblem:
        self._catalog.drop(block, place)
        return PackProblem(number, f"block {block.hex()} at offset {place.offset}: {why}", block)

    def _verify_frame(self, number: PackNumber, key: str) -> Iterator[PackProblem]:
        length, trailer = read_trailer(self._target, key)
        row = self._registry.get(number)
        if row is not None and row.length not in (0, length):
            yield PackProblem(number, f"{key} has {length} bytes where {row.length} were stored", None)
        header = self._target.get(key, 0, HEADER_SIZE)
        try:
            if row is not None and decode_header(header).uuid != row.uuid:
                yield PackProblem(number, f"{key} has the header of another pack", None)
        except Damaged as error:
            yield PackProblem(number, f"{key}: {error}", None)
        if trailer is None:
            yield PackProblem(number, f"{key} has no good trailer", None)
            return
        footer = self._target.get(key, trailer.footer_offset, trailer.footer_length)
        if pack_digest(header, footer) != trailer.digest:
            yield PackProblem(number, f"{key} has another header or footer than was written", None)

    # --- compaction ---

    def relocate(self, number: PackNumber, keep: Container[BlockId]) -> Relocation:
        """Copy the records of ``keep`` into packs of their own; look-ups lead there from then on. Blocks that
        another live pack already serves are not copied. The old pack stays: ``sync`` the new ones, then
        condemn it."""
        self._writing.finish(number)  # else the copies might go into the very pack
        wanted = [entry for entry in self._entries(number) if entry[0] in keep]
        served = self._served_elsewhere(number, [block for block, _ in wanted])
        key = self._catalog.key(number)
        page: list[Block] = []
        # They may be open packs: an earlier try's copies, whose sync failed or has not come yet.
        packs: set[PackNumber] = set(served.values())
        damaged: list[BlockId] = []
        size = total = moved = 0
        copied = [entry for entry in wanted if entry[0] not in served]
        for block, place, record in self._read_records(key, copied):
            if isinstance(record, str):
                raise Damaged(f"block {block.hex()} in {key}: {record}")
            data = record[RECORD_HEADER:]
            if not good_payload(block, place.codec, data, place.plain, self._block_key):
                damaged.append(block)
                continue
            page.append(Block(block, place.codec, place.plain, data))
            size += place.stored
            if size >= _PIECE:
                packs.update(place.pack for place in self._writing.append(page, moved=True))
                moved += len(page)
                total += size
                page, size = [], 0
        if page:
            packs.update(place.pack for place in self._writing.append(page, moved=True))
        return Relocation(tuple(sorted(packs)), moved + len(page), total + size, tuple(damaged))

    def _served_elsewhere(self, number: PackNumber, ids: list[BlockId]) -> dict[BlockId, PackNumber]:
        live: dict[PackNumber, bool] = {number: False}
        result: dict[BlockId, PackNumber] = {}
        for block, place in zip(ids, self._catalog.locate(ids), strict=True):
            if place is None:
                continue
            if place.pack not in live:
                row = self._registry.get(place.pack)
                live[place.pack] = row is not None and row.state is PackState.LIVE
            if live[place.pack]:
                result[block] = place.pack
        return result


def _runs(places: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Entries cut into neighbours that one read brings."""
    start = 0
    for at in range(1, len(places) + 1):
        if at < len(places):
            before, place = places[at - 1][1], places[at][1]
            gap = place.offset - (before.offset + RECORD_HEADER + before.stored)
            span = place.offset + RECORD_HEADER + place.stored - places[start][1].offset
            if 0 <= gap <= GAP and span <= _PIECE:
                continue
        yield places[start:at]
        start = at
