"""Extent maps, region by region: base rows, small delta rows over them, folded now and then.

Rows of a region: ``seq`` below 1024 are base parts of at most 256 extents, disjoint, in any order;
from 1024 on deltas, each laid over those before it. A region without rows shows the base's, below
``base_limit``; the first change of such a region copies what shows through, so that every region is
either wholly here or wholly the base's. A region that has become empty keeps one empty row.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from graviton_server.namespace.contents import Content
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.history import keep_regions, keep_rows
from graviton_server.namespace.txn import Txn
from gravitonfs.core.extents import (
    BASE_MAX,
    EXTENT_SIZE,
    REGION,
    Extent,
    hole,
    overlay,
    pack_row,
    split_by_region,
    trim,
    unpack_row,
    without_holes,
)
from gravitonfs.core.ids import HOLE, ContentId
from gravitonfs.errors import NoSpace
from gravitonfs.ports.namespace import RegionMap

DELTA: Final = 1024
FOLD: Final = 64
_END: Final = 1 << 62

_RAGGED: Final = "INSERT INTO ragged (content) VALUES (?) ON CONFLICT DO NOTHING"
_TOP: Final = "SELECT max(seq) FROM regions WHERE content = ? AND region = ?"
_INSERT: Final = "INSERT INTO regions (content, region, seq, born, data) VALUES (?, ?, ?, ?, ?)"
_ROWS: Final = "SELECT seq, data FROM regions WHERE content = ? AND region = ? ORDER BY seq"
_RANGE: Final = (
    "SELECT region, seq, data FROM regions WHERE content = ? AND region BETWEEN ? AND ? ORDER BY region, seq"
)
_CHAIN: Final = "SELECT base, base_limit FROM contents WHERE id = ?"
_DELETE_FROM: Final = "DELETE FROM regions WHERE content = ? AND region >= ?"
_DELETE_REGION: Final = "DELETE FROM regions WHERE content = ? AND region = ?"
_DELETE_DELTAS: Final = "DELETE FROM regions WHERE content = ? AND region = ? AND seq >= 1024"
_DELETE_ROW: Final = "DELETE FROM regions WHERE content = ? AND region = ? AND seq = ?"
_WITH_DELTAS: Final = "SELECT DISTINCT region FROM regions WHERE content = ? AND seq >= 1024 LIMIT ?"
_FIRST_OFFSET = struct.Struct("<I")

Rows = Sequence[tuple[int, bytes]]


def read(execute: Execute, content: ContentId, first: int, last: int) -> list[RegionMap]:
    """The regions of [first, last] that have extents, bases included."""
    return merge(
        content,
        (first, last),
        lambda content, first, last: execute(_RANGE, (content, first, last)),
        lambda content: execute(_CHAIN, (content,)).fetchone(),
    )


def merge(
    content: ContentId,
    span: tuple[int, int],
    rows_of: Callable[[ContentId, int, int], Iterable[tuple[int, int, bytes]]],
    base_of: Callable[[ContentId], tuple[ContentId, int] | None],
) -> list[RegionMap]:
    """Follow a chain of bases: the first content that has rows for a region has all of it."""
    first, last = span
    wanted = last - first + 1
    found: dict[int, list[Extent]] = {}
    while content:
        rows: dict[int, list[tuple[int, bytes]]] = {}
        for region, seq, data in rows_of(content, first, last):
            rows.setdefault(region, []).append((seq, data))
        for region, parts in rows.items():
            if region not in found:
                found[region] = resolve(region, parts)
        if len(found) == wanted:
            break
        chain = base_of(content)
        if chain is None or not chain[0]:
            break
        content, limit = chain
        last = min(last, limit - 1)
        if last < first:
            break
    return [RegionMap(region, tuple(extents)) for region, extents in sorted(found.items()) if extents]


def small_maps(rows: Iterable[tuple[ContentId, int, bytes]]) -> dict[ContentId, tuple[Extent, ...]]:
    """Of contents with one region, from (content, seq, data) in this order."""
    parts: dict[ContentId, list[tuple[int, bytes]]] = {}
    for content, seq, data in rows:
        parts.setdefault(content, []).append((seq, data))
    return {content: tuple(resolve(0, found)) for content, found in parts.items()}


def resolve(region: int, rows: Rows) -> list[Extent]:
    """The extents of one region's rows: sorted, disjoint, without holes."""
    if len(rows) == 1 and rows[0][0] < DELTA:
        return unpack_row(region, rows[0][1])
    result: list[Extent] = []
    deltas: list[Extent] = []
    for seq, data in rows:
        (result if seq < DELTA else deltas).extend(unpack_row(region, data))
    result.sort()
    if deltas:
        return without_holes(overlay(result, deltas))
    return result


