"""Quotas with several daemons on one database: never too much, counted right, whoever is at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.postgres.store import PostgresStore, Settings
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import Create, Link, Rename, Rmdir, Truncate, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from gravitonfs.testing.namespace_suite.quotas import usage
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores, both


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres)
    yield result
    result.close()


def make(session: Session, parent: Ino, name: bytes, size: int = 0) -> Kind | None:
    ino = session.ino()
    todo = (Create(parent, name, ino, 0o100644, 0, 0), *((Truncate(ino, size),) if size else ()))
    reply = session.ns.apply([session.batch(*todo)], durable=False)[0]
    return None if reply.failure is None else Kind(reply.failure.kind)


def test_round_trips(stores: PostgresStores) -> None:
    store = stores.open()
    session = Session(store)
    top = session.mkdir(b"top").ino
    directory = session.mkdir(b"d", top).ino
    file = session.make(b"f", parent=directory).ino

    def trips(*todo: object) -> int:
        before = store.applier.trips
        session.do(*todo)  # type: ignore[arg-type]
        return store.applier.trips - before

    assert trips(Create(directory, b"new", session.ino(), 0o100600, 0, 0)) == 1
    store.quotas.set("main", top, 1 << 40, 1 << 20)
    store.quotas.set("main", ROOT, 1 << 40, 1 << 20)
    trips(Truncate(file, 1))
    fresh = session.ino()
    assert trips(Create(directory, b"newer", fresh, 0o100600, 0, 0), Truncate(fresh, 4)) == 2
    assert trips(Truncate(file, 5)) == 2
    assert trips(Link(file, directory, b"hard")) == 2
    assert trips(Unlink(directory, b"hard")) == 2
    assert trips(Rename(directory, b"f", directory, b"g")) == 2
    assert trips(Unlink(directory, b"g")) == 2
    assert usage(store, top) == (4, 3)
    store.quotas.delete("main", top)
    store.quotas.delete("main", ROOT)
    trips(Truncate(fresh, 1))
    assert trips(Create(directory, b"newest", session.ino(), 0o100600, 0, 0)) <= 2
    assert trips(Create(directory, b"newest of all", session.ino(), 0o100600, 0, 0)) == 1


def test_never_too_much(stores: PostgresStores) -> None:
    """Four writers in two processes, in directories of their own, with room for 50 files of the 120."""
    opened = [stores.open(), stores.open()]
    sessions = [Session(opened[number % 2]) for number in range(4)]
    top = sessions[0].mkdir(b"top").ino
    homes = [sessions[0].mkdir(b"d%d" % number, top).ino for number in range(4)]
    opened[0].quotas.set("main", top, 1000, None)
    opened[0].quotas.set("main", ROOT, None, 4 + 1 + 55)
    made = [0, 0, 0, 0]

    def writer(number: int) -> None:
        for count in range(30):
            kind = make(sessions[number], homes[number], b"%d" % count, 20)
            assert kind in (None, Kind.QUOTA)
            made[number] += kind is None

    both(*(lambda number=number: writer(number) for number in range(4)))  # type: ignore[misc]
    assert sum(made) == 50
    assert usage(opened[1], top) == (1000, 54)
    assert usage(opened[1], ROOT) == (1000, 55)


def test_limits_come_while_others_write(stores: PostgresStores) -> None:
    """What is there is counted while more comes and goes."""
    first, second = stores.open(), stores.open()
    one, two = Session(first), Session(second)
    top = one.mkdir(b"top").ino
    inner = one.mkdir(b"inner", top).ino
    for count in range(100):
        make(one, inner, b"before %d" % count, 10)

    def writer() -> None:
        for count in range(150):
            assert make(two, inner, b"%d" % count, 10) is None
            if count % 3 == 0:
                two.do(Unlink(inner, b"%d" % count))

    def limit() -> None:
        for size in range(5):
            first.quotas.set("main", top, 1 << 30, None)
            first.quotas.check("main", top, repair=True)
            if size < 4:
                first.quotas.delete("main", top)

    both(writer, limit)
    assert usage(second, top) == (2000, 201)


def test_trees_move_while_others_write(stores: PostgresStores) -> None:
    first, second = stores.open(), stores.open()
    one, two = Session(first), Session(second)
    a, b = one.mkdir(b"a").ino, one.mkdir(b"b").ino
    tree = one.mkdir(b"tree", a).ino
    inner = one.mkdir(b"inner", tree).ino
    first.quotas.set("main", a, 1 << 30, None)
    first.quotas.set("main", b, None, 1 << 20)

    def writer() -> None:
        for count in range(120):
            assert make(two, inner, b"%d" % count, 7) is None

    def mover() -> None:
        for count in range(21):
            source, target = (a, b) if count % 2 == 0 else (b, a)
            one.do(Rename(source, b"tree", target, b"tree"))

    both(writer, mover)
    assert (usage(first, a), usage(second, b)) == ((0, 0), (120 * 7, 122))
    one.fails(Kind.NOT_EMPTY, Rmdir(b, b"tree"))
    assert one.problems() == []


def test_a_dump_has_them_on_either_engine(
    stores: PostgresStores, postgres: PostgresServer, tmp_path: Path
) -> None:
    store = stores.open()
    session = Session(store)
    top = session.mkdir(b"top").ino
    store.quotas.set("main", top, 100, None)
    store.quotas.set("main", ROOT, None, 10)
    assert make(session, top, b"f", 60) is None
    rows = store.quotas.rows("main")
    NamespaceStore.load(tmp_path / "namespace.db", store.upkeep.dump())
    embedded = NamespaceStore.open(tmp_path / "namespace.db")
    assert embedded.quotas.rows("main") == rows
    assert (usage(embedded, top), usage(embedded, ROOT)) == ((60, 1), (60, 2))
    settings = Settings(postgres.database())
    PostgresStore.load(settings, embedded.upkeep.dump())
    embedded.close()
    again = PostgresStore.open(settings)
    assert again.quotas.rows("main") == rows
    assert make(Session(again), top, b"g", 41) is Kind.QUOTA
    assert make(Session(again), top, b"g", 40) is None
    assert (usage(again, top), usage(again, ROOT)) == ((100, 2), (100, 3))
    again.close()
    postgres.drop(settings.conninfo)
