"""Bundles of footers: the format, pinned; and what damage does."""

from __future__ import annotations

from pathlib import Path

import pytest

from graviton_server.packs.bundle import Bundle, Layout, encode_bundle, new_key, pack_of
from graviton_server.packs.format import Records
from graviton_server.targets.identity import is_key
from gravitonfs.core.ids import BlockId
from gravitonfs.errors import Damaged, FormatError

GOLDEN = Path(__file__).parent.parent / "golden" / "bundle-v1.footers"
STORE = bytes(range(16))


def golden_packs() -> list[tuple[bytes, int, Records]]:
    packs = []
    for number in range(2):
        records = Records()
        at = 72
        for turn in range(2 + number):
            records.add(BlockId(bytes([number * 16 + turn]) * 32), at, 100 + turn, 200 + turn, turn % 2)
            at += 152 + turn
        packs.append((bytes([number]) * 16, at + 500, records))
    return packs


def same(one: Records, other: Records) -> bool:
    return one.encode() == other.encode()


def test_a_bundle_made_once_is_read_and_made_the_same_today() -> None:
    data = GOLDEN.read_bytes()
    assert encode_bundle(STORE, golden_packs()) == data
    Layout(data).verify(data, STORE)
    bundle = Bundle(data)
    assert [(pack.uuid, pack.length) for pack in bundle.packs] == [p[:2] for p in golden_packs()]
    for pack, (_, _, records) in zip(bundle.packs, golden_packs(), strict=True):
        assert same(bundle.of(pack), records)
    assert [pack_of(bundle.packs, record).uuid[0] for record in range(5)] == [0, 0, 1, 1, 1]


def test_damage_anywhere_is_found() -> None:
    data = GOLDEN.read_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 4
        with pytest.raises((Damaged, FormatError)):
            Layout(changed).verify(changed, STORE)
    for length in (0, 10, 76, len(data) - 1):
        with pytest.raises(Damaged):
            Layout(data[:length]).verify(data[:length], STORE)
    with pytest.raises(Damaged, match="another store"):
        Layout(data).verify(data, bytes(16))


def test_a_newer_format_is_refused() -> None:
    import google_crc32c

    changed = bytearray(GOLDEN.read_bytes())
    changed[8] = 2
    changed[72:76] = google_crc32c.value(bytes(changed[:72])).to_bytes(4, "little")
    with pytest.raises(FormatError, match="newer graviton"):
        Layout(changed)


def test_an_empty_bundle_and_a_pack_without_records() -> None:
    for packs in ([], [(bytes(16), 164, Records())], [*golden_packs(), (b"x" * 16, 164, Records())]):
        data = encode_bundle(STORE, packs)
        Layout(data).verify(data, STORE)
        assert len(Bundle(data).packs) == len(packs)


def test_keys_are_those_of_a_target() -> None:
    assert is_key(new_key())
