"""Sessions on one database from several daemons: who is missed, who moves, what they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gravitonfs.core.ids import Ino
from gravitonfs.errors import (
    Fenced,
    Kind,
    Stale,
)
from gravitonfs.ports.ops import (
    Batch,
    Create,
    Disclaim,
    Unlink,
)
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused
from harness.postgres import PostgresServer
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres)
    yield result
    result.close()


def test_files_open_elsewhere_outlive_their_names(stores: PostgresStores) -> None:
    opened: set[int] = set()
    one, two = stores.open(), stores.open()
    other = Session(two, "other", claims=lambda ino: ino in opened)
    session = Session(one)
    kept, gone = session.make(b"kept").ino, session.make(b"gone").ino
    session.write(kept, 0, b"data")
    opened.add(kept)
    assert session.do(Unlink(ROOT, b"kept")).kept
    session.do(Unlink(ROOT, b"gone"))

    def is_gone(ino: Ino) -> bool:
        try:
            session.ns.attr(ino)
        except Stale:
            return True
        return False

    wait_until(lambda: is_gone(gone), "what nobody holds goes")
    assert other.read(kept) == b"data"
    other.do(Disclaim((kept,)))
    assert is_gone(kept)
    assert session.problems() == []


def test_a_silent_session_is_ended(postgres: PostgresServer) -> None:
    stores = PostgresStores(postgres, silence=2.0)
    one, two = stores.open(), stores.open()
    session = Session(two, claims=lambda ino: True)
    kept = session.make(b"f").ino
    session.do(Unlink(ROOT, b"f", claim=True))
    staged = session.staged().ino
    two.roster.stop()  # as a process that hangs
    check = Session(one)

    def is_over() -> bool:
        return one.database.again(lambda c: c.execute("SELECT 1 FROM claims").fetchall()) == []

    wait_until(is_over, "the silent session is ended")
    for ino in (kept, staged):
        with refused(Kind.STALE):
            check.ns.attr(ino)
    with pytest.raises(Fenced):
        session.make(b"late")
    assert check.problems() == []
    stores.close()


def test_a_session_moves_to_another_daemon(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    session = Session(one)
    batch = session.batch(Create(ROOT, b"f", session.ino(), 0o100600, 0, 0))
    [first] = session.ns.apply([batch], durable=False)
    moved = two.attach(label="moved", resume=session.ns.session)
    [again] = moved.apply([batch], durable=False)
    assert again.results == first.results
    later = session.batch(Unlink(ROOT, b"f"))
    assert moved.apply([later], durable=False)[0].failure is None
    [repeated] = session.ns.apply([later], durable=False)
    assert repeated.failure is None
    assert session.names() == []


def test_a_session_that_has_moved_is_not_ended_where_it_was(stores: PostgresStores) -> None:
    """A daemon that hears nothing of it any more only forgets it; one that it has come back to ends it."""
    one, two = stores.open(), stores.open()
    session = Session(one)
    number = session.ns.session
    moved = two.attach(label="moved", resume=number)
    session.ns.detach()
    [reply] = moved.apply([session.batch(Create(ROOT, b"f", session.ino(), 0o100600, 0, 0))], durable=False)
    assert reply.failure is None
    back = one.attach(label="back", resume=number)
    assert one.retake(number)
    moved.detach()
    assert [row.number for row in one.sessions()] == [number]
    back.detach()
    assert one.sessions() == []


def test_a_session_that_has_moved_is_not_ended_by_whoever_had_it(postgres: PostgresServer) -> None:
    """A client goes to another daemon while its old one lives on, which hears nothing of it any more."""
    stores = PostgresStores(postgres, silence=3.0)
    one, two = stores.open(), stores.open()
    old = one.attach(label="client", leased=b"secret", claims=lambda ino: True)
    number = old.session
    moved = two.attach(label="client", resume=number, leased=b"secret", claims=lambda ino: True)
    old.detach()
    assert [row.number for row in one.sessions()] == [number]
    again = one.attach(label="client", resume=number, leased=b"secret")
    wait_until(lambda: number not in two.roster.numbers(), "the other daemon to see that it has gone", 10)
    moved.detach()
    assert [row.number for row in one.sessions()] == [number]
    two.roster.stop()
    create = Create(ROOT, b"f", Ino(again.grant(1)[0]), 0o100600, 0, 0)
    [reply] = again.apply([Batch(1, 1, (create,))], durable=True)
    assert reply.failure is None
    again.detach()
    assert one.sessions() == []
    stores.close()
