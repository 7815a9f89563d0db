"""Which bytes of which files cannot be read, given the blocks that cannot."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from graviton_server.maintenance.reports import Finding
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NO_CONTENT, BlockId, ContentId, Ino
from gravitonfs.errors import NotFound, Stale
from gravitonfs.ports.ops import Attr
from gravitonfs.ports.upkeep import Upkeep

_REGIONS: Final = 64


def damaged_files(
    upkeep: Upkeep, volume: Volume, blocks: Collection[BlockId], work: Work
) -> Iterator[Finding]:
    """One finding a file, with the ranges that these blocks were to give, and where no file is left
    that shows them, one a content."""
    bad = frozenset(blocks)
    if not bad:
        return
    contents: set[ContentId] = set()
    for page in upkeep.extent_rows():
        work.check()
        for row in page:
            if row.content not in contents and any(extent.block in bad for extent in row.extents):
                contents.add(row.content)
    told: set[Ino] = set()
    for content in sorted(contents):
        shown = False
        for ino in upkeep.users(content):
            if ino in told:
                shown = True
                continue
            finding = _file(upkeep, volume, ino, bad)
            if finding is not None:
                told.add(ino)
                shown = True
                yield finding
        if not shown:
            what = f"content {content}, which no file shows any more, has damaged blocks"
            yield Finding(kind="block-damaged", what=what)


def _file(upkeep: Upkeep, volume: Volume, ino: Ino, bad: frozenset[BlockId]) -> Finding | None:
    try:
        attr = volume.namespace.attr(ino)
        ranges, block = _ranges(volume, attr, bad)
    except (Stale, NotFound):
        return None  # removed meanwhile
    if not ranges:
        return None
    lost = sum(end - start for start, end in ranges)
    return Finding(
        kind="file-damaged",
        what=f"{lost} of {attr.size} bytes cannot be read",
        path=upkeep.path(ino).decode("utf-8", "backslashreplace"),
        ino=ino,
        ranges=tuple(ranges),
        block=block,
    )


def _ranges(volume: Volume, attr: Attr, bad: frozenset[BlockId]) -> tuple[list[tuple[int, int]], str]:
    """The damaged ranges, neighbours joined, and the first damaged block."""
    ranges: list[tuple[int, int]] = []
    first_block = ""
    if attr.content == NO_CONTENT or not attr.size:
        return ranges, first_block
    last = (attr.size - 1) // REGION
    for first in range(0, last + 1, _REGIONS):
        maps = volume.namespace.extents(attr.content, first, min(first + _REGIONS - 1, last))
        for extent in (extent for part in maps for extent in part.extents):
            if extent.block not in bad or extent.offset >= attr.size:
                continue
            first_block = first_block or extent.block.hex()
            end = min(extent.end, attr.size)
            if ranges and ranges[-1][1] == extent.offset:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((extent.offset, end))
    return ranges, first_block
