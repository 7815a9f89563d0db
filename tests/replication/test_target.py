"""Writing to several targets and reading from them, while some fail."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from gravitonfs.errors import GravitonError, NoSpace, Unavailable
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.replicas import CopyState
from gravitonfs.testing.faulty import full
from harness.contents import noise, read
from harness.waiting import wait_until
from replication.rig import EVERYTHING, MIB, TWO, Make, fail, write


def test_every_pack_lies_on_two_targets_in_two_zones(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    write(volume, "file", noise(30 * MIB))
    names = {name: {path.name for path in store.packs(name)} for name in "abc"}
    assert names["a"] | names["b"] == names["c"]
    assert not names["a"] & names["b"]
    assert names["a"]
    assert names["b"]
    assert all(set(states) == {CopyState.STORED} for states in store.states().values())
    assert read(volume, "file") == noise(30 * MIB)
    volume.close()
    assert not store.engine or not store.engine.maintenance.check(read_data=True).findings


@pytest.mark.parametrize("away", ["a", "b", "c"])
def test_reading_goes_on_without_any_one_target(make: Make, away: str) -> None:
    store = make()
    volume = store.open().volume("test")
    write(volume, "file", noise(12 * MIB))
    volume.close()
    store.close()
    volume = store.open().volume("test")
    fail(store, away, *EVERYTHING)
    assert read(volume, "file") == noise(12 * MIB)
    assert sum(states.get(CopyState.STORED, 0) for states in store.states().values()) == 2 * len(
        store.packs("c")
    )
    volume.close()


def test_a_failing_target_is_passed_by_as_long_as_the_floor_holds(make: Make) -> None:
    """With a away its packs go to b; with c away there is but one zone, and nothing is acknowledged."""
    store = make()
    volume = store.open().volume("test")
    fail(store, "a", *EVERYTHING)
    write(volume, "one", noise(20 * MIB, 1))
    states = store.states()
    assert states["a"] == {CopyState.WANTED: states["a"][CopyState.WANTED]}
    assert states["b"][CopyState.STORED] == states["c"][CopyState.STORED] == len(store.packs("c"))
    fail(store, "c", *EVERYTHING)
    with pytest.raises(Unavailable, match=r"1 copies in 1 zones.*under 2 in 2.*the medium fails"):
        write(volume, "two", noise(3 * MIB, 2))
    assert "c: the medium fails" in (store.target.below_floor() or "")
    for faults in store.faults.values():
        faults.heal()
    write(volume, "three", noise(8 * MIB, 3))
    assert store.target.below_floor() is None
    assert read(volume, "one") == noise(20 * MIB, 1)
    assert read(volume, "three") == noise(8 * MIB, 3)
    volume.close()


def test_a_frozen_target_holds_nobody_up_and_its_copies_count_when_they_come(make: Make) -> None:
    store = make(msgspec.structs.replace(TWO, patience=0.0))
    engine = store.open()
    volume = engine.volume("test")
    thaw, real = threading.Event(), {}
    frozen = store.target.members.named("a").opened()  # type: ignore[union-attr]
    real["put"] = frozen.put

    def put(key: str, body: BinaryIO, length: int) -> None:
        assert thaw.wait(60)
        real["put"](key, body, length)

    frozen.put = put  # type: ignore[method-assign]
    write(volume, "file", noise(10 * MIB))
    assert store.target.degraded_writes
    assert not store.packs("a")
    thaw.set()
    wait_until(lambda: (store.packs("a") and store.healthy()) or None, "late copies")
    assert read(volume, "file") == noise(10 * MIB)
    volume.close()


def test_full_targets_are_no_space(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    for name in "abc":
        fail(store, name, "put", error=full)
    with pytest.raises(NoSpace, match="no space is left"):
        write(volume, "file", noise(3 * MIB))
    for faults in store.faults.values():
        faults.heal()
    write(volume, "again", noise(8 * MIB))
    volume.close()


def test_flipped_bits_are_passed_by_and_reported(make: Make) -> None:
    store = make()
    volume = store.open(pack_size=4 * MIB).volume("test")
    write(volume, "file", noise(20 * MIB))
    volume.close()
    store.close()
    for path in store.packs("c"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    for path in [max(store.packs("a"), key=lambda one: one.stat().st_size)]:
        path.write_bytes(path.read_bytes()[:-70_000])
    volume = store.open().volume("test")
    for source in ("c", "a", "b"):
        for other in {"a", "b", "c"} - {source}:
            store.target.members.named(other).failed(Unavailable("asked last"))  # type: ignore[union-attr]
        store.target.members.named(source).works()  # type: ignore[union-attr]
        volume.close()
        volume = store.engine.volume("test")  # type: ignore[union-attr]
        store.engine.content.cache.clear()  # type: ignore[union-attr]
        assert read(volume, "file") == noise(20 * MIB)
    states = store.states()
    assert states["c"][CopyState.BAD] == len(store.packs("c"))
    assert states["b"] == {CopyState.STORED: len(store.packs("b"))}
    volume.close()


def test_a_lost_pack_is_work_and_a_lost_disk_is_not(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    write(volume, "file", noise(20 * MIB))
    shutil.rmtree(store.path("a") / "packs")
    volume.close()
    store.close()
    volume = store.open().volume("test")
    assert read(volume, "file") == noise(20 * MIB)
    assert set(store.states()["a"]) == {CopyState.WANTED}
    shutil.rmtree(store.path("b"))
    store.path("b").mkdir()  # as where a disk is not mounted
    volume.close()
    store.close()
    volume = store.open().volume("test")
    assert read(volume, "file") == noise(20 * MIB)
    assert set(store.states()["b"]) == {CopyState.STORED}
    write(volume, "more", noise(8 * MIB, 5))
    assert not list(store.path("b").iterdir())  # nothing is written to a place that is not ours
    volume.close()


def test_deletions_wait_for_every_target(make: Make) -> None:
    from gravitonfs.ports.ops import Unlink

    store = make()
    engine = store.open()
    volume = engine.volume("test")
    write(volume, "file", noise(20 * MIB))
    volume.submit(Unlink(volume.namespace.root, b"file"))
    volume.commit()
    fail(store, "c", "delete")
    engine.maintenance.collect()
    assert store.packs("c")
    assert {row.state for row in engine.namespace_store.packs.rows()} == {PackState.DELETING}
    store.faults["c"].heal()
    engine.maintenance.collect()
    assert [store.packs(name) for name in "abc"] == [[], [], []]
    assert engine.namespace_store.replicas.tally() == []
    volume.close()


def test_a_pack_that_came_to_one_target_only_is_not_live_before_it_is_on_two(make: Make) -> None:
    """As a process leaves it that is killed between its puts: recovery finds the object, and one copy."""
    store = make()
    engine = store.open()
    volume = engine.volume("test")
    fail(store, "c")
    with pytest.raises(Unavailable):
        write(volume, "file", noise(3 * MIB))
    with suppress(GravitonError):
        volume.close()
    with suppress(GravitonError):
        store.close()
    alone = store.packs("a") + store.packs("b")
    assert alone
    for left in (store.home / "engine-0" / "staging").glob("*.pack"):
        left.unlink()
    with suppress(GravitonError):
        store.open()
    assert store.engine is not None
    states = {row.state for row in store.engine.namespace_store.packs.rows()}
    assert PackState.LIVE not in states
    store.close()
    for faults in store.faults.values():
        faults.heal()
    engine = store.open()
    live = [row for row in engine.namespace_store.packs.rows() if row.state is PackState.LIVE]
    assert len(live) == len(store.packs("c")) == len({path.name for path in alone})
    assert store.healthy()
    assert not engine.maintenance.check(read_data=True).findings


def test_a_volume_that_crashed_with_one_target_goes_on_with_two(scratch: Path) -> None:
    from graviton_server.wiring import EngineOptions, open_embedded
    from graviton_server.wiring.replicated import save_rows, save_settings
    from graviton_server.wiring.targets import Location, new_row, own_row

    quiet = EngineOptions(background=False)
    data = scratch / "data"
    with open_embedded(scratch / "before", create=True, options=quiet) as engine:
        volume = engine.volume("test")
        write(volume, "old", noise(20 * MIB))
        other = new_row("x", "directory", Location(path=str(scratch / "x")), zone="x")
        save_rows(engine.namespace_store, [own_row(data), other])
        save_settings(engine.namespace_store, TWO)
        shutil.copytree(scratch / "before", data, dirs_exist_ok=True)  # with a pack that is still open
        volume.close()
    with open_embedded(data, options=quiet) as engine:
        volume = engine.volume("test")
        assert read(volume, "old") == noise(20 * MIB)
        write(volume, "new", noise(20 * MIB, 1))
        assert engine.replication is not None
        assert engine.replication.round().made >= 1
        assert engine.replication.unhealthy() == 0
        volume.close()
    shutil.rmtree(data / "packs")
    with open_embedded(data, options=quiet) as engine:
        volume = engine.volume("test")
        assert read(volume, "old") == noise(20 * MIB)
        assert read(volume, "new") == noise(20 * MIB, 1)
        engine.maintenance.scrub()
        assert engine.replication is not None
        engine.replication.round()
        assert not engine.maintenance.check(read_data=True).findings
        volume.close()


def test_a_nearly_full_target_gets_no_new_packs_and_keeps_its_own(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    write(volume, "before", noise(24 * MIB, 1))
    assert store.engine is not None
    there = {name: store.packs(name) for name in "abc"}
    used = sum(path.stat().st_size for path in there["a"])
    replicas = store.engine.namespace_store.replicas
    [row] = [row for row in replicas.targets() if row.name == "a"]
    replicas.save_target(row._replace(capacity=int(used * 1.04)))
    store.watch.round()
    write(volume, "after", noise(24 * MIB, 2))
    assert store.packs("a") == there["a"]
    assert len(store.packs("b")) - len(there["b"]) == len(store.packs("c")) - len(there["c"]) > 10
    volume.close()
    now = {name: store.packs(name) for name in "abc"}
    store.close()
    volume = store.open().volume("test")
    done = store.watch.round()
    assert (done.made, done.removed, done.failed) == (0, 0, 0)
    assert store.healthy()
    assert {name: store.packs(name) for name in "abc"} == now
    replicas = store.engine.namespace_store.replicas
    replicas.save_target(row._replace(capacity=used * 3))
    store.watch.round()
    write(volume, "later", noise(24 * MIB, 3))
    assert len(store.packs("a")) > len(there["a"])
    for seed, name in enumerate(("before", "after", "later"), 1):
        assert read(volume, name) == noise(24 * MIB, seed)
    volume.close()


def test_a_nearly_full_target_is_used_where_its_zone_is_needed(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    assert store.engine is not None
    replicas = store.engine.namespace_store.replicas
    [row] = [row for row in replicas.targets() if row.name == "c"]
    write(volume, "one", noise(20 * MIB, 1))
    used = sum(path.stat().st_size for path in store.packs("c"))
    before = len(store.packs("c"))
    replicas.save_target(row._replace(capacity=used + 2 * MIB))
    store.watch.round()
    write(volume, "two", noise(MIB, 2))
    assert len(store.packs("c")) > before
    volume.close()
