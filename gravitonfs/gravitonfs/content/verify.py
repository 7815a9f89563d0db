"""A block store for blocks from outside: what comes in is checked before it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from typing_extensions import Buffer

from gravitonfs.core.codec import decode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged, Invalid
from gravitonfs.ports.blocks import Block, BlockStore, StoreCounters


class VerifyingBlockStore:
    """Wraps a ``BlockStore`` whose caller is not trusted to have hashed what it puts."""

    def __init__(self, inner: BlockStore, *, block_key: bytes = b"", block_max: int) -> None:
        self._inner = inner
        self._block_key = block_key
        self._block_max = block_max

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        """Raises ``Invalid``, and stores nothing, when any block is not what its id says."""
        for block in blocks:
            if not 1 <= block.plain_length <= self._block_max:
                raise Invalid(f"a block has {block.plain_length} bytes; 1 to {self._block_max} are allowed")
            try:
                plain = decode(block.codec, block.payload, block.plain_length)
            except Damaged as error:
                raise Invalid(f"block {block.id.hex()} cannot be decoded: {error}") from error
            if block_id(plain, self._block_key) != block.id:
                raise Invalid(f"the bytes sent for block {block.id.hex()} have another id")
        return self._inner.put(blocks)

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        return self._inner.missing(ids)

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        return self._inner.get(wanted)

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        return self._inner.stored(wanted)

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        return self._inner.get_cached(block, hint)

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        return self._inner.near(block, hint, span)

    def sync(self, packs: Sequence[PackNumber]) -> None:
        self._inner.sync(packs)

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        self._inner.forget_packs(packs)

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        return self._inner.stored_bytes(ids)

    def counters(self) -> StoreCounters:
        return self._inner.counters()
