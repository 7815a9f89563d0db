"""Boundaries and digests are part of the format: a library that moves them must fail here."""

from __future__ import annotations

import hashlib

import pytest

from gravitonfs.core.chunking import Chunker
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.hashing import EMPTY_DIGEST, block_id, content_hasher

FORMAT = VolumeFormat()


def pseudo_random(size: int, seed: bytes = b"graviton") -> bytes:
    """Reproducible bytes that depend on nothing but SHAKE-128."""
    return hashlib.shake_128(seed).digest(size)


DATA = pseudo_random(8 << 20)
LENGTHS = [
    478926,
    123533,
    371432,
    81785,
    265194,
    90604,
    342047,
    850664,
    139496,
    105351,
    268375,
    274123,
    672237,
    126544,
    79266,
    380416,
    291519,
    77572,
    271926,
    342628,
    211561,
    273053,
    331801,
    138768,
    502389,
    406511,
    251309,
    348517,
    273884,
    17177,
]


def test_boundaries_are_pinned() -> None:
    assert Chunker(FORMAT).cut(memoryview(DATA), final=True) == LENGTHS


def test_zeroes_are_cut_at_the_maximum() -> None:
    assert Chunker(FORMAT).cut(memoryview(bytes(3 << 20)), final=True) == [1 << 20] * 3


@pytest.mark.parametrize("piece", [70_000, 1 << 20, 3_000_001])
def test_boundaries_do_not_depend_on_how_the_bytes_arrive(piece: int) -> None:
    chunker = Chunker(FORMAT)
    carry = b""
    lengths: list[int] = []
    for start in range(0, len(DATA), piece):
        part = carry + DATA[start : start + piece]
        cut = chunker.cut(memoryview(part), final=start + piece >= len(DATA))
        lengths += cut
        carry = part[sum(cut) :]
    assert lengths == LENGTHS


def test_bytes_in_front_move_only_the_first_boundaries() -> None:
    def blocks(data: bytes) -> set[bytes]:
        found = set()
        start = 0
        for length in Chunker(FORMAT).cut(memoryview(data), final=True):
            found.add(data[start : start + length])
            start += length
        return found

    before, after = blocks(DATA), blocks(b"inserted" + DATA)
    assert len(before - after) <= 2


def test_digests_are_pinned() -> None:
    assert EMPTY_DIGEST.hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert (
        block_id(DATA[:100_000]).hex() == "1cd4b1edcd287cc498c283aea99d529db9a8066c0c3bfafd010ba751bb7226b2"
    )
    assert (
        block_id(DATA[:1000], key=bytes(range(32))).hex()
        == "6855d1273e7283f8f24e4d03d8684042c221554f553caa5ab6d51ed3fcb93177"
    )
    hasher = content_hasher()
    for start in range(0, len(DATA), 100_001):
        hasher.update(DATA[start : start + 100_001])
    assert hasher.digest() == block_id(DATA)
