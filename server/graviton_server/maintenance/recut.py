"""One fragmented content is cut anew where that helps, window by window, with bounded memory.

Regions with partial or tiny blocks are read and cut from the last good boundary before them until a
cut meets a good boundary behind them again: boundaries depend on content alone, so from there on the
old blocks are what a new cut would make. A cut that meets none before its window ends goes on in the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from graviton_server.maintenance.contents import reader_of, stream
from graviton_server.maintenance.stores import PackKeeper
from graviton_server.maintenance.work import Work
from gravitonfs.content.ingest import Stored
from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import REGION, Extent, split_by_region, trim
from gravitonfs.core.ids import NO_PACK
from gravitonfs.ports.ops import Rewrite
from gravitonfs.ports.upkeep import Fragmented

SEGMENT: Final = 8 << 20
WINDOW_REGIONS: Final = 64
WINDOW_EXTENTS: Final = 1 << 17
"""A window ends behind the region with which it has so many; one region has at most 262,144."""
_WINDOW_MIN: Final = 8 << 20
"""Bytes: several of the largest blocks, so that every window makes headway."""
_REGIONS_A_BATCH: Final = 2
"""Folding a region of 16,384 extents holds the namespace's lock for some 10 ms."""


class Span(NamedTuple):
    """``pieces`` neighbouring extents of one block as one; ``whole``: all of a block of a proper size."""

    extent: Extent
    whole: bool
    pieces: int


class Window(NamedTuple):
    """Part of a map. ``open``: its last run may go on behind it."""

    spans: list[Span]
    end: int
    open: bool


class Counts(NamedTuple):
    """Bytes that were read, extents of the map before and after."""

    bytes_read: int
    before: int
    after: int


