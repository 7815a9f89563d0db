"""In which form blocks are read from packs: plain and verified, or as they are stored, for who verifies."""

from __future__ import annotations

from typing import Protocol, TypeVar

from typing_extensions import Buffer

from graviton_server.index import Location
from graviton_server.packs.format import RECORD_HEADER, decode_record
from gravitonfs.core.codec import RAW, decode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId
from gravitonfs.errors import Damaged
from gravitonfs.ports.blocks import Block

T_co = TypeVar("T_co", covariant=True)


class Form(Protocol[T_co]):
    """What a record's bytes become. None: they are not what they should be."""

    def range(self, place: Location) -> tuple[int, int]:
        """What of the pack is needed: offset and length."""
        ...

    def of_record(self, block: BlockId, place: Location, data: Buffer) -> T_co | None:
        """Of the bytes of that range."""
        ...

    def of_loose(self, block: Block) -> T_co | None: ...

    def of_plain(self, block: BlockId, plain: Buffer) -> T_co:
        """Of bytes that were verified."""
        ...


class Plain:
    """Decoded, and what the id says."""

    def __init__(self, block_key: bytes) -> None:
        self._key = block_key

    def range(self, place: Location) -> tuple[int, int]:
        return place.offset + RECORD_HEADER, place.stored

    def of_record(self, block: BlockId, place: Location, data: Buffer) -> Buffer | None:
        return self.verified(block, place.codec, data, place.plain)

    def of_loose(self, block: Block) -> Buffer | None:
        return self.verified(block.id, block.codec, block.payload, block.plain_length)

    def of_plain(self, block: BlockId, plain: Buffer) -> Buffer:
        return plain

    def verified(self, block: BlockId, codec: int, payload: Buffer, plain_length: int) -> Buffer | None:
        try:
            plain = decode(codec, payload, plain_length)
        except Damaged:
            return None
        return plain if block_id(plain, self._key) == block else None


class Stored:
    """As a record that names the block has them: they may be damaged, but are no other block's."""

    def range(self, place: Location) -> tuple[int, int]:
        return place.offset, RECORD_HEADER + place.stored

    def of_record(self, block: BlockId, place: Location, data: Buffer) -> Block | None:
        head = decode_record(data)
        payload = memoryview(data)[RECORD_HEADER:]
        if head is None or head.id != block or head.stored != len(payload):
            return None
        return Block(block, head.codec, head.plain, payload)

    def of_loose(self, block: Block) -> Block:
        return block

    def of_plain(self, block: BlockId, plain: Buffer) -> Block:
        return Block(block, RAW, memoryview(plain).nbytes, plain)
