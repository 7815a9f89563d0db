"""The bytes of a segment file (docs/format/disk-cache.md). Pure: no I/O.

Nothing here vouches for a payload: whoever reads one compares it with the id of the block.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Final, NamedTuple

import google_crc32c
from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId

VERSION: Final = 1
SECTOR: Final = 4096
PADDING: Final = 255
SCOPE_SIZE: Final = 24

_HEADER = struct.Struct("<8sHBx24s")
_RECORD = struct.Struct("<4sB3xII32s")
_TRAILER = struct.Struct("<QII8s")
_CRC = struct.Struct("<I")
_KEY = struct.Struct("<Q")
_MAGIC: Final = b"GRVCACH1"
_END: Final = b"GRVCEND1"
_RECORD_MAGIC: Final = b"\xd7\x47\x43\x9e"

HEADER: Final = _HEADER.size + _CRC.size
RECORD: Final = _RECORD.size + _CRC.size
TRAILER: Final = _TRAILER.size
ENTRY: Final = 21
"""Bytes that a record takes in the footer."""

_crc32c = google_crc32c.value


def key_of(block: BlockId) -> int:
    """What the index knows a block by: the start of its id."""
    key: int = _KEY.unpack_from(block)[0]
    return key


class Record(NamedTuple):
    codec: int
    stored: int
    plain: int
    id: BlockId


class Columns:
    """What is in a segment, record by record; ``hits`` since it came in, and at most ``HITS``."""

    __slots__ = ("codecs", "hits", "keys", "offsets", "plain", "stored")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.offsets = array("I")
        self.stored = array("I")
        self.plain = array("I")
        self.codecs = bytearray()
        self.hits = bytearray()

    def __len__(self) -> int:
        return len(self.keys)

    def append(self, key: int, offset: int, codec: int, stored: int, plain: int, hits: int = 0) -> None:
        """``offset``: of the record's header."""
        self.keys.append(key)
        self.offsets.append(offset)
        self.stored.append(stored)
        self.plain.append(plain)
        self.codecs.append(codec)
        self.hits.append(hits)

    def extend(self, other: Columns) -> None:
        self.keys += other.keys
        self.offsets += other.offsets
        self.stored += other.stored
        self.plain += other.plain
        self.codecs += other.codecs
        self.hits += other.hits


def encode_header(scope: bytes, chain: int) -> bytes:
    head = _HEADER.pack(_MAGIC, VERSION, chain, scope)
    return head + _CRC.pack(_crc32c(head))


def decode_header(data: bytes, scope: bytes) -> int | None:
    """The chain of a segment that this version has written for this scope; None: it is none."""
    if len(data) < HEADER or _CRC.unpack_from(data, _HEADER.size)[0] != _crc32c(data[: _HEADER.size]):
        return None
    magic, version, chain, found = _HEADER.unpack_from(data)
    if (magic, version, found) != (_MAGIC, VERSION, scope):
        return None
    return int(chain)


def encode_record(block: bytes, codec: int, stored: int, plain: int) -> bytes:
    """The header of a record; the payload follows it."""
    head = _RECORD.pack(_RECORD_MAGIC, codec, stored, plain, block)
    return head + _CRC.pack(_crc32c(head))


def decode_record(data: Buffer, offset: int = 0) -> Record | None:
    """The record header at ``offset``, or None when there is no good one."""
    raw = bytes(memoryview(data)[offset : offset + RECORD])
    if len(raw) < RECORD or raw[:4] != _RECORD_MAGIC:
        return None
    if _CRC.unpack_from(raw, _RECORD.size)[0] != _crc32c(raw[: _RECORD.size]):
        return None
    _, codec, stored, plain, block = _RECORD.unpack_from(raw)
    return Record(codec, stored, plain, BlockId(block))


def padding_at(offset: int) -> int:
    """How many bytes of padding make ``offset`` a multiple of a sector; a record of padding needs some."""
    gap = -offset % SECTOR
    return gap if gap == 0 or gap >= RECORD else gap + SECTOR


def encode_footer(columns: Columns, offset: int) -> bytes:
    """What ends a segment that is not written to any more; it stands at ``offset``."""
    arrays = [columns.keys, columns.offsets, columns.stored, columns.plain]
    body = b"".join([*(_little(column).tobytes() for column in arrays), bytes(columns.codecs)])
    return body + _TRAILER.pack(offset, len(columns), _crc32c(body), _END)


def decode_trailer(data: bytes, size: int) -> tuple[int, int] | None:
    """(offset, length) of the footer's columns in a file of ``size`` bytes; None: it has none."""
    if len(data) < TRAILER:
        return None
    offset, count, _, magic = _TRAILER.unpack_from(data)
    if magic != _END or offset + count * ENTRY + TRAILER != size:
        return None
    return offset, count * ENTRY


def decode_footer(body: bytes, trailer: bytes) -> Columns | None:
    offset, count, crc, _ = _TRAILER.unpack_from(trailer)
    if len(body) != count * ENTRY or _crc32c(body) != crc:
        return None
    columns = Columns()
    at = 0
    for column, width in ((columns.keys, 8), (columns.offsets, 4), (columns.stored, 4), (columns.plain, 4)):
        column.frombytes(body[at : at + count * width])
        if sys.byteorder == "big":
            column.byteswap()
        at += count * width
    columns.codecs += body[at:]
    columns.hits += bytes(count)
    if any(o + RECORD + s > offset for o, s in zip(columns.offsets, columns.stored, strict=True)):
        return None
    return columns


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column