def fill(txn: Txn, content: ContentId, extents: Iterable[Extent]) -> None:
    """The whole map of a content that has no rows yet. Extents in any order, disjoint."""
    for region, part in split_by_region(extents).items():
        _base_rows(txn, content, region, part)


def _base_rows(txn: Txn, content: ContentId, region: int, extents: list[Extent]) -> int:
    """Write the base rows of a region without rows; returns the last ``seq``, -1 where there is none."""
    solid = extents if len(extents) == 1 and extents[0].block != HOLE else sorted(without_holes(extents))
    seq = -1
    for start in range(0, len(solid), BASE_MAX):
        seq += 1
        _check_parts(seq)
        data = pack_row(region, solid[start : start + BASE_MAX])
        txn.execute(_INSERT, (content, region, seq, txn.version, data))
    return seq


def _check_parts(count: int) -> None:
    if count >= DELTA:
        raise NoSpace("64 MiB of a file are in too many pieces to take another; rewrite or copy the file")


def lay(txn: Txn, draft: Content, extents: Iterable[Extent]) -> None:
    """Lay extents (holes allowed) over a draft's map."""
    for region, part in split_by_region(extents).items():
        _lay_region(txn, draft, region, part)


def _lay_region(txn: Txn, draft: Content, region: int, extents: list[Extent]) -> None:
    top = txn.execute(_TOP, (draft.id, region)).fetchone()[0]
    if top is None:
        top = _copy_up(txn, draft, region)
        if top is None:
            _base_rows(txn, draft.id, region, extents)
            return
    seq = max(top + 1, DELTA)
    if seq == DELTA or len(extents) > BASE_MAX:
        # What a delta hides is kept until it is folded in: have it looked after when it is idle.
        txn.execute(_RAGGED, (draft.id,))
    if seq - DELTA >= FOLD or len(extents) > BASE_MAX:
        _fold(txn, draft.id, region, extents)
        return
    txn.execute(_INSERT, (draft.id, region, seq, txn.version, pack_row(region, extents)))


def _copy_up(txn: Txn, draft: Content, region: int) -> int | None:
    """Make own base rows of what shows through from the base; None where nothing does."""
    if not draft.base or region >= draft.base_limit:
        return None
    maps = read(txn.execute, draft.base, region, region)
    if not maps:
        return None
    return _base_rows(txn, draft.id, region, list(maps[0].extents))


def cut(txn: Txn, draft: Content, size: int) -> None:
    """Forget what a draft has behind ``size``; its base must already be limited by the caller's row."""
    region, inside = divmod(size, REGION)
    beyond = region + 1 if inside else region
    if txn.snapshot:
        keep_regions(txn, draft.id, beyond, _END)
    txn.execute(_DELETE_FROM, (draft.id, beyond))
    if inside:
        top = txn.execute(_TOP, (draft.id, region)).fetchone()[0]
        if top is None:
            top = _copy_up(txn, draft, region)
        if top is not None:
            _lay_region(txn, draft, region, [hole(size, (region + 1) * REGION - size)])
        elif draft.base and region < draft.base_limit:
            # A hole of the base may be rewritten as bytes; they must not show behind the end here.
            txn.execute(_INSERT, (draft.id, region, 0, txn.version, b""))


def replace(txn: Txn, content: ContentId, extents: Iterable[Extent]) -> None:
    """Another whole map, for a content that stands on nothing any more."""
    if txn.snapshot:
        keep_regions(txn, content, 0, _END)
    txn.execute(_DELETE_FROM, (content, 0))
    fill(txn, content, extents)