class Recut:
    """One run over one content. A crash in the middle leaves the rest for the next."""

    def __init__(self, keeper: PackKeeper, volume: Volume, item: Fragmented, work: Work) -> None:
        self._keeper = keeper
        self._volume = volume
        self._ingest = volume.ingest
        self._minimum = self._ingest.format.block_min
        self._item = item
        self._work = work
        self._reader = reader_of(volume, item.content, item.version, item.length)
        self._bytes_read = 0
        self._before = 0
        self._after = 0

    def run(self) -> Counts:
        at = 0
        while at < self._item.length:
            window = self._window(at)
            at = self._mend(window)
            self._work.give_way()
        return Counts(self._bytes_read, self._before, self._after)

    def _window(self, start: int) -> Window:
        """The map from ``start`` on, judged. It ends where a block ends, so that none looks partial."""
        last = max(self._item.length - 1, 0) // REGION
        region = start // REGION
        regions = pieces = 0
        merged: list[tuple[Extent, int]] = []
        while region <= last:
            large = regions >= WINDOW_REGIONS or pieces >= WINDOW_EXTENTS
            if large and len(merged) > 1 and region * REGION - start >= _WINDOW_MIN:
                break
            for part in self._volume.namespace.extents(self._item.content, region, region):
                for extent in part.extents:
                    if extent.end > start:
                        pieces += 1
                        _join(merged, trim(extent, start, extent.end) if extent.offset < start else extent)
            region += 1
            regions += 1
        goes_on = region <= last
        end = min(region * REGION, self._item.length)
        if goes_on and merged[-1][0].end == end:
            end = merged.pop()[0].offset
        return Window(self._judge(merged), end, goes_on)

    def _judge(self, merged: Sequence[tuple[Extent, int]]) -> list[Span]:
        """Tell good blocks from pieces; hints become the packs that have the blocks now."""
        places = self._keeper.locate([extent.block for extent, _ in merged])
        spans = []
        for (extent, pieces), place in zip(merged, places, strict=True):
            if place is None:  # loose, so it is small and lately written
                spans.append(Span(extent._replace(hint=NO_PACK), False, pieces))
                continue
            proper = extent.length >= self._minimum or extent.end == self._item.length
            whole = proper and not extent.block_offset and extent.length == place.plain
            spans.append(Span(extent._replace(hint=place.pack), whole, pieces))
        return spans

    def _mend(self, window: Window) -> int:
        """Cut what is ragged and put it into the map; returns where the next window begins."""
        result: list[Extent] = []
        before = sum(span.pieces for span in window.spans)
        kept = 0
        at = window.end
        runs = list(_runs(window.spans))
        for index, run in enumerate(runs):
            end = run[-1].extent.end
            is_open = window.open and index == len(runs) - 1 and end == window.end
            done, good = self._cut_run(run, result, final=not is_open)
            kept += good
            if done < end:
                before -= sum(span.pieces for span in run if span.extent.offset >= done)
                at = done
        after = kept + sum(map(len, split_by_region(result).values()))
        self._before += before
        self._after += min(before, after)
        if after < before:
            self._submit(result)
        return at

    def _submit(self, extents: Sequence[Extent]) -> None:
        item = self._item
        parts = list(split_by_region(extents).values())
        for start in range(0, len(parts), _REGIONS_A_BATCH):
            laid = tuple(extent for part in parts[start : start + _REGIONS_A_BATCH] for extent in part)
            packs = tuple({extent.hint for extent in laid if extent.hint})
            rewrite = Rewrite(item.content, item.version, laid, whole=False)
            self._ingest.apply(Stored((), packs, ()), (rewrite,), durable=False)

    def _cut_run(self, run: list[Span], result: list[Extent], *, final: bool) -> tuple[int, int]:
        """Spans without a hole between them; returns up to where they were dealt with, and how many
        extents stay as they are. A hole ends a block, as it does for whoever writes around it."""
        ragged: set[int] = set()
        for extent, whole, _ in run:
            if not whole:
                ragged.update(_regions(extent))
        end = run[-1].extent.end
        good = {
            span.extent.offset: at
            for at, span in enumerate(run)
            if span.whole and ragged.isdisjoint(_regions(span.extent))
        }
        kept = 0
        at = 0
        while at < len(run):
            extent, _, pieces = run[at]
            if extent.offset in good:
                if pieces > len(_regions(extent)):
                    result.append(extent)
                else:
                    kept += pieces
                at += 1
                continue
            stop = self._cut(extent.offset, end, good, result, final=final)
            if stop not in good:
                return stop, kept
            at = good[stop]
        return end, kept

    def _cut(self, start: int, end: int, good: dict[int, int], result: list[Extent], *, final: bool) -> int:
        """Cut from ``start`` until a cut falls on a good boundary, or to ``end`` (not ``final``: to the
        last cut before it); returns where."""
        chunker = self._ingest.chunker()
        buffer = bytearray()
        at = start
        read = start
        pieces = stream(self._reader, start, end, self._work)
        while read < end:
            for piece in pieces:
                buffer += piece
                read += memoryview(piece).nbytes
                if len(buffer) >= SEGMENT:
                    break
            lengths = chunker.cut(memoryview(buffer), final=final and read >= end)
            stop = _meeting(at, lengths, good)
            view = memoryview(bytes(buffer))
            done = sum(lengths)
            cut = self._ingest.hash_pieces(at, view, lengths)
            stored = self._ingest.store_pieces(cut, loose=False)
            result.extend(stored.extents)
            at += done
            if stop is not None:
                break
            del buffer[:done]
        self._bytes_read += read - start
        return at


def _join(merged: list[tuple[Extent, int]], extent: Extent) -> None:
    if merged:
        left, pieces = merged[-1]
        if (
            extent.block == left.block
            and extent.offset == left.end
            and extent.block_offset == left.block_offset + left.length
        ):
            merged[-1] = left._replace(length=left.length + extent.length), pieces + 1
            return
    merged.append((extent, 1))


def _runs(spans: Sequence[Span]) -> Iterator[list[Span]]:
    run: list[Span] = []
    for span in spans:
        if run and span.extent.offset != run[-1].extent.end:
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _meeting(start: int, lengths: list[int], good: dict[int, int]) -> int | None:
    """The first cut on a good boundary; ``lengths`` is shortened to it."""
    at = start
    for index, length in enumerate(lengths):
        at += length
        if at in good:
            del lengths[index + 1 :]
            return at
    return None


def _regions(extent: Extent) -> range:
    return range(extent.offset // REGION, (extent.end - 1) // REGION + 1)
