"""The bytes of a footer bundle (docs/format.md): what many packs hold, in one object. Pure: no I/O."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

import google_crc32c
from blake3 import blake3
from typing_extensions import Buffer

from graviton_server.packs.format import Records, new_uuid
from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Damaged

PREFIX: Final = "footers/"
SUFFIX: Final = ".footers"
MAGIC: Final = b"GRVFOOT1"
VERSION: Final = 1

_HEADER = struct.Struct("<8sHHIQ16s32s")
_CRC = struct.Struct("<I")
_PACK = struct.Struct("<16sQII")
HEADER_SIZE: Final = _HEADER.size + _CRC.size
PACK_SIZE: Final = _PACK.size
_COLUMNS: Final = 45
"""Bytes of one record, in all columns together."""


class BundledPack(NamedTuple):
    """``first``: the number of its first record in the bundle."""

    uuid: bytes
    length: int
    first: int
    records: int


def new_key() -> str:
    return f"{PREFIX}{UUID(bytes=new_uuid())}{SUFFIX}"


def encode_bundle(store: bytes, packs: Sequence[tuple[bytes, int, Records]]) -> bytes:
    """``packs``: UUID, length and records of each."""
    total = sum(len(records) for _, _, records in packs)
    parts: list[Buffer] = [_PACK.pack(uuid, length, len(records), 0) for uuid, length, records in packs]
    parts += [bytes(records.ids) for _, _, records in packs]
    for column in ("offsets", "stored", "plain"):
        parts += [_little(getattr(records, column)) for _, _, records in packs]
    parts += [bytes(records.codecs) for _, _, records in packs]
    body = b"".join(parts)
    head = _HEADER.pack(MAGIC, VERSION, HEADER_SIZE, len(packs), total, store, blake3(body).digest())
    return head + _CRC.pack(google_crc32c.value(head)) + body


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = array("I", column)
        column.byteswap()
    return column.tobytes()


class Layout:
    """Where things are in a bundle; from its header and directory alone, or all of it."""

    def __init__(self, data: Buffer) -> None:
        """``data`` has at least the header. Raises ``Damaged``, ``FormatError``."""
        raw = bytes(memoryview(data)[:HEADER_SIZE])
        if len(raw) < HEADER_SIZE or raw[:8] != MAGIC:
            raise Damaged("not a bundle of footers: its header is missing")
        if _CRC.unpack_from(raw, _HEADER.size)[0] != google_crc32c.value(raw[: _HEADER.size]):
            raise Damaged("the header of a bundle of footers is damaged")
        _, version, start, count, self.records, self.store, self.digest = _HEADER.unpack_from(raw)
        if version > VERSION:
            raise newer("a bundle of footers", Format.BUNDLE, version)
        self.directory_end: int = start + count * PACK_SIZE
        self.ids: int = self.directory_end
        self.offsets: int = self.ids + 32 * self.records
        self.stored: int = self.offsets + 4 * self.records
        self.plain: int = self.stored + 4 * self.records
        self.codecs: int = self.plain + 4 * self.records
        self.length: int = self.codecs + self.records
        self._start: int = start

    def packs(self, data: Buffer) -> list[BundledPack]:
        """The directory; ``data`` reaches to ``directory_end``. Raises ``Damaged``."""
        view = memoryview(data)[self._start : self.directory_end]
        if len(view) < self.directory_end - self._start:
            raise Damaged("a bundle of footers ends early")
        result = []
        first = 0
        for uuid, length, count, _ in _PACK.iter_unpack(view):
            result.append(BundledPack(uuid, length, first, count))
            first += count
        if first != self.records:
            raise Damaged("the directory of a bundle of footers is damaged")
        return result

    def verify(self, data: Buffer, store: bytes) -> None:
        """Raises ``Damaged`` unless ``data`` is all of it, and good."""
        view = memoryview(data)
        if len(view) != self.length or blake3(view[self._start :]).digest() != self.digest:
            raise Damaged("a bundle of footers is damaged")
        if self.store != store:
            raise Damaged("a bundle of footers belongs to another store")


class Bundle:
    """All of a bundle, in memory or mapped, verified by the caller."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data)
        self.layout = Layout(self._view)
        self.packs = self.layout.packs(self._view)

    def of(self, pack: BundledPack) -> Records:
        result = Records()
        layout, stop = self.layout, pack.first + pack.records
        result.ids += self._view[layout.ids + 32 * pack.first : layout.ids + 32 * stop]
        for name in ("offsets", "stored", "plain"):
            at = getattr(layout, name)
            column = getattr(result, name)
            column.frombytes(self._view[at + 4 * pack.first : at + 4 * stop])
            if sys.byteorder == "big":
                column.byteswap()
        result.codecs += self._view[layout.codecs + pack.first : layout.codecs + stop]
        return result


def pack_of(packs: Sequence[BundledPack], record: int) -> BundledPack:
    """The pack that a record of the bundle, by its number, is in."""
    return packs[bisect_right(packs, record, key=lambda pack: pack.first) - 1]
