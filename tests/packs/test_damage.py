"""Torn and flipped bytes: what is good is served, what is not is named, nothing is made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graviton_server.packs.format import (
    HEADER_SIZE,
    RECORD_HEADER,
    RECORD_MAGIC,
    Records,
    encode_header,
    encode_padding,
    encode_record,
    new_uuid,
    pack_key,
)
from graviton_server.packs.scan import scan_all
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.memory_registry import MemoryRegistry
from packs.rig import STORE, Rig, block, random_blocks


def build_pack(uuid: bytes, blocks: list[Block], *, pad_after: int = -1) -> tuple[bytes, Records]:
    """A pack without footer and trailer, as its writer would have it in the file."""
    data = bytearray(encode_header(uuid, STORE))
    records = Records()
    for at, one in enumerate(blocks):
        payload = bytes(one.payload)
        records.add(one.id, len(data), len(payload), one.plain_length, one.codec)
        data += encode_record(one.id, one.codec, len(payload), one.plain_length) + payload
        if at == pad_after:
            data += encode_padding(len(data))
    return bytes(data), records


def ids(records: Records) -> list[BlockId]:
    return [records.id(at) for at in range(len(records))]


def small_blocks() -> list[Block]:
    return [block(os.urandom(20)), block(b"ab" * 200, level=1), block(os.urandom(1)), block(os.urandom(33))]


def test_a_pack_torn_at_any_byte_gives_every_whole_record_and_no_other() -> None:
    blocks = small_blocks()
    data, records = build_pack(new_uuid(), blocks, pad_after=1)
    ends = [records.end(at) for at in range(len(records))]
    for length in range(len(data) + 1):
        scanned = scan_all(data[:length], b"")
        whole = sum(end <= length for end in ends)
        assert [scanned.records.id(at) for at in range(len(scanned.records))] == [
            b.id for b in blocks[:whole]
        ]
        assert scanned.damaged == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_costs_at_most_the_record_it_hits(data: st.DataObject) -> None:
    blocks = [block(bytes([number]) * 40 + bytes(range(50))) for number in range(6)]
    pack, records = build_pack(bytes(16), blocks, pad_after=2)
    bit = data.draw(st.integers(HEADER_SIZE * 8, len(pack) * 8 - 1))
    changed = bytearray(pack)
    changed[bit // 8] ^= 1 << bit % 8
    scanned = scan_all(bytes(changed), b"")
    found = set(ids(scanned.records))
    hit = {blocks[at].id for at in range(6) if records.offsets[at] <= bit // 8 < records.end(at)}
    assert found == {one.id for one in blocks} - hit


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([b"", RECORD_MAGIC, RECORD_MAGIC * 3]))
def test_records_behind_any_bytes_are_found(junk: bytes, magic: bytes) -> None:
    blocks = [block(bytes([number]) * 100) for number in range(6)]
    first, _ = build_pack(bytes(16), blocks[:3])
    second, _ = build_pack(bytes(16), blocks[3:])
    scanned = scan_all(first + junk + magic + second[HEADER_SIZE:], b"")
    assert ids(scanned.records) == [one.id for one in blocks]
    assert scanned.skipped == len(junk + magic)


def left_open(root: Path, data: bytes) -> Rig:
    """A store whose process died with a pack of these bytes open."""
    rig = Rig(root)
    rig.close()
    uuid = data[16:32]
    path = root / "target" / pack_key(uuid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    rig.registry = MemoryRegistry()
    rig.registry.begin(uuid, "engine-0", PackState.LIVE)
    rig.open()
    return rig


@pytest.mark.parametrize("cut", [0, 1, 30, 33, 34, 60, 90, 150])
def test_a_torn_pack_is_sealed_with_what_is_good(tmp_path: Path, cut: int) -> None:
    blocks = small_blocks()
    data, records = build_pack(new_uuid(), blocks)
    length = len(data) - cut
    rig = left_open(tmp_path, data[:length])
    kept = [one for at, one in enumerate(blocks) if records.end(at) <= length]
    assert rig.report.sealed == 1
    assert [record.id for record in rig.store.records(PackNumber(1))] == [one.id for one in kept]
    assert list(rig.store.verify_pack(PackNumber(1))) == []
    for one in kept:
        rig.read(one)
    for one in blocks[len(kept) :]:
        with pytest.raises(Damaged):
            rig.read(one, 1)
    row = rig.registry.get(PackNumber(1))
    assert row is not None
    assert row.length == rig.pack_files()[0].stat().st_size
    assert row.blocks == len(kept)
    before = rig.pack_files()[0].read_bytes()
    rig.store.put(random_blocks(3, 100))
    rig.reopen()
    assert rig.report.sealed == 0
    assert before in [path.read_bytes() for path in rig.pack_files()]
    rig.close()


def test_a_pack_with_a_header_and_nothing_else_is_given_up(tmp_path: Path) -> None:
    rig = left_open(tmp_path, encode_header(new_uuid(), STORE))
    assert rig.report.abandoned == 1
    rows = rig.registry.rows()
    assert rows[0].state is PackState.ABANDONED
    rig.close()


def test_a_pack_whose_file_never_came_to_be_is_given_up(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.close()
    rig.registry.begin(new_uuid(), "engine-0", PackState.LIVE)
    rig.open()
    assert rig.report.abandoned == 1
    rig.close()


def test_a_damaged_header_does_not_cost_the_records(tmp_path: Path) -> None:
    blocks = small_blocks()
    data, _ = build_pack(new_uuid(), blocks)
    broken = data[:40] + b"\0" * 20 + data[60:]
    rig = left_open(tmp_path, broken)
    for one in blocks:
        rig.read(one)
    assert any("header" in problem.what for problem in rig.store.verify_pack(PackNumber(1)))
    rig.close()


def test_damage_in_the_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    blocks = [block(os.urandom(5000)) for _ in range(8)]
    data, records = build_pack(new_uuid(), blocks)
    at = records.offsets[3]
    broken = data[: at - 10] + os.urandom(100) + data[at + 90 :]
    rig = left_open(tmp_path, broken)
    for number, one in enumerate(blocks):
        if number in (2, 3):
            with pytest.raises(Damaged, match=one.id.hex()):
                rig.read(one, 1)
        else:
            assert rig.read(one) == one.payload
    assert rig.report.damaged == [blocks[2].id]
    assert rig.report.skipped_bytes > 5000
    rig.close()


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


def test_a_flipped_byte_is_damage_of_exactly_that_block(rig: Rig) -> None:
    blocks = random_blocks(10, 50_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    record = rig.store.records(packs[4])[4]
    flip(rig.pack_files()[0], record.offset + RECORD_HEADER + 777)
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    answers = rig.store.get(wanted)
    assert [bytes(next(answers)) for _ in range(4)] == [one.payload for one in blocks[:4]]
    with pytest.raises(Damaged, match=blocks[4].id.hex()):
        next(answers)
    assert [bytes(data) for data in rig.store.get(wanted[5:])] == [one.payload for one in blocks[5:]]
    assert rig.store.get_cached(blocks[4].id, packs[4]) is None
    assert blocks[4].id not in dict(rig.store.near(blocks[3].id, packs[3], 1 << 20))
    assert blocks[9].id in dict(rig.store.near(blocks[3].id, packs[3], 1 << 20))
    with pytest.raises(Damaged, match=blocks[4].id.hex()):
        rig.store.near(blocks[4].id, packs[4], 1 << 20)


def test_stored_blocks_may_be_damaged_but_are_no_others(rig: Rig) -> None:
    """Who asks for them verifies; a record that is another block's is not answered with."""
    blocks = random_blocks(4, 50_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    records = rig.store.records(packs[0])
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    flip(rig.pack_files()[0], records[1].offset + RECORD_HEADER + 777)
    found = list(rig.store.stored(wanted))
    assert [bytes(one.payload) == block.payload for one, block in zip(found, blocks, strict=True)] == [
        True,
        False,
        True,
        True,
    ]
    flip(rig.pack_files()[0], records[2].offset + RECORD_HEADER - 10)
    answers = rig.store.stored(wanted)
    assert [next(answers).id for _ in range(2)] == [blocks[0].id, blocks[1].id]
    assert bytes(next(answers).payload) == blocks[2].payload  # found by another way, and verified


def test_a_damaged_block_is_stored_again_when_it_is_written_again(rig: Rig) -> None:
    blocks = random_blocks(3, 50_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    flip(rig.pack_files()[0], rig.store.records(packs[1])[1].offset + RECORD_HEADER)
    with pytest.raises(Damaged):
        rig.read(blocks[1], packs[1])
    again = rig.store.put(blocks)
    assert again[0] == packs[0]
    assert again[1] != packs[1]
    assert rig.read(blocks[1], packs[1]) == blocks[1].payload  # the old hint still leads there
    rig.reopen()
    assert rig.read(blocks[1], packs[1]) == blocks[1].payload


@pytest.mark.parametrize("offset", [0, 20, 40, 70, -1, -10, -50, -80, -100])
def test_verify_tells_a_damaged_frame(rig: Rig, offset: int) -> None:
    """Header, trailer and footer."""
    packs = rig.store.put(random_blocks(10, 20_000))
    rig.reopen()
    path = rig.pack_files()[0]
    flip(path, offset % path.stat().st_size)
    assert [problem.block for problem in rig.store.verify_pack(packs[0])][:1] == [None]


def test_verify_names_every_damaged_block(rig: Rig) -> None:
    blocks = random_blocks(10, 20_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    assert list(rig.store.verify_pack(packs[0])) == []
    path = rig.pack_files()[0]
    records = rig.store.records(packs[0])
    flip(path, records[2].offset + RECORD_HEADER + 5)
    flip(path, records[7].offset + 20)
    problems = list(rig.store.verify_pack(packs[0]))
    assert {problem.block for problem in problems} == {blocks[2].id, blocks[7].id}
    assert rig.store.missing([blocks[2].id]) == [0]


@pytest.mark.parametrize("place", ["footer", "trailer"])
def test_a_sealed_pack_without_a_good_footer_is_still_served(rig: Rig, tmp_path: Path, place: str) -> None:
    blocks = random_blocks(10, 20_000)
    packs = rig.store.put(blocks)
    rig.close()
    path = rig.pack_files()[0]
    flip(path, path.stat().st_size - (5 if place == "trailer" else 200))
    fresh = Rig(tmp_path / "other", registry=rig.registry)
    fresh.close()
    fresh.root = rig.root
    for left in (rig.root / "index").iterdir():
        left.unlink()
    fresh.open()
    assert fresh.report.replayed == 10
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    assert [bytes(data) for data in fresh.store.get(wanted)] == [one.payload for one in blocks]
    assert any(place in problem.what for problem in fresh.store.verify_pack(packs[0]))
    fresh.close()


def test_a_truncated_sealed_pack_serves_what_is_left(rig: Rig) -> None:
    blocks = random_blocks(10, 20_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    os.truncate(rig.pack_files()[0], 100_000)
    for one in blocks[:4]:
        assert rig.read(one, packs[0]) == one.payload
    with pytest.raises(Damaged):
        rig.read(blocks[9], packs[9])
    assert rig.read(blocks[0], packs[0]) == blocks[0].payload


def test_a_missing_pack_is_damage_of_its_blocks_alone(rig: Rig) -> None:
    first, second = random_blocks(2, 600_000)
    packs = rig.store.put([first])
    rig.reopen()
    packs += rig.store.put([second])
    rig.reopen()
    rig.target.delete(rig.store.pack_path(packs[0]))
    with pytest.raises(Damaged, match=first.id.hex()):
        rig.read(first, packs[0])
    assert rig.read(second, packs[1]) == second.payload
    assert "packs/" in next(rig.store.verify_pack(packs[0])).what
    assert rig.store.put([first]) != [packs[0]]
