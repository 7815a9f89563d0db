"""Packs that go up whole: the suites, and what is particular to this way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.targets.s3 import S3Target
from graviton_server.targets.staged import StagedTarget
from gravitonfs.core.hashing import block_id
from gravitonfs.errors import Damaged, GravitonError, NoSpace, Unavailable
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.target import Target
from gravitonfs.testing.blockstore_suite import BlockStoreSuite
from gravitonfs.testing.faulty import Faults, FaultyTarget, full
from gravitonfs.testing.target_suite import TargetSuite
from harness.buckets import settings
from harness.s3server import S3Server
from packs.rig import STORE, random_blocks
from packs.staged_rig import Shared, StagedRig, directory

LIVE = PackState.LIVE


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    target = directory(tmp_path / "target")
    yield Shared(target)
    target.close()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def rig(shared: Shared, tmp_path: Path, faults: Faults) -> Iterator[StagedRig]:
    made = StagedRig(shared, tmp_path / "one", wrap=lambda target: FaultyTarget(target, faults))  # type: ignore[arg-type]
    yield made
    faults.heal()
    made.close()


@pytest.fixture
def filed(shared: Shared, tmp_path: Path) -> Iterator[StagedRig]:
    """Where packs are staged in files at once."""
    made = StagedRig(shared, tmp_path / "one", memory=0)
    yield made
    made.close()


class TestStagedTarget(TargetSuite):
    @pytest.fixture
    def target(self, shared: Shared, tmp_path: Path) -> Target:
        return StagedTarget(shared.target, tmp_path / "staging")


class TestStagedPackStore(BlockStoreSuite):
    @pytest.fixture
    def store(self, rig: StagedRig) -> BlockStore:
        return rig.store


class TestStagedPackStoreOnS3(BlockStoreSuite):
    @pytest.fixture
    def store(self, s3_server: S3Server, tmp_path: Path) -> Iterator[BlockStore]:
        target = S3Target.make(settings(s3_server), STORE)
        rig = StagedRig(Shared(target), tmp_path / "one", pack_size=8 << 20)
        yield rig.store
        rig.close()
        target.close()


def test_nothing_is_on_the_target_before_sync_and_all_of_it_after(rig: StagedRig, shared: Shared) -> None:
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    assert shared.keys() == set()
    assert rig.store.waiting(packs)
    assert {row.state for row in shared.rows(LIVE, PackState.STORING)} == {PackState.STORING}
    rig.store.sync(packs)
    assert not rig.store.waiting(packs)
    rows = shared.rows(LIVE)
    assert [row.number for row in rows] == sorted(set(packs))
    assert shared.keys() == {rig.store.pack_path(row.number) for row in rows}
    assert rows[0].blocks == 5
    assert rig.staging_files() == []
    for row in rows:
        assert list(rig.store.verify_pack(row.number)) == []


def test_full_packs_go_up_by_themselves(rig: StagedRig, shared: Shared) -> None:
    blocks = random_blocks(60, 100_000)
    packs = rig.store.put(blocks)
    rig.store.sync(packs[:50])  # all but the last few: those packs are full
    assert len(shared.rows(LIVE)) >= 5
    for one, pack in zip(blocks, packs, strict=True):
        assert rig.read(one, pack) == one.payload


def test_a_sync_whose_upload_fails_is_made_good_by_the_next(
    rig: StagedRig, shared: Shared, faults: Faults
) -> None:
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    faults.fail("put", times=2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            rig.store.sync(packs)
        assert shared.keys() == set()
        assert all(rig.read(one, packs[0]) == one.payload for one in blocks)
    assert rig.store.put(blocks) == packs  # nothing has to be sent again
    rig.store.sync(packs)
    assert len(shared.rows(LIVE)) == 1
    rig.reopen()
    assert all(rig.read(one) == one.payload for one in blocks)


def test_a_full_or_forbidden_bucket_is_told_and_over_when_it_is_mended(
    rig: StagedRig, shared: Shared, faults: Faults
) -> None:
    blocks = random_blocks(30, 100_000)
    faults.fail("put", times=1000, error=full)
    packs = rig.store.put(blocks)
    with pytest.raises(NoSpace):
        rig.store.sync(packs)
    faults.heal()
    rig.store.sync(packs)
    assert all(rig.read(one, pack) == one.payload for one, pack in zip(blocks, packs, strict=True))
    assert {row.state for row in shared.rows(*PackState)} <= {LIVE, PackState.STORING}


def test_an_answer_to_an_upload_that_got_lost_changes_nothing(
    rig: StagedRig, shared: Shared, faults: Faults
) -> None:
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    faults.fail("put", after=True)
    with pytest.raises(Unavailable):
        rig.store.sync(packs)
    assert shared.rows(LIVE) == []
    rig.store.sync(packs)
    assert len(shared.keys()) == len(shared.rows(LIVE)) == 1


def test_blocks_of_a_pack_that_a_cleaner_took_are_stored_elsewhere(rig: StagedRig, shared: Shared) -> None:
    """As after a long pause of this process: others took it for dead."""
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    shared.registry.leave(rig.owner)
    assert shared.registry.abandon_dead(10**15) != []
    with pytest.raises(Unavailable, match="taken for dead"):
        rig.store.sync(packs)
    rig.store.sync(packs)  # waits until they have another pack
    again = rig.store.put(blocks)
    assert not set(again) & set(packs)
    rig.store.sync(again)
    assert {row.number for row in shared.rows(LIVE)} == set(again)
    assert all(rig.read(one, packs[0]) == one.payload for one in blocks)


def test_many_writers_share_packs(rig: StagedRig, shared: Shared) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(_: int) -> None:
        for _ in range(5):
            blocks = random_blocks(4, 30_000)
            packs = rig.stored(blocks)
            assert all(rig.read(one, pack) == one.payload for one, pack in zip(blocks, packs, strict=True))
            live = {row.number for row in shared.rows(LIVE)}
            assert set(packs) <= live

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_draining_puts_loose_blocks_into_one_pack(rig: StagedRig, shared: Shared, faults: Faults) -> None:
    loose = random_blocks(300, 3000)
    shared.loose.add(loose)
    faults.fail("put")
    with pytest.raises(GravitonError):
        rig.store.drain_loose()
    assert shared.loose.loose_bytes() == 900_000
    assert rig.store.drain_loose() == 300
    assert shared.loose.loose_bytes() == 0
    assert len(shared.rows(LIVE)) <= 2
    assert all(rig.read(one) == one.payload for one in loose)


def test_small_packs_are_merged(rig: StagedRig, shared: Shared) -> None:
    blocks = random_blocks(20, 20_000)
    for one in blocks:
        rig.stored([one])
    assert len(shared.rows(LIVE)) == 20
    moved = set()
    for row in shared.rows(LIVE):
        moved.update(rig.store.relocate(row.number, {one.id for one in blocks}).packs)
    rig.store.sync(sorted(moved))
    assert len(moved) == 1
    assert set(rig.store.missing([one.id for one in blocks])) == moved


@pytest.mark.parametrize("method", ["put", "get", "head"])
@pytest.mark.parametrize("on", [1, 2, 4])
def test_whatever_fails_once_loses_nothing_acknowledged(
    rig: StagedRig, tmp_path: Path, faults: Faults, method: str, on: int
) -> None:
    faults.fail(method, on=on)
    durable = []
    for _ in range(8):
        blocks = random_blocks(3, 30_000)
        try:
            packs = rig.stored(blocks)
        except GravitonError:
            continue
        durable += list(zip(blocks, packs, strict=True))
    assert len(durable) >= 21
    faults.heal()
    left = rig.after_kill(tmp_path / "killed")
    for one, pack in durable:
        assert left.read(one, pack) == one.payload
    left.close()


# --- in memory, and beyond it ---


def test_packs_are_staged_in_memory_while_there_is_room(shared: Shared, tmp_path: Path) -> None:
    rig = StagedRig(shared, tmp_path / "one", memory=400_000)
    blocks = random_blocks(8, 40_000)
    packs = rig.store.put(blocks)
    assert rig.staging_files() == []
    more = random_blocks(8, 40_000)
    packs += rig.store.put(more)
    assert len(rig.staging_files()) == 1
    everything = blocks + more
    assert all(rig.read(one, pack) == one.payload for one, pack in zip(everything, packs, strict=True))
    rig.store.sync(packs)
    assert rig.staging_files() == []
    again = random_blocks(8, 40_000)  # the room is given back
    rig.store.put(again)
    assert rig.staging_files() == []
    everything += again
    rig.reopen()
    assert all(rig.read(one) == one.payload for one in everything)
    rig.close()


def test_a_buffer_that_its_owner_uses_again_is_copied(rig: StagedRig) -> None:
    payload = bytearray(os.urandom(200_000))
    block = Block(block_id(payload), 0, len(payload), payload)
    kept = bytes(payload)
    packs = rig.store.put([block])
    payload[:] = bytes(len(payload))
    assert rig.read(block, packs[0]) == kept
    rig.store.sync(packs)
    assert rig.read(block, packs[0]) == kept


def test_what_cannot_go_up_is_kept_in_a_file(rig: StagedRig, tmp_path: Path, faults: Faults) -> None:
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    assert rig.staging_files() == []
    faults.fail("put", times=1_000)
    with pytest.raises(GravitonError):
        rig.close()
    faults.heal()
    assert len(rig.staging_files()) == 1
    rig.open()
    assert rig.report.adopted == 1
    assert all(rig.read(one, pack) == one.payload for one, pack in zip(blocks, packs, strict=True))


# --- a start after a crash ---


def test_what_a_dead_process_had_staged_is_adopted(filed: StagedRig, shared: Shared, tmp_path: Path) -> None:
    blocks = random_blocks(5, 40_000)
    packs = filed.store.put(blocks)
    left = filed.after_kill(tmp_path / "killed")
    assert left.report.adopted == 1
    assert [row.number for row in shared.rows(LIVE)] == sorted(set(packs))
    assert left.staging_files() == []
    assert left.store.missing([one.id for one in blocks]) == packs
    assert all(left.read(one, packs[0]) == one.payload for one in blocks)
    assert list(left.store.verify_pack(packs[0])) == []
    left.close()


def test_of_a_torn_staged_file_the_good_records_are_adopted(
    filed: StagedRig, shared: Shared, tmp_path: Path
) -> None:
    blocks = random_blocks(5, 40_000)
    packs = filed.store.put(blocks)
    path = next(path for path in filed.staging_files() if path.stat().st_size > 40_000)
    data = path.read_bytes()
    path.write_bytes(data[:-50_000])
    left = filed.after_kill(tmp_path / "killed")
    assert left.store.missing([one.id for one in blocks]) == [*packs[:3], 0, 0]
    assert list(left.store.verify_pack(packs[0])) == []
    left.close()
    path.write_bytes(data)


def test_without_a_staged_file_an_upload_that_was_finished_counts(
    rig: StagedRig, shared: Shared, tmp_path: Path
) -> None:
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    publish = shared.registry.publish
    shared.registry.publish = lambda *_: (_ for _ in ()).throw(Unavailable("killed here"))  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        rig.store.sync(packs)
    shared.registry.publish = publish  # type: ignore[method-assign]
    copy = tmp_path / "killed"
    for path in rig.staging_files():
        path.rename(path.with_suffix(".gone"))
    left = rig.after_kill(copy)
    assert left.report.adopted == 1
    assert {row.number for row in shared.rows(LIVE)} == set(packs)
    assert left.read(blocks[0]) == blocks[0].payload
    left.close()


def test_what_never_went_up_is_given_up(rig: StagedRig, shared: Shared, tmp_path: Path) -> None:
    packs = rig.store.put(random_blocks(5, 40_000))
    for path in rig.staging_files():
        path.unlink()
    left = rig.after_kill(tmp_path / "killed")
    assert {row.number for row in shared.rows(PackState.ABANDONED)} >= set(packs)
    assert shared.rows(LIVE) == []
    left.close()
    with pytest.raises(Unavailable, match="taken for dead"):
        rig.close()


def test_a_close_that_cannot_upload_says_so_and_leaves_the_file(
    shared: Shared, tmp_path: Path, faults: Faults
) -> None:
    rig = StagedRig(shared, tmp_path / "two", wrap=lambda target: FaultyTarget(target, faults))  # type: ignore[arg-type]
    blocks = random_blocks(5, 40_000)
    rig.store.put(blocks)
    faults.fail("put", times=100)
    with pytest.raises(Unavailable):
        rig.close()
    faults.heal()
    rig.open()
    assert rig.report.adopted == 1
    assert all(rig.read(one) == one.payload for one in blocks)
    rig.close()


# --- reading ---


def test_flipped_bits_on_the_way_in_are_never_handed_out(rig: StagedRig, faults: Faults) -> None:
    blocks = random_blocks(4, 10_000)
    packs = rig.stored(blocks)
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    faults.flip("get", bit=8 * 500, times=2)
    assert [bytes(data) for data in rig.store.get(wanted)] == [one.payload for one in blocks]


def test_a_lost_pack_is_damaged_never_short(rig: StagedRig, shared: Shared) -> None:
    blocks = random_blocks(4, 10_000)
    packs = rig.stored(blocks)
    shared.target.delete(rig.store.pack_path(packs[0]))
    with pytest.raises(Damaged, match=blocks[0].id.hex()):
        rig.read(blocks[0], packs[0])
