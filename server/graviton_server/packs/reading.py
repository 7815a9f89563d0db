"""Reading blocks: neighbouring records in one read, every block verified, wrong places passed by."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from typing_extensions import Buffer

from graviton_server.index import Location
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import PADDING, RECORD_HEADER, decode_record
from graviton_server.packs.forms import Form, Plain, Stored
from gravitonfs.core.codec import RAW
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged, GravitonError, NotFound
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import LooseBlocks
from gravitonfs.ports.target import AppendTarget, Target, copies_of, report_bad

GAP: Final = 64 << 10
"""Bytes between two records that are read along rather than left out; behind a network a request takes as
long as more of them."""
FAR_GAP: Final = 256 << 10
SPAN: Final = (4 << 20) - (16 << 10)
SPAN_REMOTE: Final = 12 << 20
"""Of one request to an object store, which costs a millisecond and more whatever comes with it."""

Wanted = tuple[BlockId, PackNumber]
_STORED: Final = Stored()
T = TypeVar("T")


class PackReading:
    """``_lock`` guards the counters."""

    def __init__(
        self,
        target: AppendTarget,
        catalog: Catalog,
        loose: LooseBlocks,
        block_key: bytes = b"",
        *,
        remote: bool = False,
    ) -> None:
        """``remote``: the target is behind a network, and perhaps the database is."""
        self._target = target
        self._catalog = catalog
        self._loose = loose
        self._form = Plain(block_key)
        self._remote = remote
        self._gap = FAR_GAP if remote else GAP
        self._span = SPAN_REMOTE if remote else SPAN
        self._lock = threading.Lock()
        self.blocks = 0
        self.bytes = 0

    def get(self, wanted: Sequence[Wanted]) -> Iterator[Buffer]:
        return self._each(wanted, self._form)

    def stored(self, wanted: Sequence[Wanted]) -> Iterator[Block]:
        return self._each(wanted, _STORED)

    def _each(self, wanted: Sequence[Wanted], form: Form[T]) -> Iterator[T]:
        """Small files that were written together lie together, but seldom in the order that is asked for."""
        places = self._locate(wanted)
        for start, stop in _parts(places, self._span):
            order = sorted(range(start, stop), key=lambda at: _position(places[at]))
            if order != list(range(start, stop)):
                try:
                    read = self._read([wanted[at] for at in order], [places[at] for at in order], form)
                    found = dict(zip(order, read, strict=True))
                except Damaged:
                    pass  # those before it in the order that was asked for are answered first
                else:
                    for at in range(start, stop):
                        yield found.pop(at)
                    continue
            yield from self._read(wanted[start:stop], places[start:stop], form)

    def _read(
        self, wanted: Sequence[Wanted], places: Sequence[Location | Block | None], form: Form[T]
    ) -> Iterator[T]:
        at = 0
        while at < len(wanted):
            place = places[at]
            if not isinstance(place, Location):
                found = self._loosely(place, form)
                yield self._searched(wanted[at], None, form) if found is None else found
                at += 1
                continue
            stop = _run(places, at, self._gap, self._span)
            yield from self._read_run(
                wanted[at:stop], [p for p in places[at:stop] if isinstance(p, Location)], form
            )
            at = stop

    def _locate(self, wanted: Sequence[Wanted]) -> list[Location | Block | None]:
        """Tail and index, then the hint's footer, then the loose blocks, in one query."""
        result: list[Location | Block | None] = list(self._catalog.locate([block for block, _ in wanted]))
        lost = [at for at, place in enumerate(result) if place is None]
        if any(wanted[at][1] for at in lost) and self._catalog.learn():  # another engine's packs
            for at, place in zip(lost, self._catalog.locate([wanted[at][0] for at in lost]), strict=True):
                result[at] = place
            lost = [at for at in lost if result[at] is None]
        for at in lost:
            result[at] = self._catalog.hinted(*wanted[at])
        lost = [at for at in lost if result[at] is None]
        if lost:
            loose = self._loose.loose_get([wanted[at][0] for at in lost])
            for at in lost:
                result[at] = loose.get(wanted[at][0])
        return result

    def _read_run(self, wanted: Sequence[Wanted], places: Sequence[Location], form: Form[T]) -> Iterator[T]:
        payloads: Sequence[Buffer]
        try:
            key = self._catalog.key(places[0].pack)
            payloads = self._target.get_ranges(key, [form.range(place) for place in places])
        except (NotFound, Damaged):
            payloads = [b""] * len(places)
        read = 0
        for want, place, payload in zip(wanted, places, payloads, strict=True):
            found = form.of_record(want[0], place, payload)
            if found is None:
                found = self._searched(want, place, form)
            else:
                read += place.stored
            yield found
        self._count(len(places), read)

    def _loosely(self, loose: Block | None, form: Form[T]) -> T | None:
        if loose is None:
            return None
        self._count(1, memoryview(loose.payload).nbytes)
        return form.of_loose(loose)

    def _plain(self, loose: Block | None) -> Buffer | None:
        return self._loosely(loose, self._form)

    def _searched(self, wanted: Wanted, bad: Location | None, form: Form[T]) -> T:
        return form.of_plain(wanted[0], self._search(wanted, bad))

    def _search(self, wanted: Wanted, bad: Location | None) -> Buffer:
        """The block was not where it should be: whatever other place there is, then ``Damaged``."""
        block, hint = wanted
        tried = set()
        if bad is not None:
            tried.add(bad)
            plain = self._read_one(block, bad)  # the way may be bad, not the place
            if plain is not None:
                return plain
            self._catalog.drop(block, bad)  # unless compaction has moved it meanwhile
        for attempt in range(2):
            for place in self._places(block, hint, last=attempt > 0):
                if place is None or place in tried:
                    continue
                tried.add(place)
                plain = self._read_one(block, place)
                if plain is not None:
                    return plain
            if attempt == 0:  # it may have been drained into a pack since the first look-up
                plain = self._plain(self._loose.loose_get([block]).get(block))
                if plain is not None:
                    return plain
                self._catalog.learn()  # perhaps by another engine
        where = f"pack {bad.pack} at offset {bad.offset}" if bad else f"pack {hint}" if hint else "any pack"
        raise Damaged(f"block {block.hex()} cannot be read from {where}: run graviton fsck")

    def _places(self, block: BlockId, hint: PackNumber, *, last: bool) -> Iterator[Location | None]:
        yield self._catalog.locate([block])[0]
        yield self._catalog.hinted(block, hint)
        if last:
            yield self._catalog.behind(block)

    def _read_one(self, block: BlockId, place: Location) -> Buffer | None:
        try:
            key = self._catalog.key(place.pack)
        except (NotFound, Damaged):
            return None
        plain = self._read_record(self._target, key, block, place)
        if plain is None:
            plain = self._of_other_copies(key, block, place)
        if plain is not None:
            self._count(1, place.stored)
        return plain

    def _read_record(self, target: Target, key: str, block: BlockId, place: Location) -> Buffer | None:
        try:
            payload = target.get(key, place.offset + RECORD_HEADER, place.stored)
        except (NotFound, Damaged):
            return None
        return self._form.verified(block, place.codec, payload, place.plain)

    def _of_other_copies(self, key: str, block: BlockId, place: Location) -> Buffer | None:
        """A copy is called bad only where another one proves that the place is right."""
        bad: list[Target] = []
        for copy in copies_of(self._target, key):
            try:
                payload = copy.get(key, place.offset + RECORD_HEADER, place.stored)
            except GravitonError:
                continue
            plain = self._form.verified(block, place.codec, payload, place.plain)
            if plain is not None:
                for one in bad:
                    report_bad(self._target, key, one)
                return plain
            bad.append(copy)
        return None

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        place = self._catalog.locate([block])[0]
        if place is None and not self._remote:
            place = self._catalog.hinted(block, hint, cached=True)
        if place is None and self._remote:
            return None  # the rows and the loose blocks may be behind a network, too
        if place is None:
            return self._plain(self._loose.loose_get([block]).get(block))
        try:
            key = self._catalog.known_key(place.pack) if self._remote else self._catalog.key(place.pack)
            if key is None:
                return None
            payload = self._target.read_cached(key, place.offset + RECORD_HEADER, place.stored)
        except (NotFound, Damaged):
            return None
        if payload is None:
            return None
        self._count(1, place.stored)
        return self._form.verified(block, place.codec, payload, place.plain)

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        place = self._locate([(block, hint)])[0]
        if not isinstance(place, Location):
            plain = self._plain(place)
            return [(block, self._search((block, hint), None) if plain is None else plain)]
        length = max(RECORD_HEADER + place.stored, span)
        try:
            data = memoryview(self._target.get(self._catalog.key(place.pack), place.offset, length))
        except (NotFound, Damaged):
            data = memoryview(b"")
        payload = data[RECORD_HEADER : RECORD_HEADER + place.stored]
        first = self._form.verified(block, place.codec, payload, place.plain)
        if first is None:
            return [(block, self._search((block, hint), place))]
        result = [(block, _own(first, place.codec))]
        at = RECORD_HEADER + place.stored
        while (head := decode_record(data, at)) is not None:
            at += RECORD_HEADER
            payload = data[at : at + head.stored]
            at += head.stored
            if head.codec == PADDING or at > len(data):
                continue
            plain = self._form.verified(head.id, head.codec, payload, head.plain)
            if plain is not None:
                result.append((head.id, _own(plain, head.codec)))
        self._count(len(result), min(at, len(data)))
        return result

    def _count(self, blocks: int, size: int) -> None:
        with self._lock:
            self.blocks += blocks
            self.bytes += size


