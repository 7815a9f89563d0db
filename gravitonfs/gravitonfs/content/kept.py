"""Bytes of blocks that a batch names in packs, for as long as the store has not applied it.

A pack may be collected meanwhile: then the bytes travel in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import structs
from typing_extensions import Buffer

from gravitonfs.core.codec import encode
from gravitonfs.core.ids import NO_PACK, BlockId
from gravitonfs.ports.ops import Batch, LooseBlock, hinted

KEPT_MAX: Final = 1 << 20
"""As many as travel in a batch. Who stores more does not notice that the store is asked."""


class Kept:
    """All blocks of one batch that do not travel in it. Not changed once made."""

    __slots__ = ("_blocks", "_level", "size")

    def __init__(self, blocks: Iterable[tuple[BlockId, Buffer]], level: int) -> None:
        self._blocks = dict(blocks)
        self._level = level
        self.size = sum(memoryview(data).nbytes for data in self._blocks.values())

    def alone(self) -> Kept:
        """Without the larger buffers that these may be parts of."""
        return Kept(((block, bytes(data)) for block, data in self._blocks.items()), self._level)

    def inside(self, batch: Batch) -> Batch:
        """The batch with these blocks in it, and no pack to rely on."""
        loose = (
            LooseBlock(block, codec, memoryview(data).nbytes, bytes(payload))
            for block, data in self._blocks.items()
            for codec, payload in (encode(data, self._level),)
        )
        unhinted = dict.fromkeys(self._blocks, NO_PACK)
        ops = tuple(hinted(op, unhinted) for op in batch.ops)
        return structs.replace(batch, ops=ops, packs=(), loose=(*batch.loose, *loose))
