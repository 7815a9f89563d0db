"""How a block's bytes are stored: raw, or zstd where that saves something."""

from __future__ import annotations

import threading
from typing import Final

import zstandard
from typing_extensions import Buffer

from gravitonfs.errors import Damaged

RAW: Final = 0
ZSTD: Final = 1

# zstd must save at least a twentieth, else the block is kept raw and reads skip decompression.
_KEEP_NUMERATOR, _KEEP_DENOMINATOR = 19, 20
_TINY = 64

_local = threading.local()
# (De)compressors hold native buffers and are not thread-safe: one pair per thread and level.


def _compressor(level: int) -> zstandard.ZstdCompressor:
    key = f"c{level}"
    found: zstandard.ZstdCompressor | None = getattr(_local, key, None)
    if found is None:
        found = zstandard.ZstdCompressor(level=level, write_content_size=True)
        setattr(_local, key, found)
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "d", None)
    if found is None:
        found = _local.d = zstandard.ZstdDecompressor()
    return found


def encode(data: Buffer, level: int) -> tuple[int, Buffer]:
    """``(codec, payload)``; a raw payload is ``data`` itself, not a copy."""
    view = memoryview(data)
    if view.nbytes >= _TINY:
        packed = _compressor(level).compress(view)
        if len(packed) * _KEEP_DENOMINATOR <= view.nbytes * _KEEP_NUMERATOR:
            return ZSTD, packed
    return RAW, data


def decode(codec: int, payload: Buffer, plain_length: int) -> Buffer:
    """The plain bytes; raises :class:`Damaged` when they are not ``plain_length`` long."""
    if codec == RAW:
        plain: Buffer = payload
    elif codec == ZSTD:
        view = memoryview(payload)
        try:
            # The frame's own claim decides what is allocated: believe it only when it is right.
            if zstandard.frame_content_size(view) != plain_length:
                raise Damaged("a block's frame does not have the length that was stored")
            plain = _decompressor().decompress(view, max_output_size=plain_length)
        except zstandard.ZstdError as error:
            raise Damaged(f"a block does not decompress: {error}") from error
    else:
        raise Damaged(f"a block has the unknown codec {codec}")
    if memoryview(plain).nbytes != plain_length:
        raise Damaged(f"a block has {memoryview(plain).nbytes} bytes where {plain_length} were stored")
    return plain
