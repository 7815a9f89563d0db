"""The block index: derived, so its loss costs time alone."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from graviton_server.index import COMPLETE, BlockIndex, Location, PackMark
from graviton_server.index.rocks import RocksIndex
from graviton_server.packs.format import new_uuid
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Unavailable
from packs.rig import Rig, random_blocks


def place(pack: int, offset: int = 72) -> Location:
    return Location(PackNumber(pack), offset, 100, 200, 1)


def name(number: int) -> BlockId:
    return BlockId(number.to_bytes(32, "big"))


@pytest.fixture
def index(tmp_path: Path) -> RocksIndex:
    return RocksIndex(tmp_path / "index")


def test_entries_and_marks_come_back(index: RocksIndex, tmp_path: Path) -> None:
    uuid, other = new_uuid(), new_uuid()
    index.write(uuid, PackMark(PackNumber(7), 500), [(name(at), place(7, at)) for at in range(1, 2000)])
    index.write(other, PackMark(PackNumber(1 << 40), COMPLETE), [(name(5000), place(1 << 40, (1 << 32) - 1))])
    index.flush()
    index.close()
    index = RocksIndex(tmp_path / "index")
    assert index.get([name(3), name(9999), name(5000)]) == [
        place(7, 3),
        None,
        place(1 << 40, (1 << 32) - 1),
    ]
    assert index.marks() == {
        uuid: PackMark(PackNumber(7), 500),
        other: PackMark(PackNumber(1 << 40), COMPLETE),
    }
    assert sum(1 for _ in index.entries()) == 2000
    index.close()


def check_forgetting(index: BlockIndex, *, sweep: bool) -> None:
    one, two = PackNumber(1), PackNumber(2)
    index.write(new_uuid(), PackMark(one, COMPLETE), [(name(at), place(1, at)) for at in range(1, 101)])
    index.write(new_uuid(), PackMark(two, COMPLETE), [(name(at), place(2, at)) for at in range(50, 151)])
    if sweep:
        assert index.sweep({PackNumber(1)}) == 49
    else:
        index.forget(PackNumber(1), [name(at) for at in range(1, 101)])
    assert index.get([name(1), name(49)]) == [None, None]
    assert index.get([name(50), name(150)]) == [place(2, 50), place(2, 150)]


@pytest.mark.parametrize("sweep", [False, True])
def test_forgetting_a_pack_keeps_what_moved_on(index: RocksIndex, sweep: bool) -> None:
    check_forgetting(index, sweep=sweep)
    index.close()


def test_a_second_process_is_refused(index: RocksIndex, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="another process"):
        RocksIndex(tmp_path / "index")
    index.close()


def filled(rig: Rig) -> list[tuple[BlockId, PackNumber]]:
    blocks = random_blocks(30, 100_000)
    packs = rig.store.put(blocks)
    rig.close()
    return [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]


def check(rig: Rig, wanted: list[tuple[BlockId, PackNumber]]) -> None:
    assert rig.store.missing([block for block, _ in wanted]) == [pack for _, pack in wanted]
    assert sum(1 for _ in rig.store.get([(block, PackNumber(0)) for block, _ in wanted])) == len(wanted)


def test_a_deleted_index_is_made_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    wanted = filled(rig)
    shutil.rmtree(rig.root / "index")
    with caplog.at_level(logging.WARNING):
        rig.open()
    assert "index" in caplog.text
    assert rig.report.replayed == 30
    check(rig, wanted)


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*", "*"])
def test_a_damaged_index_is_made_again(rig: Rig, victim: str, caplog: pytest.LogCaptureFixture) -> None:
    wanted = filled(rig)
    for path in (rig.root / "index").glob(victim):
        path.write_bytes(b"this is no database")
    with caplog.at_level(logging.WARNING):
        rig.open()
    assert "rebuilt" in caplog.text
    check(rig, wanted)


def test_a_clean_start_reads_no_footer(rig: Rig) -> None:
    filled(rig)
    rig.open()
    assert rig.report.replayed == 0


def test_an_older_index_catches_up(rig: Rig, tmp_path: Path) -> None:
    first = filled(rig)
    shutil.copytree(rig.root / "index", tmp_path / "old")
    rig.open()
    second = filled(rig)
    shutil.rmtree(rig.root / "index")
    shutil.copytree(tmp_path / "old", rig.root / "index")
    rig.open()
    assert rig.report.replayed == 30
    check(rig, first + second)


def test_an_index_of_another_store_is_of_no_harm(rig: Rig, tmp_path: Path) -> None:
    """Same pack numbers, other packs: the uuids in the marks tell."""
    wanted = filled(rig)
    other = Rig(tmp_path / "other")
    foreign = filled(other)
    shutil.rmtree(rig.root / "index")
    shutil.copytree(other.root / "index", rig.root / "index")
    rig.open()
    check(rig, wanted)
    assert rig.store.missing([block for block, _ in foreign]) == [0] * 30


def test_rebuilding_while_the_store_is_open(rig: Rig) -> None:
    wanted = filled(rig)
    rig.open()
    late = random_blocks(4, 50_000)
    packs = rig.store.put(late)
    rig.store.sync(packs)
    steps: list[tuple[int, int]] = []
    assert rig.store.rebuild_index(lambda done, of: steps.append((done, of))) >= 30
    assert steps[-1][0] == steps[-1][1] > 1
    check(rig, wanted + [(one.id, pack) for one, pack in zip(late, packs, strict=True)])


def test_a_pack_of_many_small_blocks_is_indexed_on_the_way(tmp_path: Path) -> None:
    rig = Rig(tmp_path, pack_size=32 << 20)
    blocks = random_blocks(9000, 40)
    packs = rig.store.put(blocks)
    rig.store.sync(packs)
    rig.store.put(random_blocks(10, 40))
    rig.store.barrier()
    left = rig.after_kill(tmp_path / "killed")
    assert 0 not in left.store.missing([one.id for one in blocks])
    left.close()
    rig.close()


def test_a_pack_whose_row_was_never_committed_is_taken_care_of(rig: Rig) -> None:
    blocks = random_blocks(5, 50_000)
    packs = rig.store.put(blocks)
    rig.store.sync(packs)
    left = rig.after_kill(rig.root / "killed")
    left.close()
    left.registry.load([])
    left.open()
    assert left.report.adopted == 1
    again = random_blocks(3, 1000)
    left.store.put(again)
    for one in again:
        assert left.read(one) == one.payload
    for one, pack in zip(blocks, left.store.missing([one.id for one in blocks]), strict=True):
        assert pack
        assert left.read(one) == one.payload
    left.close()
