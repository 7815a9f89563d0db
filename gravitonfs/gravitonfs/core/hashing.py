"""BLAKE3, for block ids and for the digests of whole contents."""

from __future__ import annotations

from typing import Protocol

from blake3 import blake3
from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId


class ContentHasher(Protocol):
    """A running digest of one content's bytes, in order."""

    def update(self, data: Buffer, /) -> object: ...
    def digest(self) -> bytes: ...


def block_id(data: Buffer, key: bytes = b"") -> BlockId:
    """The id of a block of plain bytes; ``key`` (32 bytes) comes from the volume's format, or is empty.

    The library releases the GIL while it hashes.
    """
    if key:
        return BlockId(blake3(data, key=key).digest())
    return BlockId(blake3(data).digest())


def content_hasher() -> ContentHasher:
    return blake3()


EMPTY_DIGEST = blake3(b"").digest()
"""The digest of the empty content."""