def replace_part(txn: Txn, content: Content, extents: Iterable[Extent]) -> None:
    """Other extents for the same bytes. What they hide is let go; the rows of their regions are made anew."""
    for region, part in split_by_region(extents).items():
        if txn.execute(_TOP, (content.id, region)).fetchone()[0] is None:
            _copy_up(txn, content, region)
        below = resolve(region, txn.execute(_ROWS, (content.id, region)).fetchall())
        if txn.snapshot:
            keep_regions(txn, content.id, region, region)
        txn.execute(_DELETE_REGION, (content.id, region))
        _base_rows(txn, content.id, region, overlay(below, part))


def fold_idle(txn: Txn, content: ContentId, limit: int) -> bool:
    """Fold up to ``limit`` regions, so that what deltas hide is let go; False while there are more."""
    pending = txn.execute(_WITH_DELTAS, (content, limit)).fetchall()
    for (region,) in pending:
        _fold(txn, content, region, [])
    return len(pending) < limit


def _fold(txn: Txn, content: ContentId, region: int, extents: list[Extent]) -> None:
    """Work the deltas, and ``extents`` above them, into the base parts they touch."""
    parts: list[tuple[int, int, bytes]] = []
    deltas: list[Extent] = []
    for seq, data in txn.execute(_ROWS, (content, region)).fetchall():
        if seq >= DELTA:
            deltas.extend(unpack_row(region, data))
        elif data:
            parts.append((_FIRST_OFFSET.unpack_from(data)[0] + region * REGION, seq, data))
        else:
            parts.append((region * REGION, seq, data))
    deltas.extend(extents)
    parts.sort()
    above = overlay([], deltas)
    if txn.snapshot:
        keep_rows(txn, content, region, DELTA, _END)
    txn.execute(_DELETE_DELTAS, (content, region))
    if len(parts) * BASE_MAX > 2 * sum(len(data) // EXTENT_SIZE for _, _, data in parts) + 16 * BASE_MAX:
        _fold_whole(txn, content, region, parts, above)
    else:
        _fold_parts(txn, content, region, parts, above)


def _fold_whole(
    txn: Txn, content: ContentId, region: int, parts: list[tuple[int, int, bytes]], above: list[Extent]
) -> None:
    """Rewrite all base parts, so that they are full again."""
    below = [extent for _, _, data in parts for extent in unpack_row(region, data)]
    if txn.snapshot:
        keep_rows(txn, content, region, 0, DELTA - 1)
    txn.execute(_DELETE_REGION, (content, region))
    if _base_rows(txn, content, region, overlay(below, above)) < 0:
        txn.execute(_INSERT, (content, region, 0, txn.version, b""))


def _fold_parts(
    txn: Txn, content: ContentId, region: int, parts: list[tuple[int, int, bytes]], above: list[Extent]
) -> None:
    """Rewrite only the parts that change; a part that outgrows its row is split."""
    starts = [start for start, _, _ in parts]
    bounds = [region * REGION, *starts[1:], (region + 1) * REGION]
    pieces: dict[int, list[Extent]] = {}
    for extent in above:
        index = max(bisect_right(bounds, extent.offset, 0, max(len(parts), 1)) - 1, 0)
        while True:
            end = bounds[index + 1]
            pieces.setdefault(index, []).append(trim(extent, bounds[index], end))
            if extent.end <= end:
                break
            index += 1
    used = {seq for _, seq, _ in parts}
    free = (seq for seq in range(DELTA + 1) if seq not in used)
    rows: list[tuple[int, bytes]] = []
    for index, over in pieces.items():
        below: list[Extent] = []
        if parts:
            _, seq, data = parts[index]
            if txn.snapshot:
                keep_rows(txn, content, region, seq, seq)
            txn.execute(_DELETE_ROW, (content, region, seq))
            used.discard(seq)
            below = unpack_row(region, data)
        merged = without_holes(overlay(below, over))
        # Halves rather than one full row and a rest: the next fold then has room in both.
        count = -(-len(merged) // BASE_MAX)
        size = -(-len(merged) // count) if count else 0
        rows.extend(
            (0, pack_row(region, merged[begin : begin + size])) for begin in range(0, len(merged), size or 1)
        )
    if not rows and not used:
        rows.append((0, b""))
    for _, data in rows:
        seq = next(free)
        _check_parts(seq)
        txn.execute(_INSERT, (content, region, seq, txn.version, data))


def is_sorted(extents: Sequence[Extent]) -> bool:
    return all(left.end <= right.offset for left, right in pairwise(extents))
