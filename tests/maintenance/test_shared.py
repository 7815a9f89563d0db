"""Several engines on one store: one collects at a time, and what a dump needs is kept, whoever made it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graviton_server.maintenance import turns
from graviton_server.maintenance.chores import Settings
from graviton_server.maintenance.collect import Caution
from graviton_server.maintenance.service import COLLECT
from graviton_server.maintenance.turns import kept_up, turn
from graviton_server.maintenance.work import Stopped, Work
from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.targets.directory import DirectoryTarget
from graviton_server.wiring import EngineOptions, TargetEngine, open_engine
from gravitonfs.core.ids import ROOT_INO, PackNumber
from gravitonfs.errors import Exists, Unavailable
from gravitonfs.ports.ops import Unlink
from gravitonfs.ports.packs import PackState
from harness.postgres import PostgresServer
from harness.waiting import wait_until
from maintenance.rig import noise
from namespace.postgres_stores import PostgresStores

MIB = 1 << 20
AT_ONCE = Settings(settled=0.0, idle=0.0, collect_rest=0.0, patience=0.0, bytes_per_second=0, grace=0.0)


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    made = PostgresStores(postgres)
    yield made
    made.close()


def live_pack(store: PostgresStore, number: int) -> PackNumber:
    pack = store.packs.begin(number.to_bytes(16, "big"), "engine", PackState.LIVE)
    store.packs.sealed(pack, 100, 1, b"footer")
    return pack


# --- the port ----------------------------------------------------------------------------------------


def test_a_turn_is_one_engines(stores: PostgresStores) -> None:
    one, two = stores.open().housekeeping, stores.open().housekeeping
    assert one.take_turn("x", 60)
    assert one.take_turn("x", 60), "it may be kept"
    assert not two.take_turn("x", 60)
    assert two.take_turn("another", 60)
    two.end_turn("x")
    assert not two.take_turn("x", 60), "nobody ends another's turn"
    one.end_turn("x")
    assert two.take_turn("x", 60)


def test_a_turn_of_the_dead_ends(stores: PostgresStores) -> None:
    one, two = stores.open().housekeeping, stores.open().housekeeping
    assert one.take_turn("x", 0.2)
    wait_until(lambda: two.take_turn("x", 60), "the turn to lapse, by the database's clock")
    assert not one.take_turn("x", 60)


def test_rest_between_two_turns_is_everybodys(stores: PostgresStores) -> None:
    one, two = stores.open().housekeeping, stores.open().housekeeping
    assert one.take_turn("x", 60, rest=3600)
    one.end_turn("x")
    assert not two.take_turn("x", 60, rest=3600)
    assert not one.take_turn("x", 60, rest=3600)
    assert two.take_turn("x", 60), "a command does not rest"


def test_work_stops_when_its_turn_is_lost(stores: PostgresStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LASTS", 0.3)
    one, two = stores.open(), stores.open()
    work = Work()
    with turn(one.housekeeping, "x", work) as ours:
        assert ours
        one.ask_all(("UPDATE turns SET holder = 0, until = until + 60000000000", ()))

        def lost() -> bool:
            try:
                work.check()
            except Stopped:
                return True
            return False

        wait_until(lost, "the work to stop")
    assert not two.housekeeping.take_turn("x", 60)


def test_nothing_is_condemned_while_a_dump_is_written(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    pack, other = live_pack(one, 1), live_pack(one, 2)
    ever = one.packs.clock_ns() + 10**12
    one.housekeeping.begin_dump("one", "d", 60)
    assert two.packs.condemn([pack, other], ever) == []
    with pytest.raises(Exists):
        one.housekeeping.begin_dump("one", "d", 60)
    assert one.housekeeping.keep_dump("one", "d", [pack]) == []
    assert two.housekeeping.held_packs() == {pack}
    assert two.packs.condemn([pack, other], ever) == [other], "what it does not need goes"
    assert two.housekeeping.kept_dumps("one") == ["d"]
    one.housekeeping.drop_dump("one", "d")
    assert two.packs.condemn([pack], ever) == [pack]


def test_a_retired_dump_is_its_owners_to_end(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    pack = live_pack(one, 1)
    one.housekeeping.begin_dump("one", "d", 60)
    two.housekeeping.retire_dump("one", "d")
    assert one.housekeeping.keep_dump("one", "d", [pack]) == [], "it was not kept yet"
    two.housekeeping.retire_dump("one", "d")
    assert two.housekeeping.held_packs() == frozenset()
    assert two.housekeeping.kept_dumps("one") == []
    two.housekeeping.begin_dump("two", "other", 60)  # those that have lapsed go
    assert one.housekeeping.retired_dumps("one") == ["d"]
    with pytest.raises(Exists):
        one.housekeeping.begin_dump("one", "d", 60)
    one.housekeeping.drop_dump("one", "d")
    assert one.housekeeping.retired_dumps("one") == []
    one.housekeeping.begin_dump("one", "d", 60)


def test_a_dump_names_live_packs_alone(stores: PostgresStores) -> None:
    store = stores.open()
    pack, gone = live_pack(store, 1), live_pack(store, 2)
    assert store.packs.condemn([gone], store.packs.clock_ns() + 10**12) == [gone]
    store.housekeeping.begin_dump("one", "d", 60)
    assert store.housekeeping.keep_dump("one", "d", [pack, gone]) == [gone]
    assert store.housekeeping.held_packs() == frozenset()
    assert store.housekeeping.keep_dump("one", "d", [pack]) == []


def test_a_dump_that_was_taken_for_dead_is_not_kept(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    pack = live_pack(one, 1)
    one.housekeeping.begin_dump("one", "d", 0.1)
    wait_until(
        lambda: two.packs.condemn([pack], one.packs.clock_ns() + 10**12) == [pack], "the dump to lapse"
    )
    assert not one.housekeeping.renew_dump("one", "d", 60)
    with pytest.raises(Unavailable, match="make it anew"):
        one.housekeeping.keep_dump("one", "d", [])
    assert one.housekeeping.kept_dumps("one") == []


def test_a_dump_that_goes_on_is_kept_up(stores: PostgresStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LASTS", 0.5)
    store = stores.open()
    pack = live_pack(store, 1)
    store.housekeeping.begin_dump("one", "d", 0.5)
    renewed = threading.Semaphore(0)

    def renew() -> bool:
        renewed.release()
        return store.housekeeping.renew_dump("one", "d", 0.5)

    work = Work()
    with kept_up(renew, work):
        for _ in range(20):
            renewed.acquire()
        work.check()
        assert store.packs.condemn([pack], store.packs.clock_ns() + 10**12) == []


# --- engines -----------------------------------------------------------------------------------------

Open = Callable[..., TargetEngine]


@pytest.fixture
def opened(stores: PostgresStores, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Engines with data directories of their own, whose packs lie in one directory."""
    # The test's writers are quiet when it collects: nobody has to wait 20 minutes for them.
    monkeypatch.setattr("graviton_server.wiring.SHARED", Caution())
    made: list[TargetEngine] = []
    uuid = b"store uuid 16 by"
    (scratch / "packs").mkdir()
    DirectoryTarget.make(scratch / "packs", uuid).close()

    def open_(name: str, settings: Settings = AT_ONCE) -> TargetEngine:
        target = DirectoryTarget(scratch / "packs", "local", uuid)
        options = EngineOptions(background=False, maintenance=settings, pack_size=2 * MIB)
        data = scratch / name
        data.mkdir()
        made.append(open_engine(PostgresStore.open(stores.settings), target, data, options, shared=True))
        return made[-1]

    yield open_
    for engine in made:
        engine.close()


