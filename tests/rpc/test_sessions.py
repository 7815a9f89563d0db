"""What a remote session is told and asked, within bounds."""

from __future__ import annotations

import threading

import pytest

from graviton_server.grpc_api import remote_session
from graviton_server.grpc_api.remote_session import News, RemoteSession
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.ports.ops import RemoveTree
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused
from harness.waiting import wait_until
from rpc.served import ServedStore


def change(number: int) -> Change:
    return Change(Touched.ATTR, Ino(number), Ino(0), b"")


def session_() -> RemoteSession:
    return RemoteSession("somebody", claims=True, listens=True)


def news(session: RemoteSession, after: int) -> News:
    """The next thing that is told."""
    for told in session.watch(after):
        if told is not None:
            return told
    raise AssertionError("the watch ended")


def test_what_was_not_seen_is_told_again() -> None:
    session = session_()
    session.listener([change(1)])
    session.listener([change(2), change(3)])
    first = news(session, 0)
    assert [c.ino for c in first.changes] == [1, 2, 3]
    assert news(session, 0).changes == first.changes
    assert session.pending() == 3
    session.listener([change(4)])
    assert [c.ino for c in news(session, first.sequence).changes] == [4]
    assert session.pending() == 1


def test_too_much_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_session, "QUEUE", 10)
    session = session_()
    for number in range(1, 20):
        session.listener([change(number)])
    told = news(session, 0)
    assert told.lost
    rest = [c.ino for c in told.changes]
    assert rest == list(range(20 - len(rest), 20))
    session.listener([change(99)])
    after = news(session, told.sequence)
    assert (after.lost, [c.ino for c in after.changes]) == (False, [99])


def test_what_another_daemon_has_counted_is_not_believed() -> None:
    """The session was there meanwhile: what it has not heard here is not what the number says."""
    session, elsewhere = session_(), session_()
    for number in range(1, 4):
        session.listener([change(number)])
    there = 0
    for number in range(1, 20):
        elsewhere.listener([change(number)])
        there = news(elsewhere, there).sequence
    told = news(session, there)
    assert told.lost
    session.listener([change(4)])
    assert [c.ino for c in news(session, told.sequence).changes][-1] == 4
    older = news(elsewhere, told.sequence - (1 << 40))
    assert older.lost


def test_questions_stay_until_they_are_answered() -> None:
    session = session_()
    assert session.claims(Ino(5))
    assert news(session, 0).asked == [5]
    assert news(session, 0).asked == [5]
    session.answered([5])
    assert session.asked() == []


def test_a_second_watch_ends_the_first() -> None:
    session = session_()
    ended = threading.Event()

    def watch() -> None:
        for _ in session.watch(0):
            pass
        ended.set()

    thread = threading.Thread(target=watch)
    thread.start()
    wait_until(lambda: session._watchers == 1, "the first watch")
    session.listener([change(1)])
    assert news(session, 0).changes
    assert ended.wait(10)
    thread.join()


def test_more_questions_than_are_kept(store: ServedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removed tree of more files than that: every one of them is asked for, and freed, in the end."""
    monkeypatch.setattr(remote_session, "ASKED", 7)
    opened: set[int] = set()
    holder = Session(store, "holder", claims=lambda ino: ino in opened)  # type: ignore[arg-type]
    session = Session(store)  # type: ignore[arg-type]
    directory = session.mkdir(b"d").ino
    files = [session.make(b"%d" % number, parent=directory).ino for number in range(40)]
    opened.add(files[20])
    session.do(RemoveTree(ROOT, b"d"))
    session.reap_all()

    def freed() -> bool:
        return len(store.local.claims_of(holder.ns.session)) == 1

    wait_until(freed, "all but the open one to be freed")
    assert session.ns.attr(files[20]).nlink == 0
    with refused(Kind.STALE):
        session.ns.attr(files[21])


def test_one_that_somebody_else_has_ended_is_followed_by_another(store: ServedStore) -> None:
    """As an administrator does by HTTP: the server of the session only hears of it when it is used."""
    session = Session(store)  # type: ignore[arg-type]
    session.make(b"before")
    number = session.ns.session
    store.local.evict(number)
    with refused(Kind.FENCED):
        session.make(b"lost")
    session.number -= 1
    session.make(b"after")
    assert session.ns.session != number
    assert session.names() == [b"after", b"before"]
    assert [row.number for row in store.local.sessions()] == [session.ns.session]