def _parts(places: Sequence[Location | Block | None], span: int) -> Iterator[tuple[int, int]]:
    """Of at most as many bytes as one read brings."""
    start = size = 0
    for at, place in enumerate(places):
        length = 0 if place is None else place.plain if isinstance(place, Location) else place.plain_length
        if size + length > span and at > start:
            yield start, at
            start, size = at, 0
        size += length
    if start < len(places):
        yield start, len(places)


def _position(place: Location | Block | None) -> tuple[int, int]:
    return (place.pack, place.offset) if isinstance(place, Location) else (-1, 0)


def _own(plain: Buffer, codec: int) -> Buffer:
    """A copy, where ``plain`` would keep the whole span that it was read with in memory."""
    return bytes(plain) if codec == RAW else plain


def _run(places: Sequence[Location | Block | None], start: int, gap: int, span: int) -> int:
    """The end of the run of neighbours that begins at ``start``."""
    first = places[start]
    assert isinstance(first, Location)
    end = first.offset + RECORD_HEADER + first.stored
    at = start + 1
    while at < len(places):
        place = places[at]
        if not isinstance(place, Location) or place.pack != first.pack:
            break
        if not 0 <= place.offset - end <= gap:
            break
        end = place.offset + RECORD_HEADER + place.stored
        if end - first.offset > span:
            break
        at += 1
    return at
