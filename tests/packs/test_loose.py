"""Loose blocks: readable wherever they are, drained into packs, never dropped before they are durable."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.faulty import Faults, FaultyTarget
from packs.rig import Rig, block, random_blocks


def test_loose_blocks_are_read_by_every_way(rig: Rig) -> None:
    loose = [*random_blocks(3, 5000), block(b"packed " * 500, level=1)]
    rig.loose.add(loose)
    plain = [*(one.payload for one in loose[:3]), b"packed " * 500]
    assert [bytes(data) for data in rig.store.get([(one.id, PackNumber(0)) for one in loose])] == plain
    cached = rig.store.get_cached(loose[3].id, PackNumber(0))
    assert cached is not None
    assert bytes(cached) == plain[3]
    assert [bytes(data) for _, data in rig.store.near(loose[1].id, PackNumber(0), 1 << 20)] == [plain[1]]


def test_draining_moves_them_into_packs(rig: Rig) -> None:
    loose = random_blocks(30, 5000)
    rig.loose.add(loose)
    assert rig.store.drain_loose() == 30
    assert rig.loose.loose_bytes() == 0
    assert 0 not in rig.store.missing([one.id for one in loose])
    left = rig.after_kill(rig.root / "killed")
    for one in loose:
        assert left.read(one) == one.payload
    left.close()
    assert rig.store.drain_loose() == 0


def test_blocks_that_lay_together_lie_together(rig: Rig) -> None:
    loose = random_blocks(30, 1000)
    rig.loose.add(loose)
    rig.store.drain_loose()
    together = rig.store.near(loose[0].id, PackNumber(0), 64 << 10)
    assert [one for one, _ in together] == [one.id for one in loose]


def test_a_block_of_a_pack_that_goes_away_is_stored_again(rig: Rig) -> None:
    """The index may name a pack that is condemned: draining must not take its word."""
    one = random_blocks(1, 5000)[0]
    packs = rig.store.put([one])
    rig.reopen()
    rig.registry.condemn(packs, rig.registry.clock_ns() + 1)
    rig.loose.add([one])
    rig.store.drain_loose()
    place = rig.store.missing([one.id])[0]
    row = rig.registry.get(place)
    assert row is not None
    assert row.state is PackState.LIVE
    rig.registry.deleting(packs[0])
    rig.store.delete_pack(packs[0])
    assert rig.read(one) == one.payload


@pytest.mark.parametrize("method", ["append", "sync", "create"])
def test_a_drain_that_fails_drops_nothing(tmp_path: Path, method: str) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    loose = random_blocks(10, 5000)
    rig.loose.add(loose)
    faults.fail(method, times=3)
    with pytest.raises(GravitonError):
        rig.store.drain_loose()
    assert rig.loose.loose_bytes() == 50_000
    for one in loose:
        assert rig.read(one) == one.payload
    faults.heal()
    rig.store.drain_loose()
    left = rig.after_kill(tmp_path / "killed")
    for one in loose:
        assert left.read(one) == one.payload
    left.close()
    rig.close()


def test_a_crash_between_sync_and_drop_costs_space_alone(rig: Rig) -> None:
    loose = random_blocks(10, 5000)
    rig.loose.add(loose)
    killed: list[Rig] = []
    drop = rig.loose.loose_drop

    def crash_then_drop(ids: Sequence[BlockId], packs: Sequence[PackNumber]) -> None:
        killed.append(rig.after_kill(rig.root / "killed"))
        drop(ids, packs)

    rig.loose.loose_drop = crash_then_drop  # type: ignore[method-assign]
    rig.store.drain_loose()
    left = killed[0]
    for one in loose:
        assert left.read(one) == one.payload
    assert left.loose.loose_bytes() == 50_000
    left.store.drain_loose()
    assert left.loose.loose_bytes() == 0
    left.reopen()
    for one in loose:
        assert left.read(one) == one.payload
    left.close()


def test_readers_find_blocks_while_they_are_drained(rig: Rig) -> None:
    loose = random_blocks(300, 3000)
    rig.loose.add(loose)
    stop = threading.Event()
    errors: list[Exception] = []

    def read() -> None:
        while not stop.is_set():
            try:
                answers = rig.store.get([(one.id, PackNumber(0)) for one in loose])
                assert [bytes(data) for data in answers] == [one.payload for one in loose]
            except Exception as error:
                errors.append(error)
                raise

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for one in loose:
        rig.loose.add([one])
        rig.store.drain_loose()
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors
