"""Which regions of files a daemon has told of lately, and so of which blocks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

from gravitonfs.core.ids import BlockId, ContentId
from gravitonfs.ports.namespace import RegionMap

REGIONS: Final = 1024
"""Of 64 MiB each. What they hold is held by readers, too."""


class ReadRegions:
    """``_lock`` guards the table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._regions: OrderedDict[tuple[ContentId, int], RegionMap] = OrderedDict()

    def told(self, content: ContentId, regions: Sequence[RegionMap]) -> None:
        with self._lock:
            for region in regions:
                key = content, region.region
                self._regions[key] = region
                self._regions.move_to_end(key)
            while len(self._regions) > REGIONS:
                self._regions.popitem(last=False)

    def of(self, blocks: Collection[BlockId]) -> list[tuple[ContentId, int]]:
        """Those that have any of these blocks."""
        wanted = set(blocks)
        with self._lock:
            known = list(self._regions.items())
        return [key for key, region in known if any(extent.block in wanted for extent in region.extents)]
