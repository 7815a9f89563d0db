"""Compaction's side: live records move into new packs, look-ups follow, the old pack may go."""

from __future__ import annotations

import threading

import pytest

from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.packs import PackState
from packs.rig import Rig, block, random_blocks


def test_relocated_blocks_outlive_their_pack(rig: Rig) -> None:
    blocks = [*random_blocks(15, 40_000), block(b"much the same " * 9000, level=1)]
    packs = rig.store.put(blocks)
    rig.reopen()
    keep = {one.id for one in blocks[::3]}
    moved = rig.store.relocate(packs[0], keep)
    rig.store.sync(moved.packs)
    assert moved.blocks == len(keep)
    assert not set(moved.packs) & set(packs)
    assert moved.damaged == ()
    assert set(rig.store.missing(list(keep))) == set(moved.packs)
    killed = rig.after_kill(rig.root / "killed")
    assert set(killed.store.missing(list(keep))) <= {*moved.packs}
    killed.close()
    assert rig.registry.condemn(packs[:1], rig.registry.clock_ns() + 1) == packs[:1]
    assert rig.registry.deleting(packs[0])
    rig.store.delete_pack(packs[0])
    rig.registry.deleted(packs[0])
    for _ in range(2):
        for at, one in enumerate(blocks):
            if at % 3 == 0:
                rig.read(one, packs[0])  # by the old hint
            else:
                with pytest.raises(Damaged):
                    rig.read(one, packs[0])
        rig.reopen()
    with pytest.raises(NotFound):
        rig.store.records(packs[0])


def test_blocks_that_another_live_pack_serves_are_not_copied(rig: Rig) -> None:
    blocks = random_blocks(6, 40_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    first = rig.store.relocate(packs[0], {one.id for one in blocks})
    again = rig.store.relocate(packs[0], {one.id for one in blocks})
    assert (first.blocks, again.blocks) == (6, 0)
    rig.registry.condemn(first.packs, rig.registry.clock_ns() + 1)
    assert rig.store.relocate(packs[0], {one.id for one in blocks}).blocks == 6


def test_copies_of_an_earlier_try_are_named_to_be_synced(rig: Rig) -> None:
    """Found by the stress test: they were not durable yet when the old pack was given up."""
    blocks = random_blocks(6, 40_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    keep = {one.id for one in blocks}
    rig.store.relocate(packs[0], keep)  # and its sync fails, or never comes
    again = rig.store.relocate(packs[0], keep)
    rig.store.sync(again.packs)
    assert rig.registry.condemn(packs[:1], rig.registry.clock_ns() + 1) == packs[:1]
    assert rig.registry.deleting(packs[0])
    rig.store.delete_pack(packs[0])
    killed = rig.after_kill(rig.root / "killed")
    for one in blocks:
        assert killed.read(one, packs[0]) == one.payload
    killed.close()


def test_damaged_records_are_told_and_left(rig: Rig) -> None:
    blocks = random_blocks(6, 40_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    record = rig.store.records(packs[0])[2]
    path = rig.pack_files()[0]
    data = bytearray(path.read_bytes())
    data[record.offset + 60] ^= 1
    path.write_bytes(data)
    moved = rig.store.relocate(packs[0], {one.id for one in blocks})
    assert moved.damaged == (blocks[2].id,)
    assert moved.blocks == 5


def test_readers_never_notice_a_compaction(rig: Rig) -> None:
    blocks = random_blocks(20, 20_000)
    packs = rig.store.put(blocks)
    rig.reopen()
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    stop = threading.Event()
    errors: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                assert [bytes(data) for data in rig.store.get(wanted)] == [one.payload for one in blocks]
            except Exception as error:
                errors.append(error)
                raise

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    keep = {one.id for one in blocks}
    current = set(packs)
    for _ in range(15):
        following: set[int] = set()
        for number in current:
            following.update(rig.store.relocate(number, keep).packs)
        rig.store.sync([PackNumber(number) for number in following])
        for number in current:
            rig.registry.condemn([number], rig.registry.clock_ns() + 1)
            rig.store.forget_packs([number])
            rig.registry.deleting(number)
            rig.store.delete_pack(number)
            rig.registry.deleted(number)
        current = set(rig.store.missing([one.id for one in blocks]))
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors
    rows = [row for row in rig.registry.rows() if row.state is PackState.LIVE]
    assert {row.number for row in rows} >= current
