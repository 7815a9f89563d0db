"""Several daemons on one database: who wins, who waits, who is told, who is missed."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator

import pytest

from graviton_server.namespace.postgres.namespace import ENTRIES, PAGES
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import Ino
from gravitonfs.errors import (
    Gap,
    Kind,
    MissingBlocks,
    Stale,
)
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.ports.ops import (
    Append,
    Clone,
    Create,
    Link,
    LooseBlock,
    RemoveTree,
    Rename,
    Rmdir,
    SetAttr,
    SetRecord,
    SetXattr,
    Truncate,
    Unlink,
    Write,
)
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from harness.postgres import PostgresServer
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores, both


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres)
    yield result
    result.close()


def kind_of(session: Session, *todo: object) -> Kind | None:
    reply = session.ns.apply([session.batch(*todo)], durable=False)[0]  # type: ignore[arg-type]
    return None if reply.failure is None else Kind(reply.failure.kind)


# --- round trips --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trash_age", [None, 0])
def test_hot_ops_take_two_round_trips(stores: PostgresStores, trash_age: int | None) -> None:
    store = stores.open()
    store.trash_age_ns = trash_age
    session = Session(store)
    directory, other = session.mkdir(b"d").ino, session.mkdir(b"e").ino
    file = session.make(b"f", parent=directory).ino
    session.make(b"f2", parent=directory)
    extent = session.extent(0, b"bytes")

    def trips(*todo: object, **fields: object) -> int:
        before = store.applier.trips
        session.do(*todo, **fields)  # type: ignore[arg-type]
        return store.applier.trips - before

    pack = {"packs": (session.pack,)}
    loose = {"loose": (LooseBlock(block_id(b"loose"), 0, 5, b"loose"),)}
    assert trips(Create(directory, b"sub", session.ino(), 0o040700, 0, 0)) == 1
    assert trips(Create(other, b"new", session.ino(), 0o100600, 0, 0)) == 2
    assert trips(Create(other, b"newer", session.ino(), 0o100600, 0, 0), **loose) == 1
    elsewhere = Session(stores.open())
    trips(SetAttr(file, mode=0o600))
    assert trips(Create(other, b"another", session.ino(), 0o100600, 0, 0)) == 2
    elsewhere.ns.detach()
    assert trips(Write(file, (extent,), 5), **pack) == 2
    assert trips(Write(file, (extent,), 5), **pack) == 2
    assert trips(Write(file, (extent,), 5), durable=True, **pack) == 2
    assert trips(Write(file, (extent._replace(hint=0),), 5), **loose) == 2
    assert trips(Append(file, (extent,), 5), **pack) == 2
    assert trips(SetAttr(file, mode=0o640)) == 2
    assert trips(SetXattr(file, b"user.a", b"1")) == 2
    assert trips(Link(file, directory, b"hard")) == 2
    assert trips(Unlink(directory, b"hard")) == 2
    assert trips(Truncate(file, 0)) == 2
    assert trips(Rename(directory, b"f", directory, b"g")) == 2
    assert trips(Rename(directory, b"g", other, b"h")) == 2
    assert trips(Rename(directory, b"f2", other, b"h")) == 2
    assert trips(Rmdir(directory, b"sub")) == 2
    assert trips(RemoveTree(ROOT, b"d")) == 2
    for number in range(20):
        session.make(b"%d" % number, parent=other)
    before = store.applier.trips
    gone = [session.batch(Unlink(other, b"%d" % number)) for number in range(20)]
    assert all(reply.failure is None for reply in session.ns.apply(gone, durable=False))
    assert store.applier.trips - before == 2
    kept = store.upkeep.trash_usage().inodes
    assert kept == (0 if trash_age is None else 23)
    before = store.applier.trips
    session.ns.apply([], durable=True)
    assert store.applier.trips - before == 1
    assert session.problems() == []


def test_a_page_of_a_directory_costs_what_is_on_it(stores: PostgresStores) -> None:
    """Whatever the server believes of the size of tables, it sorts nothing: that would read all the rest."""
    store = stores.open()
    session = Session(store)
    directory = session.mkdir(b"d").ino
    made = [session.make(b"%03d" % number, parent=directory).ino for number in range(40)]
    asked = (directory, b"009", 10, 1)
    for _ in range(2):
        _, plan = store.ask_all((PAGES, ()), ("EXPLAIN " + ENTRIES, asked))
        assert not [line for (line,) in plan if "Sort" in line or "Seq Scan" in line], plan
        store.ask("ANALYZE", ())
    assert [entry.attr.ino for entry in session.ns.entries(directory, b"009", 10)] == made[10:20]


def test_names_that_a_call_makes_are_known_to_it(stores: PostgresStores) -> None:
    """Written under one name, renamed, replaced, removed: with one that fails in the middle."""
    store = stores.open()
    session = Session(store)
    directory, other = session.mkdir(b"d").ino, session.mkdir(b"e").ino
    old = session.make(b"old", parent=directory).ino
    inos = [session.ino() for _ in range(4)]
    todo = [
        session.batch(Create(directory, b"%d" % number, ino, 0o100600, 0, 0))
        for number, ino in enumerate(inos)
    ]
    todo += [
        session.batch(Rename(directory, b"0", directory, b"old")),
        session.batch(Rename(directory, b"1", other, b"moved")),
        session.batch(Rename(directory, b"2", directory, b"gone"), Unlink(directory, b"nothing")),
        session.batch(Unlink(directory, b"2")),
        session.batch(Rename(other, b"moved", directory, b"back")),
        session.batch(Unlink(directory, b"1")),
        session.batch(Rename(directory, b"back", directory, b"last")),
    ]
    before = store.applier.trips
    replies = session.ns.apply(todo, durable=True)
    assert store.applier.trips - before == 2
    failed = [number for number, reply in enumerate(replies) if reply.failure is not None]
    assert failed == [6, 9]
    found = {entry.name: entry.attr.ino for entry in session.ns.entries(directory, None, 10)}
    assert found == {b"3": inos[3], b"last": inos[1], b"old": inos[0]}
    assert session.ns.entries(other, None, 10) == []
    with pytest.raises(Stale):
        session.ns.attr(old)
    assert session.ns.attr(directory).mtime_ns == todo[-1].time_ns
    assert session.ns.apply(todo[-2:], durable=True) == replies[-2:]
    assert session.problems() == []


def test_several_ops_and_batches_take_two_round_trips(stores: PostgresStores) -> None:
    """What an op has changed is known to those behind it."""
    store = stores.open()
    session = Session(store)
    directory = session.mkdir(b"d").ino
    session.make(b"warm", parent=directory)
    extents = [session.extent(offset, b"%04d" % offset) for offset in range(0, 40, 4)]
    ino = session.ino()
    whole = session.batch(
        Create(directory, b"f", ino, 0o100600, 0, 0),
        Write(ino, (extents[0],), 4),
        Write(ino, (extents[1],), 8),
        SetAttr(ino, mode=0o640, mtime_ns=5),
        packs=(session.pack,),
    )
    more = [
        session.batch(Create(directory, b"%d" % number, session.ino(), 0o100600, 0, 0)) for number in range(5)
    ]
    failing = session.batch(Create(directory, b"0", session.ino(), 0o100600, 0, 0))
    appends = [
        session.batch(Append(ino, (session.extent(0, b"more"),), 4), packs=(session.pack,)) for _ in "ab"
    ]
    before = store.applier.trips
    replies = session.ns.apply([whole, *more, failing, *appends], durable=True)
    assert store.applier.trips - before == 2
    assert [reply.failure is None for reply in replies] == [True] * 6 + [False, True, True]
    attr = session.ns.attr(ino)
    assert replies[-1].results == (attr,)
    assert (attr.mode, attr.size) == (0o100640, 16)
    assert session.read(ino) == b"00000004moremore"
    assert len(session.names(directory)) == 7
    top = session.ino()
    session.do(
        Create(ROOT, b"new", top, 0o040700, 0, 0),
        Create(top, b"x", session.ino(), 0o100600, 0, 0),
        Unlink(top, b"x"),
        Rmdir(ROOT, b"new"),
    )
    assert session.problems() == []


# --- races --------------------------------------------------------------------------------------------


def test_one_wins_a_name(stores: PostgresStores) -> None:
    """As O_EXCL, mkdir, link and rename without replacing need."""
    one, two = Session(stores.open()), Session(stores.open())
    won: dict[int, list[bytes]] = {1: [], 2: []}

    def create(who: int, session: Session) -> Callable[[], None]:
        def run() -> None:
            for number in range(60):
                mode = stat.S_IFREG if number % 2 else stat.S_IFDIR
                name = b"n%d" % number
                outcome = kind_of(session, Create(ROOT, name, session.ino(), mode | 0o700, 0, 0))
                assert outcome in (None, Kind.EXISTS)
                if outcome is None:
                    won[who].append(name)

        return run

    both(create(1, one), create(2, two))
    assert sorted(won[1] + won[2]) == one.names()
    assert not set(won[1]) & set(won[2])
    assert one.problems() == []


def test_renames_back_and_forth(stores: PostgresStores) -> None:
    """Two directories, names that both replace: no deadlock reaches a caller, nothing is counted wrong."""
    one, two = Session(stores.open()), Session(stores.open())
    left, right = one.mkdir(b"l").ino, one.mkdir(b"r").ino
    for number in range(4):
        one.make(b"%d" % number, parent=left)
        one.make(b"%d" % number, parent=right)

    def move(session: Session, here: Ino, there: Ino) -> Callable[[], None]:
        def run() -> None:
            for number in range(80):
                name = b"%d" % (number % 4)
                outcome = kind_of(session, Rename(here, name, there, b"%d" % ((number + 1) % 4)))
                assert outcome in (None, Kind.NOT_FOUND)
                if outcome is Kind.NOT_FOUND:
                    kind_of(session, Create(here, name, session.ino(), 0o100600, 0, 0))

        return run

    both(move(one, left, right), move(two, right, left))
    assert one.problems() == []


def test_a_reader_of_a_replaced_name_always_finds_a_file(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    one.make(b"f")
    done = threading.Event()

    def replace() -> None:
        try:
            for _ in range(80):
                one.make(b"new")
                one.do(Rename(ROOT, b"new", ROOT, b"f"))
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            assert two.ns.lookup(ROOT, b"f") is not None
            assert two.ns.resolve([b"f"]) != []

    both(replace, read)


def test_no_append_is_lost(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    ino = one.make(b"log").ino

    def append(session: Session, mark: bytes) -> Callable[[], None]:
        def run() -> None:
            for number in range(100):
                extent = session.extent(0, b"%b%03d" % (mark, number))
                session.do(Append(ino, (extent,), 4), packs=(session.pack,))

        return run

    both(append(one, b"a"), append(two, b"b"))
    data = one.read(ino)
    lines = [data[at : at + 4] for at in range(0, len(data), 4)]
    assert sorted(lines) == sorted(b"%b%03d" % (mark, n) for mark in (b"a", b"b") for n in range(100))
    assert [line for line in lines if line[:1] == b"a"] == [b"a%03d" % n for n in range(100)]
    assert one.problems() == []


def test_a_directory_is_not_removed_under_a_new_file(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    for _ in range(40):
        directory = one.mkdir(b"d").ino
        outcomes: list[Kind | None] = [None, None]

        def remove(outcomes: list[Kind | None] = outcomes) -> None:
            outcomes[0] = kind_of(one, Rmdir(ROOT, b"d"))

        def fill(directory: Ino = directory, outcomes: list[Kind | None] = outcomes) -> None:
            outcomes[1] = kind_of(two, Create(directory, b"x", two.ino(), 0o100600, 0, 0))

        both(remove, fill)
        assert outcomes in ([None, Kind.NOT_FOUND], [Kind.NOT_EMPTY, None])
        if outcomes[1] is None:
            one.do(Unlink(directory, b"x"))
            one.do(Rmdir(ROOT, b"d"))
    assert one.problems() == []


def test_moves_make_no_circle(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    for number in range(20):
        a, b = one.mkdir(b"a%d" % number).ino, one.mkdir(b"b%d" % number).ino
        outcomes: list[Kind | None] = [None, None]

        def move(
            index: int,
            session: Session,
            name: bytes,
            into: Ino,
            outcomes: list[Kind | None] = outcomes,
        ) -> Callable[[], None]:
            def run() -> None:
                outcomes[index] = kind_of(session, Rename(ROOT, name, into, b"moved"))

            return run

        both(move(0, one, b"a%d" % number, b), move(1, two, b"b%d" % number, a))
        assert sorted(map(str, outcomes)) == sorted(map(str, (None, Kind.INVALID)))
    assert one.problems() == []


def test_copies_of_a_tree_that_changes(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    top = one.mkdir(b"top").ino
    files = [one.make(b"%d" % number, parent=top).ino for number in range(5)]
    for ino in files:
        one.write(ino, 0, b"start")

    def change() -> None:
        for number in range(60):
            two.write(files[number % 5], number % 7, b"%02d" % number)
            two.make(b"x%d" % number, parent=top)
            two.do(Unlink(top, b"x%d" % number))

    def copy() -> None:
        for number in range(8):
            one.do(Clone(top, ROOT, b"copy%d" % number, one.ino(), 0, 0))

    both(change, copy)
    assert one.problems() == []
    for number in range(8):
        copied = one.find(b"copy%d" % number).ino
        for entry in one.ns.entries(copied, None, 100):
            assert len(one.read(entry.attr.ino)) == entry.attr.size


def test_records_have_one_winner(stores: PostgresStores) -> None:
    one, two = Session(stores.open()), Session(stores.open())
    for number in range(20):
        outcomes: list[Kind | None] = [Kind.INTERNAL, Kind.INTERNAL]

        def take(
            index: int, session: Session, number: int = number, outcomes: list[Kind | None] = outcomes
        ) -> Callable[[], None]:
            def run() -> None:
                outcomes[index] = kind_of(session, SetRecord("locks", b"%d" % number, b"%d" % index, b""))

            return run

        both(take(0, one), take(1, two))
        assert sorted(map(str, outcomes)) == sorted(map(str, [None, Kind.CONFLICT]))


def test_batches_in_flight_overtake_each_other(stores: PostgresStores) -> None:
    """A client sends many in order, each on a thread: whichever comes first waits for its turn."""
    session = Session(stores.open())
    batches = [
        session.batch(Create(ROOT, b"%d" % number, session.ino(), 0o100600, 0, 0)) for number in range(40)
    ]
    turn = iter(batches)
    hand_out = threading.Lock()

    def send() -> None:
        while True:
            with hand_out:
                batch = next(turn, None)
            if batch is None:
                return
            while True:
                try:
                    assert session.ns.apply([batch], durable=False)[0].failure is None
                    break
                except Gap:  # it came before any of its predecessors had
                    continue

    both(send, send, send, send)
    assert len(session.names()) == 40
    assert session.problems() == []


# --- packs and loose blocks ---------------------------------------------------------------------------


def test_a_pack_that_another_condemns(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    session = Session(one)
    ino = session.make(b"f").ino
    session.write(ino, 0, b"abc")
    assert two.packs.condemn([session.pack], two.packs.clock_ns()) == [session.pack]
    with pytest.raises(MissingBlocks):
        session.write(ino, 0, b"abc")


def test_condemning_and_relying_exclude_each_other(stores: PostgresStores) -> None:
    """Whatever was applied relies on a pack that was live when it committed."""
    one, two = stores.open(), stores.open()
    session = Session(one)
    ino = session.make(b"f").ino
    for _ in range(20):
        pack = one.packs.begin(two.packs.clock_ns().to_bytes(16, "big"), "suite", PackState.LIVE)
        extent = session.extent(0, b"abc")._replace(hint=pack)
        applied: list[bool] = []
        condemned: list[bool] = []

        def rely() -> None:
            try:
                session.do(Write(ino, (extent,), 3), packs=(pack,))  # noqa: B023
                applied.append(True)  # noqa: B023
            except MissingBlocks:
                session.number -= 1

        def condemn() -> None:
            condemned.append(bool(two.packs.condemn([pack], 1)))  # noqa: B023

        both(rely, condemn)
        assert condemned == [False]
        assert applied == [True]


def test_loose_blocks_are_everyones(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    block = LooseBlock(block_id(b"shared"), 0, 6, b"shared")
    both(lambda: Session(one).do(loose=(block,)), lambda: Session(two).do(loose=(block,)))
    for store in (one, two):
        assert store.loose.loose_get([block.id])[block.id].payload == b"shared"
        wait_until(lambda store=store: store.loose.loose_bytes() == 6, "both know of one")  # type: ignore[misc]


# --- telling, asking ----------------------------------------------------------------------------------


def test_sessions_elsewhere_are_told(stores: PostgresStores) -> None:
    told: list[Change] = []
    one, two = stores.open(), stores.open()
    Session(two, "listens", listener=told.extend)
    session = Session(one)
    file = session.make(b"f")
    wait_until(lambda: Change(Touched.ENTRY, file.ino, ROOT, b"f") in told, "the creation is told")
    session.write(file.ino, 0, b"x")
    data = Change(Touched.ATTR | Touched.DATA, file.ino, Ino(0), b"")
    wait_until(lambda: data in told, "the write is told")


def test_watching_from_a_position(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    watching = Session(two)
    session = Session(one)
    position = two.changes.position()
    file = session.make(b"f")
    assert Change(Touched.ENTRY, file.ino, ROOT, b"f") in list(watching.ns.watch(position))
    assert list(session.ns.watch(position)) == []
