"""The bytes of a pack (docs/format.md). Pure: no I/O."""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from typing import Final, NamedTuple
from uuid import UUID

import google_crc32c
import zstandard
from blake3 import blake3
from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId
from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Damaged, FormatError

VERSION: Final = 1
ALIGNMENT: Final = 4096
"""A sync pads the pack to a multiple of this, so that no acknowledged sector is written again."""

HEADER_MAGIC: Final = b"GRVPACK1"
TRAILER_MAGIC: Final = b"GRVPEND1"
RECORD_MAGIC: Final = b"\xd7\x47\x52\x9e"
PADDING: Final = 255
NO_KEY: Final = bytes(16)
MAX_PACK: Final = (1 << 32) - 1

_HEADER = struct.Struct("<8sHHHH16s16s16sI")
_RECORD = struct.Struct("<4sB3xII32s")
_TRAILER = struct.Struct("<QII32s32s")
_CRC = struct.Struct("<I")

HEADER_SIZE: Final = _HEADER.size + _CRC.size
RECORD_HEADER: Final = _RECORD.size + _CRC.size
TRAILER_SIZE: Final = _TRAILER.size + _CRC.size + len(TRAILER_MAGIC)
MAX_FOOTER: Final = 1 << 30

_crc32c = google_crc32c.value
_pack_record = _RECORD.pack
_pack_crc = _CRC.pack


def pack_key(uuid: bytes) -> str:
    """The key of a pack in its target."""
    name = str(UUID(bytes=uuid))
    return f"packs/{name[-2:]}/{name}.pack"


class Header(NamedTuple):
    uuid: bytes
    store: bytes


class RecordHeader(NamedTuple):
    codec: int
    stored: int
    plain: int
    id: BlockId


class Trailer(NamedTuple):
    footer_offset: int
    footer_length: int
    footer_digest: bytes
    digest: bytes


def encode_header(uuid: bytes, store: bytes) -> bytes:
    head = _HEADER.pack(HEADER_MAGIC, VERSION, HEADER_SIZE, 0, 0, uuid, store, NO_KEY, 0)
    return head + _pack_crc(_crc32c(head))


def decode_header(data: Buffer) -> Header:
    """Raises ``Damaged``, or ``FormatError`` when a newer version has written it."""
    raw = bytes(memoryview(data)[:HEADER_SIZE])
    if len(raw) < HEADER_SIZE or raw[:8] != HEADER_MAGIC:
        raise Damaged("not a pack: its header is missing")
    magic_version = _HEADER.unpack_from(raw)
    if _CRC.unpack_from(raw, _HEADER.size)[0] != _crc32c(raw[: _HEADER.size]):
        raise Damaged("the header of a pack is damaged")
    _, version, _, scheme, _, uuid, store, _, _ = magic_version
    if version > VERSION:
        raise newer(f"the pack {UUID(bytes=uuid)}", Format.PACK, version)
    if scheme:
        raise FormatError(f"a pack is encrypted by scheme {scheme}, which this version does not know")
    return Header(uuid, store)


def encode_record(block: BlockId, codec: int, stored: int, plain: int) -> bytes:
    """The header of a record; the payload follows it."""
    head = _pack_record(RECORD_MAGIC, codec, stored, plain, block)
    return head + _pack_crc(_crc32c(head))


def decode_record(data: Buffer, offset: int = 0) -> RecordHeader | None:
    """The record header at ``offset``, or None when there is no good one."""
    raw = bytes(memoryview(data)[offset : offset + RECORD_HEADER])
    if len(raw) < RECORD_HEADER or raw[:4] != RECORD_MAGIC:
        return None
    if _CRC.unpack_from(raw, _RECORD.size)[0] != _crc32c(raw[: _RECORD.size]):
        return None
    _, codec, stored, plain, block = _RECORD.unpack_from(raw)
    return RecordHeader(codec, stored, plain, block)


def encode_padding(offset: int) -> bytes:
    """What fills a pack of ``offset`` bytes up to a multiple of ``ALIGNMENT``; empty when it is one."""
    gap = -offset % ALIGNMENT
    if gap == 0:
        return b""
    if gap < RECORD_HEADER:
        gap += ALIGNMENT
    length = gap - RECORD_HEADER
    return encode_record(BlockId(bytes(32)), PADDING, length, 0) + bytes(length)


