"""Collection gives back what nothing names, and nothing else."""

from __future__ import annotations

import threading

import pytest

from graviton_server.maintenance.collect import collect, give_up
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.work import Stopped, Work
from gravitonfs.core.codec import RAW
from gravitonfs.core.hashing import block_id
from gravitonfs.errors import MissingBlocks, Unavailable
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import Disclaim, Unlink, Write
from gravitonfs.ports.packs import PackState
from maintenance.rig import MIB, Rig, noise


def test_unlinked_files_give_their_space_back(rig: Rig) -> None:
    rig.put("kept", noise(8 * MIB, 1))
    rig.put("gone", noise(24 * MIB, 2))
    before = rig.stored()
    rig.unlink("gone")
    report = rig.maintenance.collect()
    assert report.deleted > 0
    assert rig.stored() < before - 20 * MIB
    assert rig.stored() < 12 * MIB
    assert rig.read_cold("kept") == noise(8 * MIB, 1)
    rig.assert_sound()


def test_dry_run_tells_what_would_go_and_changes_nothing(rig: Rig) -> None:
    rig.put("kept", noise(4 * MIB, 1))
    rig.put("gone", noise(12 * MIB, 2))
    rig.unlink("gone")
    rig.engine.namespace_store.upkeep.reap(1000)
    rig.reopen()
    rows, stored = rig.engine.namespace_store.packs.rows(), rig.stored()
    planned = rig.maintenance.collect(dry_run=True)
    assert planned.dry_run
    assert planned.condemned > 0
    assert rig.engine.namespace_store.packs.rows() == rows
    assert rig.stored() == stored
    done = rig.maintenance.collect(compaction=False)
    assert (done.condemned, done.freed_bytes) == (planned.condemned, planned.freed_bytes)
    assert rig.stored() == stored - planned.freed_bytes


def test_shared_blocks_stay_while_one_file_has_them(rig: Rig) -> None:
    data = noise(10 * MIB, 3)
    rig.put("one", data)
    rig.put("two", data)
    rig.clone("one", "three")
    for name in ("one", "two"):
        rig.unlink(name)
        rig.reopen()
        rig.maintenance.collect()
        assert rig.read_cold("three") == data
    rig.unlink("three")
    rig.reopen()
    rig.maintenance.collect()
    assert rig.stored() < MIB
    rig.assert_sound()


def test_open_but_unlinked_file_keeps_its_bytes(rig: Rig) -> None:
    data = noise(8 * MIB, 4)
    rig.put("open", data)
    attr = rig.attr("open")
    rig.volume.submit(Unlink(rig.root, b"open", claim=True))
    rig.maintenance.collect()
    rig.engine.content.cache.clear()
    assert bytes(rig.volume.reader(attr).read(0, attr.size)) == data
    rig.volume.submit(Disclaim((attr.ino,)))
    rig.maintenance.collect()
    assert rig.stored() < 4 * MIB


def test_pack_relied_on_since_the_mark_is_kept(rig: Rig) -> None:
    """A writer deduplicates against blocks that the mark has just found dead."""
    data = noise(6 * MIB, 5)
    rig.put("first", data)
    rig.unlink("first")
    rig.reopen()
    rig.engine.namespace_store.upkeep.reap(1000)
    mark = mark_live(rig.stores, Work())
    assert any(not pack.live for pack in mark.packs.values())
    rig.put("again", data)
    freed = give_up(rig.stores, list(mark.packs), mark, Work())
    assert freed.kept > 0
    assert rig.read_cold("again") == data
    rig.assert_sound()


def test_batch_on_condemned_packs_is_refused_and_its_writer_stores_again(rig: Rig) -> None:
    data = noise(6 * MIB, 6)
    rig.put("first", data)
    rig.unlink("first")
    rig.reopen()
    ingest = rig.volume.ingest
    lengths = ingest.chunker().cut(memoryview(data), final=True)
    pieces = ingest.hash_pieces(0, memoryview(data), lengths)
    stored = ingest.store_pieces(pieces)  # all of it is found, nothing is stored
    assert stored.packs
    rig.maintenance.collect()
    attr = rig.create("late")
    with pytest.raises(MissingBlocks):
        ingest.apply(stored, (Write(attr.ino, stored.extents, len(data)),), durable=True)
    ingest.commit_pieces(pieces, lambda extents: (Write(attr.ino, extents, len(data)),), durable=True)
    assert rig.read_cold("late") == data
    rig.assert_sound()


def test_pack_that_is_still_written_is_never_touched(rig: Rig) -> None:
    plain = noise(300_000, 7)
    pack = rig.engine.store.put([Block(block_id(plain), RAW, len(plain), plain)])[0]
    rig.maintenance.collect()
    row = rig.engine.namespace_store.packs.get(pack)
    assert row is not None
    assert row.state is PackState.LIVE


@pytest.mark.parametrize("step", ["condemn", "deleting", "delete_pack", "deleted"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_collection_that_stops_anywhere_is_finished_by_the_next(
    rig: Rig, step: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put("kept", noise(3 * MIB, 8))
    rig.put("gone", noise(9 * MIB, 9))
    rig.unlink("gone")
    rig.reopen()
    owner = rig.engine.store if step == "delete_pack" else rig.engine.namespace_store.packs
    real = getattr(owner, step)

    def failing(*arguments: object) -> object:
        if when == "after":
            real(*arguments)
        raise Unavailable("the power went")

    monkeypatch.setattr(owner, step, failing)
    with pytest.raises(Unavailable):
        rig.maintenance.collect()
    monkeypatch.undo()
    rig.reopen()
    assert rig.read_cold("kept") == noise(3 * MIB, 8)
    rig.maintenance.collect()
    assert rig.stored() < 6 * MIB
    assert {row.state for row in rig.engine.namespace_store.packs.rows()} == {PackState.LIVE}
    rig.assert_sound()


def test_stopping_is_noticed_and_leaves_a_sound_volume(rig: Rig) -> None:
    rig.put("kept", noise(4 * MIB, 10))
    rig.put("gone", noise(8 * MIB, 11))
    rig.unlink("gone")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        rig.maintenance.collect(Work(cancelled=stop))
    rig.assert_sound()


def test_mark_finds_blocks_that_the_index_has_lost(rig: Rig) -> None:
    """An incomplete index may cost look-ups, never data."""
    data = noise(6 * MIB, 12)
    rig.put("kept", data)
    rig.reopen()
    rig.engine.store.forget_packs([row.number for row in rig.packs()])
    report, mark = collect(rig.stores, Work())
    assert report.condemned == 0
    assert mark.astray
    assert rig.read_cold("kept") == data


def test_whoever_waits_for_another_run_can_give_up(rig: Rig) -> None:
    waiting = Work()
    with rig.maintenance._in_turn(Work()):
        waiting.cancelled.set()
        with pytest.raises(Stopped):
            rig.maintenance.collect(waiting)
    assert rig.maintenance.collect().missing == 0
