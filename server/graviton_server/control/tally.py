"""What a tree holds, and what it takes to store."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from graviton_server.control.answers import Usage
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NO_CONTENT, BlockId, ContentId
from gravitonfs.ports.namespace import Namespace

if TYPE_CHECKING:
    from graviton_server.wiring import Engine

_REGIONS_AT_ONCE = 64
_BLOCKS_AT_ONCE = 4096


class Tally:
    """Each inode counts once, each content once, each block once, whatever shares them."""

    def __init__(self, engine: Engine, namespace: Namespace, *, with_blocks: bool) -> None:
        self._engine = engine
        self._namespace = namespace
        self._with_blocks = with_blocks
        self._linked: set[int] = set()
        self._contents: set[int] = set()
        self._blocks: dict[BlockId, int] = {}
        self._extents = 0
        self._bytes = 0
        self.files = 0
        self._directories = 0
        self._others = 0

    def add(self, ino: int, mode: int, nlink: int, size: int, content: ContentId) -> None:
        if stat.S_ISDIR(mode):
            self._directories += 1
            return
        if nlink > 1:
            if ino in self._linked:
                return
            self._linked.add(ino)
        if not stat.S_ISREG(mode):
            self._others += 1
            return
        self.files += 1
        self._bytes += size
        if self._with_blocks and content != NO_CONTENT and content not in self._contents:
            self._contents.add(content)
            self._add_blocks(content, size)

    def _add_blocks(self, content: ContentId, size: int) -> None:
        for first in range(0, size // REGION + 1, _REGIONS_AT_ONCE):
            for region in self._namespace.extents(content, first, first + _REGIONS_AT_ONCE - 1):
                self._extents += len(region.extents)
                for extent in region.extents:
                    known = self._blocks.get(extent.block, 0)
                    self._blocks[extent.block] = max(known, extent.block_offset + extent.length)

    def usage(self) -> Usage:
        unique, stored = self._block_bytes()
        return Usage(
            logical_bytes=self._bytes,
            unique_bytes=unique,
            stored_bytes=stored,
            files=self.files,
            directories=self._directories,
            others=self._others,
            extents=self._extents,
            blocks=len(self._blocks),
        )

    def _block_bytes(self) -> tuple[int, int]:
        """Plain and as stored. A block that is nowhere (see fsck) counts by what its extents use of it."""
        unique = stored = 0
        ids = list(self._blocks)
        for start in range(0, len(ids), _BLOCKS_AT_ONCE):
            batch = ids[start : start + _BLOCKS_AT_ONCE]
            places = dict(zip(batch, self._engine.store.locate(batch), strict=True))
            elsewhere = [block for block, place in places.items() if place is None]
            loose = self._engine.namespace_store.loose.loose_get(elsewhere) if elsewhere else {}
            for block, place in places.items():
                if place is not None:
                    unique, stored = unique + place.plain, stored + place.stored
                elif block in loose:
                    unique += loose[block].plain_length
                    stored += memoryview(loose[block].payload).nbytes
                else:
                    unique += self._blocks[block]
        return unique, stored