def put(engine: TargetEngine, name: bytes, data: bytes) -> None:
    volume = engine.volume("test")
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(data)
        staged.publish(ROOT_INO, name)
    volume.close()


def remove(engine: TargetEngine, name: bytes) -> None:
    volume = engine.volume("test")
    volume.submit(Unlink(ROOT_INO, name), durable=True)
    volume.close()


def packs_in(scratch: Path) -> int:
    return len(list((scratch / "packs").glob("packs/*/*.pack")))


def test_a_dump_of_one_engine_holds_back_another(opened: Open, scratch: Path) -> None:
    one, two = opened("one"), opened("two")
    put(one, b"kept", noise(3 * MIB, 1))
    one.maintenance.retain_dump("before")
    put(one, b"free", noise(3 * MIB, 2))
    remove(one, b"kept")
    remove(one, b"free")
    before = packs_in(scratch)
    two.maintenance.collect()
    left = packs_in(scratch)
    assert 0 < left < before, "what only the dump needs stays, the rest goes"
    two.maintenance.collect()
    assert packs_in(scratch) == left
    (scratch / "one" / "dumps" / "before.dump").unlink()
    two.maintenance.collect()
    assert packs_in(scratch) == left, "another engine cannot know that the file has gone"
    one.maintenance.collect()
    assert packs_in(scratch) == 0
    one.maintenance.retain_dump("empty")
    one.maintenance.drop_dump("empty")
    assert two.namespace_store.housekeeping.held_packs() == frozenset()  # type: ignore[union-attr]


