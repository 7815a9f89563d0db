"""Identifiers, as they appear in formats and on wires."""

from __future__ import annotations

import re
from typing import NamedTuple, NewType

from gravitonfs.errors import Invalid

Ino = NewType("Ino", int)
"""Inode number, 1 or more; unique in the whole store. 0 means none."""
ContentId = NewType("ContentId", int)
"""The extent map of a file; 0 means that the file never had bytes."""
BlockId = NewType("BlockId", bytes)
"""BLAKE3-256 of a block's plain bytes: 32 bytes."""
PackNumber = NewType("PackNumber", int)
"""Row number of a pack, 1 or more; the *hint* of an extent is one. 0 means none, or a loose block."""

ROOT_INO = Ino(1)
"""The root of the first volume, ``main``."""
NO_INO = Ino(0)
NO_CONTENT = ContentId(0)
NO_PACK = PackNumber(0)
HOLE = BlockId(bytes(32))
"""Stands where an extent is a hole: the range reads as zeroes and hides what lay there before."""

DIGEST_SIZE = 32
NAME_MAX = 255

_BLOB = re.compile(r"blake3:([0-9a-f]{64}):(0|[1-9][0-9]{0,18})")


class BlobId(NamedTuple):
    """A sealed content's address: ``blake3:<hex>:<length>``."""

    digest: bytes
    length: int

    def __str__(self) -> str:
        return f"blake3:{self.digest.hex()}:{self.length}"

    @classmethod
    def parse(cls, text: str) -> BlobId:
        match = _BLOB.fullmatch(text)
        if match is None:
            raise Invalid(f"{text[:100]!r} is no blob id; expected blake3:<64 hex digits>:<length>")
        return cls(bytes.fromhex(match[1]), int(match[2]))
