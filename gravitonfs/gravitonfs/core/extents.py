"""Extents: which bytes of a file lie in which block; packed by region of 64 MiB.

A region's map is its base rows (sorted, disjoint) with delta rows laid over it in order. A delta may
hold hole extents (block id ``HOLE``), which hide what lies beneath.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from typing_extensions import Buffer

from gravitonfs.core.ids import HOLE, BlockId, PackNumber
from gravitonfs.errors import Damaged

REGION: Final = 64 << 20
"""Bytes of a file per region."""
BASE_MAX: Final = 256
"""Extents in one packed row, at most."""

_ZEROES: Final = bytes(1 << 20)
_ROW = struct.Struct("<II32sIQ")
EXTENT_SIZE: Final = _ROW.size


class Extent(NamedTuple):
    """``length`` bytes at ``offset`` of the file are those at ``block_offset`` of block ``block``.

    ``hint`` is the pack that held the block when this was written: a wrong one costs a look-up.
    Inside a packed row ``offset`` counts from the region's start, everywhere else from the file's.
    """

    offset: int
    length: int
    block: BlockId
    block_offset: int
    hint: PackNumber

    @property
    def end(self) -> int:
        return self.offset + self.length

    @property
    def is_hole(self) -> bool:
        return self.block == HOLE


def hole(offset: int, length: int) -> Extent:
    return Extent(offset, length, HOLE, 0, PackNumber(0))


def trim(extent: Extent, start: int, end: int) -> Extent:
    """The part of ``extent`` inside [start, end), which must not be empty."""
    lead = max(0, start - extent.offset)
    length = min(extent.end, end) - extent.offset - lead
    return Extent(extent.offset + lead, length, extent.block, extent.block_offset + lead, extent.hint)


def overlay(base: Sequence[Extent], above: Iterable[Extent]) -> list[Extent]:
    """``base`` (sorted, disjoint) with the extents of ``above`` laid over it, in their order.

    Hole extents stay in the result, so that it can itself be laid over something.
    """
    result = list(base)
    for new in above:
        if not result or new.offset >= result[-1].end:
            result.append(new)
            continue
        start = max(bisect_right(result, new.offset, key=_offset) - 1, 0)
        if result[start].end <= new.offset:
            start += 1
        stop = start
        kept: list[Extent] = []
        while stop < len(result) and result[stop].offset < new.end:
            old = result[stop]
            if old.offset < new.offset:
                kept.append(trim(old, old.offset, new.offset))
            stop += 1
        kept.append(new)
        if stop > start and result[stop - 1].end > new.end:
            last = result[stop - 1]
            kept.append(trim(last, new.end, last.end))
        result[start:stop] = kept
    return result


def _offset(extent: Extent) -> int:
    return extent.offset


def without_holes(extents: Iterable[Extent]) -> list[Extent]:
    return [extent for extent in extents if extent.block != HOLE]


def split_by_region(extents: Iterable[Extent]) -> dict[int, list[Extent]]:
    """The extents cut at region boundaries, with file offsets, by region number."""
    result: dict[int, list[Extent]] = {}
    for extent in extents:
        start = extent.offset
        end = extent.end
        while start < end:
            region = start // REGION
            stop = min(end, (region + 1) * REGION)
            piece = extent if (start, stop) == (extent.offset, end) else trim(extent, start, stop)
            result.setdefault(region, []).append(piece)
            start = stop
    return result


def pack_row(region: int, extents: Iterable[Extent]) -> bytes:
    """The row of these extents (file offsets, all inside ``region``)."""
    base = region * REGION
    return b"".join(
        _ROW.pack(offset - base, length, block, block_offset, hint)
        for offset, length, block, block_offset, hint in extents
    )


def unpack_row(region: int, row: bytes) -> list[Extent]:
    """The inverse of :func:`pack_row`."""
    if len(row) % EXTENT_SIZE:
        raise Damaged(f"a row of extents has {len(row)} bytes, no multiple of {EXTENT_SIZE}")
    base = region * REGION
    return [
        Extent(offset + base, length, BlockId(block), block_offset, PackNumber(hint))
        for offset, length, block, block_offset, hint in _ROW.iter_unpack(row)
    ]


def covering(extents: Sequence[Extent], start: int, end: int) -> list[Extent]:
    """The extents (sorted, disjoint) that touch [start, end)."""
    first = max(bisect_right(extents, start, key=_offset) - 1, 0)
    result = []
    for index in range(first, len(extents)):
        extent = extents[index]
        if extent.offset >= end:
            break
        if extent.end > start:
            result.append(extent)
    return result


def inside(data: Buffer, at: int, length: int) -> memoryview:
    """A part of a block. Damaged where an extent reaches behind its end: never a short file."""
    part = memoryview(data)[at : at + length]
    if len(part) != length:
        raise Damaged(f"an extent of {length} bytes at {at} reaches behind the end of its block")
    return part


def laid_out(parts: Sequence[tuple[Extent, Buffer]], start: int, end: int) -> list[Buffer]:
    """The bytes of [start, end) as views of the blocks that ``parts`` brings (sorted, disjoint), in order."""
    pieces: list[Buffer] = []
    done = start
    for extent, data in parts:
        low, high = max(start, extent.offset), min(end, extent.end)
        if low > done:
            pieces += _zeroes(low - done)
        at = low - extent.offset + extent.block_offset
        pieces.append(inside(data, at, high - low))
        done = high
    if done < end:
        pieces += _zeroes(end - done)
    return pieces


def _zeroes(count: int) -> list[bytes]:
    whole, rest = divmod(count, len(_ZEROES))
    return [_ZEROES] * whole + ([_ZEROES[:rest]] if rest else [])