class Records:
    """The index of a pack's records, in columns: small, quick to parse, and searched by ``bytes.find``."""

    __slots__ = ("codecs", "ids", "offsets", "plain", "stored")

    def __init__(self) -> None:
        self.ids = bytearray()
        self.offsets = array("I")
        self.stored = array("I")
        self.plain = array("I")
        self.codecs = bytearray()

    def __len__(self) -> int:
        return len(self.codecs)

    def add(self, block: BlockId, offset: int, stored: int, plain: int, codec: int) -> None:
        self.ids += block
        self.offsets.append(offset)
        self.stored.append(stored)
        self.plain.append(plain)
        self.codecs.append(codec)

    def id(self, index: int) -> BlockId:
        return BlockId(bytes(self.ids[index * 32 : index * 32 + 32]))

    def find(self, block: BlockId) -> int:
        """The index of a block's record, or -1."""
        at = self.ids.find(block)
        while at >= 0 and at % 32:
            at = self.ids.find(block, at + 1)
        return at // 32 if at >= 0 else -1

    def end(self, index: int) -> int:
        """Where the record at ``index`` ends in the pack."""
        return self.offsets[index] + RECORD_HEADER + self.stored[index]

    @property
    def nbytes(self) -> int:
        return 45 * len(self.codecs) + 500

    def encode(self) -> bytes:
        """The footer as stored."""
        parts = [_CRC.pack(len(self)), bytes(self.ids)]
        parts += [_little(column).tobytes() for column in (self.offsets, self.stored, self.plain)]
        parts.append(bytes(self.codecs))
        return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(b"".join(parts))

    @classmethod
    def decode(cls, footer: Buffer) -> Records:
        """Raises ``Damaged``."""
        try:
            plain = zstandard.ZstdDecompressor().decompress(memoryview(footer), max_output_size=MAX_FOOTER)
        except zstandard.ZstdError as error:
            raise Damaged(f"the footer of a pack does not decompress: {error}") from error
        count = _CRC.unpack_from(plain)[0] if len(plain) >= 4 else -1
        if len(plain) != 4 + 45 * count:
            raise Damaged("the footer of a pack has the wrong length")
        view = memoryview(plain)
        at = 4
        result = cls()
        result.ids += view[at : at + 32 * count]
        at += 32 * count
        for column in (result.offsets, result.stored, result.plain):
            column.frombytes(view[at : at + 4 * count])
            if sys.byteorder == "big":
                column.byteswap()
            at += 4 * count
        result.codecs += view[at:]
        return result


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return column
    swapped = array("I", column)
    swapped.byteswap()
    return swapped


def pack_digest(header: Buffer, footer: Buffer) -> bytes:
    """What the whole pack is known by. The footer has the ids of all blocks, and so it speaks for every
    byte of them (docs/adr/0009-pack-digest.md)."""
    return blake3(header).update(footer).digest()


def encode_trailer(footer_offset: int, footer: Buffer, header: Buffer) -> bytes:
    length = memoryview(footer).nbytes
    digest = pack_digest(header, footer)
    head = _TRAILER.pack(footer_offset, length, 0, blake3(footer).digest(), digest)
    return head + _pack_crc(_crc32c(head)) + TRAILER_MAGIC


def decode_trailer(data: Buffer, pack_length: int) -> Trailer | None:
    """``data``: the last ``TRAILER_SIZE`` bytes of a pack. None when there is no good trailer."""
    raw = bytes(data)
    if len(raw) != TRAILER_SIZE or raw[-8:] != TRAILER_MAGIC:
        return None
    if _CRC.unpack_from(raw, _TRAILER.size)[0] != _crc32c(raw[: _TRAILER.size]):
        return None
    offset, length, _, footer_digest, digest = _TRAILER.unpack_from(raw)
    if offset < HEADER_SIZE or offset + length + TRAILER_SIZE != pack_length:
        return None
    return Trailer(offset, length, footer_digest, digest)


def new_uuid() -> bytes:
    """A UUIDv7 (RFC 9562): sorts by the time of creation."""
    value = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    value[6] = 0x70 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return bytes(value)