def test_a_dump_that_another_engine_drops_is_nowhere_any_more(opened: Open, scratch: Path) -> None:
    one, two = opened("one"), opened("two")
    put(one, b"f", noise(3 * MIB, 1))
    for name in ("before", "again"):
        one.maintenance.retain_dump(name)
    remove(one, b"f")
    folder = scratch / "one" / "dumps"
    (folder / "strange.dump").write_bytes((folder / "before.dump").read_bytes())  # nobody has dropped it
    for name in ("before", "again"):
        two.maintenance.drop_dump(name)
    assert [dump.name for dump in two.maintenance.dumps()] == []
    assert [dump.name for dump in one.maintenance.dumps()] == ["strange"]
    one.maintenance.retain_dump("again")  # its name is free at once
    assert sorted(path.name for path in folder.iterdir()) == ["again.dump", "strange.dump"]
    one.maintenance.drop_dump("again")
    one.maintenance.collect()
    assert packs_in(scratch) > 0, "the strange one names them"
    (folder / "strange.dump").unlink()
    one.maintenance.collect()
    assert packs_in(scratch) == 0


def test_the_file_of_a_dropped_dump_goes_whoever_collects(opened: Open, scratch: Path) -> None:
    one, two = opened("one"), opened("two")
    put(one, b"f", noise(3 * MIB, 1))
    one.maintenance.retain_dump("before")
    remove(one, b"f")
    two.maintenance.drop_dump("before")
    house = two.namespace_store.housekeeping
    assert house is not None
    with turn(house, COLLECT, Work()):
        assert one.maintenance.settle(60)
    assert list((scratch / "one" / "dumps").iterdir()) == []
    one.maintenance.collect()
    assert packs_in(scratch) == 0


def test_one_collects_at_a_time(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    house = one.namespace_store.housekeeping
    assert house is not None
    put(one, b"f", noise(3 * MIB, 1))
    remove(one, b"f")
    work = Work()
    with turn(house, COLLECT, work):
        assert two.maintenance.settle(60), "by itself it does not wait for the other one's end"
        done = threading.Event()
        told: list[str] = []
        waiting = Work(lambda done, total, what: told.append(what))
        thread = threading.Thread(target=lambda: (two.maintenance.collect(waiting), done.set()))
        thread.start()
        wait_until(lambda: "waiting for another engine of this store" in told, "the command to say so")
        assert not done.is_set()
    thread.join(60)
    assert done.is_set()


def test_grace_and_keep(opened: Open, scratch: Path) -> None:
    """``gc.keep`` leaves young packs alone; ``gc.grace`` deletes later what is condemned now."""
    keeps = opened("keeps", AT_ONCE._replace(keep=3600.0))
    put(keeps, b"f", noise(3 * MIB, 1))
    remove(keeps, b"f")
    assert keeps.maintenance.collect().condemned == 0
    graces = opened("graces", AT_ONCE._replace(grace=3600.0))
    report = graces.maintenance.collect()
    assert (report.condemned > 0, report.deleted) == (True, 0)
    assert packs_in(scratch) > 0
    soon = opened("soon", AT_ONCE._replace(grace=0.0))
    assert soon.maintenance.collect().deleted == report.condemned
    assert packs_in(scratch) == 0


def test_what_is_condemned_goes_without_any_change(opened: Open, scratch: Path) -> None:
    """The clock alone makes it due."""
    engine = opened("one", AT_ONCE._replace(grace=1.0))
    put(engine, b"f", noise(3 * MIB, 1))
    remove(engine, b"f")
    engine.maintenance.start()
    wait_until(lambda: packs_in(scratch) == 0, "the packs to be deleted after their grace", 60)


def test_one_drains_at_a_time(opened: Open) -> None:
    """Two would put the same blocks into packs of each."""
    one, two = opened("one"), opened("two")
    house = one.namespace_store.housekeeping
    assert house is not None
    put(one, b"small", noise(1000))
    wait_until(lambda: two.namespace_store.loose.loose_bytes() > 0, "the other engine to hear of it")
    with turn(house, "drain", Work()) as ours:
        assert ours
        assert two.maintenance.settle(60)
        assert one.namespace_store.upkeep.loose_ids()

    def drained() -> bool:
        two.maintenance.settle(60)
        return not one.namespace_store.upkeep.loose_ids()

    wait_until(drained, "the other engine to hear of it and to drain", 60)
