"""A server that is restarted, or killed, under load: callers wait, and what was answered stays true."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from graviton_server.namespace.postgres import replaying
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Unavailable
from gravitonfs.ports.namespace import EVERYTHING, Change
from gravitonfs.ports.ops import Attr, Create, Write
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from harness.postgres import PostgresServer, debian_binaries
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    found = PostgresServer(debian_binaries(), "wal_writer_delay = 10s\n")  # much is lost when it is killed
    yield found
    if not found.runs:
        found.start()
    found.close()


@pytest.fixture
def stores(server: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(server)
    yield result
    if not server.runs:
        server.start()
    result.close()


class Load:
    """Sessions that make and write files, each as fast as it can, and a log of what was acknowledged."""

    def __init__(self, sessions: list[Session]) -> None:
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.done: list[dict[bytes, tuple[Attr, bytes]]] = [{} for _ in sessions]
        self._threads = [
            threading.Thread(target=self._work, args=(index, session))
            for index, session in enumerate(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, index: int, session: Session) -> None:
        try:
            number = 0
            while not self.stop.is_set():
                name = b"%d-%d" % (index, number)
                ino = session.make(name).ino
                data = b"bytes of " + name
                attr = session.write(ino, 0, data)
                if number % 10 == 9:
                    session.do(durable=True)
                self.done[index][name] = (attr, data)
                number += 1
        except BaseException as error:  # noqa: BLE001  # told by the test
            self.failures.append(error)

    def wait_for(self, more: int) -> None:
        counts = [len(done) for done in self.done]
        wait_until(
            lambda: (
                self.failures
                or all(len(done) >= count + more for done, count in zip(self.done, counts, strict=True))
            ),
            f"{more} more files",
            60,
        )

    def finish(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []

    def check(self, session: Session) -> None:
        """Everything that was acknowledged is there, as it was answered."""
        found = {entry.name: entry.attr for entry in session.ns.entries(ROOT, None, 1_000_000)}
        for done in self.done:
            for name, (attr, data) in done.items():
                assert found[name] == attr
                assert session.read(attr.ino) == data
        assert session.problems() == []


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_load_goes_on(server: PostgresServer, stores: PostgresStores, how: str) -> None:
    one, two = stores.open(), stores.open()
    load = Load([Session(one), Session(one), Session(two)])
    try:
        for _ in range(3):
            load.wait_for(15)
            if how == "restart":
                server.stop()
            else:
                server.kill()
            server.start()
    finally:
        load.wait_for(15)
        load.finish()
    assert one.counters()["fenced"] == two.counters()["fenced"] == 0
    if how == "kill":
        assert one.counters()["replayed"] + two.counters()["replayed"] > 0
    load.check(Session(stores.open()))


def test_clients_drop_what_they_have_cached(server: PostgresServer, stores: PostgresStores) -> None:
    told: list[Change] = []
    store = stores.open()
    session = Session(store, listener=told.extend)
    session.make(b"f")
    before = store.incarnation
    server.stop()
    server.start()
    session.make(b"g")
    assert store.incarnation != before
    wait_until(lambda: EVERYTHING in told, "the session is told")


def test_an_idle_session_gets_its_batches_back(server: PostgresServer) -> None:
    """Nobody calls any more when the server has lost them: the heartbeat sees to it."""
    stores = PostgresStores(server, silence=6.0)
    session = Session(stores.open())
    session.make(b"warm", mode=0o100600)
    for number in range(20):
        session.make(b"%d" % number)
    server.kill()
    server.start()
    other = Session(stores.open())
    wait_until(lambda: len(other.names()) == 21, "all files are there again")
    assert other.problems() == []
    stores.close()


def test_nothing_durable_depends_on_replay(server: PostgresServer, stores: PostgresStores) -> None:
    session = Session(stores.open())
    for number in range(30):
        session.make(b"%d" % number)
    session.ns.apply([], durable=True)
    server.kill()
    server.start()
    assert len(Session(stores.open()).names()) == 30


def test_a_server_that_stays_away(server: PostgresServer) -> None:
    stores = PostgresStores(server, patience=2.0)
    session = Session(stores.open())
    session.make(b"f")
    server.stop()
    batch = session.batch(Create(ROOT, b"g", session.ino(), 0o100600, 0, 0))
    with pytest.raises(Unavailable, match="does not answer"):
        session.ns.apply([batch], durable=False)
    with pytest.raises(Unavailable, match="does not answer"):
        session.ns.lookup(ROOT, b"f")
    server.start()

    def answers() -> bool:
        try:
            return session.ns.apply([batch], durable=False)[0].failure is None
        except Unavailable:
            return False

    wait_until(answers, "the namespace answers again")
    assert session.names() == [b"f", b"g"]
    stores.close()


def test_a_replay_that_comes_out_otherwise_is_kept_aside(
    server: PostgresServer,
    stores: PostgresStores,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another has taken the name before the replay could: the bytes are kept, and it is reported."""
    monkeypatch.setattr(replaying, "SETTLE_SECONDS", 0.2)
    store = stores.open()
    session = Session(store)
    mark = session.ino()
    session.pack  # noqa: B018  # durable
    session.do(durable=True)
    extent = session.extent(0, b"precious")
    session.do(Create(ROOT, b"f", mark, 0o100600, 0, 0), Write(mark, (extent,), 8), packs=(session.pack,))
    server.kill()
    server.start()
    other = Session(stores.open())
    if other.ns.lookup(ROOT, b"f") is not None:
        pytest.skip("the server had written the batch down already")
    other.make(b"f", uid=7)
    with caplog.at_level(logging.ERROR):
        later = session.make(b"later")
    assert "batch 2 of session" in caplog.text
    assert store.counters()["fenced"] == 1
    assert other.find(b"f").uid == 7
    assert other.find(b"later").ino == later.ino
    lost = other.find(b".graviton-lost")
    [kept] = other.ns.entries(Ino(lost.ino), None, 10)
    assert other.read(kept.attr.ino) == b"precious"
    assert other.problems() == []


def test_what_a_session_was_answered_it_also_reads_after_a_crash(
    server: PostgresServer, stores: PostgresStores
) -> None:
    """``open`` looks a file up, makes it, and asks for it again: with a crash in between it was gone, and the
    next try to make it failed because it existed."""
    session = Session(stores.open())
    for turn in range(3):
        name = b"f%d" % turn
        made = session.make(name)
        attr = session.write(made.ino, 0, b"bytes")
        server.kill()
        server.start()
        if turn == 0:
            assert session.ns.attr(made.ino) == attr
        elif turn == 1:
            assert session.ns.lookup(ROOT, name) == attr
        else:
            assert [entry.name for entry in session.ns.entries(ROOT, None, 10)] == [b"f0", b"f1", b"f2"]
        assert session.read(made.ino) == b"bytes"


def test_a_late_answer_of_the_database_before_changes_nothing(
    server: PostgresServer, stores: PostgresStores
) -> None:
    """One that was on its way when the server was killed: it made what a session had lost look complete."""
    store = stores.open()
    session = Session(store)
    made = session.make(b"f")
    before = store.incarnations.database
    server.kill()
    server.start()
    store.check()
    store.incarnations.told(before)
    assert session.ns.lookup(ROOT, b"f") == made
