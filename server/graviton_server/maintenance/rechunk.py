"""Fragmented contents are cut anew, so that they take no more room, and deduplicate, as if written whole.

Regions with partial or tiny blocks are read and cut from the last good boundary before them until a
cut meets a good boundary behind them again: boundaries depend on content alone, so from there on the
old blocks are what a new cut would make.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from graviton_server.maintenance.contents import reader_of, stream
from graviton_server.maintenance.stores import PackKeeper, Stores
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.core.ids import NO_PACK, ContentId
from gravitonfs.errors import Conflict, Damaged, MissingBlocks, NotFound, Stale
from gravitonfs.ports.ops import Rewrite
from gravitonfs.ports.upkeep import Fragmented

log = logging.getLogger(__name__)

_SEGMENT: Final = 8 << 20
_REGIONS: Final = 64
_PAGE: Final = 16
MAX_EXTENTS: Final = 1 << 20
"""Contents with more are left alone: one op replaces a whole map."""


class Rechunked(NamedTuple):
    contents: int
    bytes_read: int
    extents_before: int
    extents_after: int
    flattened: int


class Span(NamedTuple):
    """Neighbouring extents of one block as one; ``whole``: all of a block of a proper size."""

    extent: Extent
    whole: bool


class Rechunker:
    """Remembers which contents stay fragmented whatever it does (sparse ones), until they change."""

    def __init__(self, stores: Stores, volume: Volume) -> None:
        self._stores = stores
        self._volume = volume
        self._tried: dict[int, int] = {}

    def run(self, idle_before_ns: int, work: Work) -> Rechunked:
        contents = read = before = after = 0
        while page := self._page(idle_before_ns):
            for item in page:
                self._tried[item.content] = item.version
                work.tell(contents, 0, "contents re-chunked")
                try:
                    counts = self._rechunk(item, work)
                except (Conflict, NotFound, Stale, MissingBlocks) as error:
                    log.debug("content %d is left for later: %s", item.content, error)
                    continue
                except Damaged as error:
                    log.error("content %d is not re-chunked: %s", item.content, error)
                    continue
                contents += 1
                read += counts[0]
                before += counts[1]
                after += counts[2]
        return Rechunked(contents, read, before, after, self._flatten(work))

    def _page(self, idle_before_ns: int) -> list[Fragmented]:
        found = self._stores.upkeep.fragmented(idle_before_ns, _PAGE + len(self._tried))
        known = {item.content: item.version for item in found}
        self._tried = {c: v for c, v in self._tried.items() if known.get(ContentId(c)) == v}
        return [item for item in found if item.content not in self._tried]

    def _flatten(self, work: Work) -> int:
        done: set[ContentId] = set()
        while found := set(self._stores.upkeep.deep_drafts(_PAGE + len(done))) - done:
            for content in found:
                work.tell(len(done), 0, "drafts flattened")
                try:
                    self._stores.upkeep.flatten(content)
                except (NotFound, Stale):
                    pass  # it went meanwhile
                done.add(content)
            work.give_way()
        return len(done)

    def _rechunk(self, item: Fragmented, work: Work) -> tuple[int, int, int]:
        """Bytes read, extents before and after."""
        if item.extents > MAX_EXTENTS:
            log.info("content %d has too many extents to be cut anew: copy the file", item.content)
            return 0, item.extents, item.extents
        recut = _Recut(self._stores.blocks, self._volume, item, work)
        result = recut.run()
        if len(result) < recut.extents_before:
            packs = tuple({extent.hint for extent in result if extent.hint})
            self._volume.session.submit((Rewrite(item.content, item.version, tuple(result)),), packs=packs)
        return recut.bytes_read, recut.extents_before, len(result)


class _Recut:
    """One content, cut anew where that helps."""

    def __init__(self, keeper: PackKeeper, volume: Volume, item: Fragmented, work: Work) -> None:
        self._keeper = keeper
        self._volume = volume
        self._ingest = volume.ingest
        self._minimum = self._ingest.format.block_min
        self._item = item
        self._work = work
        self._reader = reader_of(volume, item.content, item.version, item.length)
        self.bytes_read = 0
        self.extents_before = 0

    def run(self) -> list[Extent]:
        result: list[Extent] = []
        for run in self._runs():
            result += self._cut_run(run)
        return result

    def _runs(self) -> Iterator[list[Span]]:
        """The spans between holes. A hole ends a block, as it does for whoever writes around it."""
        run: list[Span] = []
        for span in self._spans():
            if run and span.extent.offset != run[-1].extent.end:
                yield run
                run = []
            run.append(span)
        if run:
            yield run

    def _spans(self) -> Iterator[Span]:
        last = max(self._item.length - 1, 0) // REGION
        pending: Extent | None = None
        for first in range(0, last + 1, _REGIONS):
            maps = self._volume.namespace.extents(self._item.content, first, min(first + _REGIONS - 1, last))
            merged: list[Extent] = []
            for extent in (extent for part in maps for extent in part.extents):
                self.extents_before += 1
                if pending is not None and _joins(pending, extent):
                    pending = pending._replace(length=pending.length + extent.length)
                    continue
                if pending is not None:
                    merged.append(pending)
                pending = extent
            yield from self._judge(merged)
            self._work.give_way()
        if pending is not None:
            yield from self._judge([pending])

    def _judge(self, extents: Sequence[Extent]) -> Iterator[Span]:
        """Tell good blocks from pieces; hints become the packs that have the blocks now."""
        places = self._keeper.locate([extent.block for extent in extents])
        for extent, place in zip(extents, places, strict=True):
            if place is None:  # loose, so it is small and lately written
                yield Span(extent._replace(hint=NO_PACK), False)
                continue
            proper = extent.length >= self._minimum or extent.end == self._item.length
            whole = proper and not extent.block_offset and extent.length == place.plain
            yield Span(extent._replace(hint=place.pack), whole)

    def _cut_run(self, run: list[Span]) -> list[Extent]:
        ragged: set[int] = set()
        for extent, whole in run:
            if not whole:
                ragged.update(range(extent.offset // REGION, (extent.end - 1) // REGION + 1))
        end = run[-1].extent.end
        good = {
            span.extent.offset: at
            for at, span in enumerate(run)
            if span.whole and not _touches(span.extent, ragged)
        }
        result: list[Extent] = []
        at = 0
        while at < len(run):
            extent = run[at].extent
            if extent.offset in good:
                result.append(extent)
                at += 1
                continue
            stop = self._cut(extent.offset, end, good, result)
            at = good[stop] if stop < end else len(run)
        return result

    def _cut(self, start: int, end: int, good: dict[int, int], result: list[Extent]) -> int:
        """Cut from ``start`` until a cut falls on a good boundary, or to ``end``; returns where."""
        chunker = self._ingest.chunker()
        buffer = bytearray()
        at = start
        read = start
        pieces = stream(self._reader, start, end, self._work)
        while read < end:
            for piece in pieces:
                buffer += piece
                read += memoryview(piece).nbytes
                if len(buffer) >= _SEGMENT:
                    break
            lengths = chunker.cut(memoryview(buffer), final=read >= end)
            stop = _meeting(at, lengths, good)
            view = memoryview(bytes(buffer))
            done = sum(lengths)
            stored = self._ingest.store_pieces(self._ingest.hash_pieces(at, view, lengths))
            result.extend(stored.extents)
            at += done
            if stop is not None:
                break
            del buffer[:done]
        self.bytes_read += read - start
        return at


def _meeting(start: int, lengths: list[int], good: dict[int, int]) -> int | None:
    """The first cut on a good boundary; ``lengths`` is shortened to it."""
    at = start
    for index, length in enumerate(lengths):
        at += length
        if at in good:
            del lengths[index + 1 :]
            return at
    return None


def _joins(left: Extent, right: Extent) -> bool:
    return (
        right.block == left.block
        and right.offset == left.end
        and right.block_offset == left.block_offset + left.length
    )


def _touches(extent: Extent, regions: set[int]) -> bool:
    return any(region in regions for region in range(extent.offset // REGION, (extent.end - 1) // REGION + 1))
