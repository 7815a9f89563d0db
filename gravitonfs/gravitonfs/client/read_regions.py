"""Which regions of files a daemon has told of lately, and so of which blocks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

from gravitonfs.core.ids import BlockId, ContentId
from gravitonfs.ports.namespace import RegionMap

EXTENTS: Final = 1 << 16
"""Of all that are remembered; about 16 GiB of bytes, or so many small files."""


class ReadRegions:
    """``_lock`` guards everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._regions: OrderedDict[tuple[ContentId, int], RegionMap] = OrderedDict()
        self._extents = 0

    def told(self, content: ContentId, regions: Sequence[RegionMap]) -> None:
        with self._lock:
            for region in regions:
                key = content, region.region
                before = self._regions.pop(key, None)
                self._regions[key] = region
                self._extents += len(region.extents) - (len(before.extents) if before else 0)
            while self._extents > EXTENTS:
                _, oldest = self._regions.popitem(last=False)
                self._extents -= len(oldest.extents)

    def of(self, blocks: Collection[BlockId]) -> list[tuple[ContentId, int]]:
        """Those that have any of these blocks."""
        wanted = set(blocks)
        with self._lock:
            known = list(self._regions.items())
        return [key for key, region in known if any(extent.block in wanted for extent in region.extents)]
