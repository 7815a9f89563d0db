"""The lease of a session that has its volume to itself: who gets it, who is waited for, and for how long.

For stores whose leases last ``LEASE`` seconds, so that a test can see one run out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.store import NO_LEASE
from gravitonfs.testing.namespace_suite.driver import Session, refused
from gravitonfs.testing.namespace_suite.leases import LeasingStore, LeasingStores

LEASE = 2.5
SECRET = bytes(range(32))
OTHER = bytes(reversed(range(32)))
DEADLINE = 20.0


def soon(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


@contextmanager
def meanwhile(call: Callable[[], object]) -> Iterator[threading.Event]:
    """Run it on a thread; the event is set when it is over. What it raises fails the test."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)
        over.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield over
    finally:
        thread.join(DEADLINE)
    assert failures == []


class Holder:
    """A session that wants the lease, as a front end does."""

    def __init__(self, store: LeasingStore, label: str = "holder") -> None:
        self.recalls: list[float] = []
        """What it trusted when it was recalled."""
        self.go_on = threading.Event()
        self.go_on.set()
        self.told: list[Change] = []
        self.session = Session(store, label, listener=self.told.extend, recall=self._recalled)
        self.ns = self.session.ns
        self.until = self.ns.trusted_until

    def _recalled(self) -> None:
        self.recalls.append(self.until())
        assert self.go_on.wait(DEADLINE)

    def holds(self) -> bool:
        return self.until() > time.monotonic()

    def gets_it(self) -> None:
        soon(self.holds, "the lease")


class VolumeLeaseSuite:
    """Of namespaces whose sessions are in other processes than those that change the volume."""

    def test_whoever_is_alone_has_it(self, stores: LeasingStores) -> None:
        store = stores.open()
        holder = Holder(store)
        holder.gets_it()
        first = holder.until()
        assert first - time.monotonic() < LEASE
        soon(lambda: holder.until() > first + 0.1, "more time")
        [row] = store.sessions()
        assert (row.number, row.holds) == (holder.ns.session, True)
        holder.session.make(b"f")
        holder.ns.detach()
        assert holder.until() == 0.0
        store.close()

    def test_without_a_recall_there_is_none(self, stores: LeasingStores) -> None:
        store = stores.open()
        told: list[Change] = []
        session = Session(store, listener=told.extend)
        deadline = time.monotonic() + LEASE / 2
        while time.monotonic() < deadline:
            assert session.ns.trusted_until() == 0.0
            assert not any(row.holds for row in store.sessions())
        store.close()

    @pytest.mark.parametrize("read_only", [False, True])
    def test_another_is_let_in_when_the_holder_has_let_go(
        self, stores: LeasingStores, read_only: bool
    ) -> None:
        store = stores.open()
        holder = Holder(store)
        holder.gets_it()
        holder.go_on.clear()
        others: list[Session] = []
        with meanwhile(lambda: others.append(Session(store, "other", read_only=read_only))) as over:
            soon(lambda: holder.recalls, "the recall")
            assert holder.until() == 0.0
            assert not over.wait(0.2)
            holder.go_on.set()
            started = time.monotonic()
            assert over.wait(DEADLINE)
            assert time.monotonic() - started < 1.5
        assert holder.recalls == [0.0]
        holder.session.make(b"f")
        assert others[0].find(b"f").nlink == 1
        assert holder.until() == 0.0
        assert not any(row.holds for row in store.sessions())
        others[0].ns.detach()
        holder.gets_it()
        Session(store, "third")
        assert holder.recalls == [0.0, 0.0]
        store.close()

    def test_one_that_does_not_answer_is_waited_for(self, stores: LeasingStores) -> None:
        store = stores.open()
        holder = Holder(store)
        holder.gets_it()
        holder.go_on.clear()
        trusted = [holder.until()]

        def recalled() -> bool:
            until = holder.until()
            trusted.append(max(trusted[-1], until))
            return bool(holder.recalls)

        with meanwhile(lambda: Session(store, "other")) as over:
            soon(recalled, "the recall")
            assert over.wait(DEADLINE)
            assert time.monotonic() > trusted[-1]
            holder.go_on.set()
        store.close()

    def test_ending_it_lets_others_in(self, stores: LeasingStores) -> None:
        store = stores.open()
        holder = Holder(store)
        holder.gets_it()
        holder.go_on.clear()
        with meanwhile(lambda: Session(store, "other")) as over:
            soon(lambda: holder.recalls, "the recall")
            store.evict(holder.ns.session)
            assert over.wait(1.0)
            holder.go_on.set()
        store.close()

    def test_several_come_at_once(self, stores: LeasingStores) -> None:
        store = stores.open()
        holders = [Holder(store)]
        holders[0].gets_it()

        def enter() -> None:
            holders.append(Holder(store, "other"))

        with meanwhile(enter), meanwhile(enter), meanwhile(enter):
            pass
        assert [holder.until() for holder in holders] == [0.0] * 4
        for holder in holders[1:]:
            holder.ns.detach()
        holders[0].gets_it()
        store.close()

    def test_upkeep_is_no_session(self, stores: LeasingStores) -> None:
        store = stores.open()
        upkeep = Session(store, "maintenance", background=True)
        holder = Holder(store)
        holder.gets_it()
        again = Session(store, "more", background=True)
        assert holder.recalls == []
        assert holder.holds()
        upkeep.ns.detach()
        again.ns.detach()
        store.close()


class LeaseRelaySuite:
    """Of stores: what daemons ask on behalf of their clients' sessions."""

    def test_it_is_granted_renewed_and_let_go(self, stores: LeasingStores) -> None:
        store = stores.open()
        asked = threading.Semaphore(0)
        one = self._remote(store, SECRET, asked.release)
        first = store.lease(one.ns.session, 60.0)
        assert first.number > 0
        assert 0 < first.seconds <= LEASE
        assert store.lease(one.ns.session, 1.0) == (first.number, 1.0)
        assert store.lease_of(one.ns.session) == first.number
        others: list[Session] = []
        with meanwhile(lambda: others.append(Session(store, "other"))) as over:
            assert asked.acquire(timeout=DEADLINE)
            assert store.lease(one.ns.session, 60.0) == (first.number, 0.0)
            store.let_go(one.ns.session, first.number - 1)
            assert store.lease_of(one.ns.session) == first.number
            assert not over.is_set()
            store.let_go(one.ns.session, first.number)
            assert over.wait(1.0)
        assert store.lease(one.ns.session, 60.0) == NO_LEASE
        others[0].ns.detach()
        second = store.lease(one.ns.session, 60.0)
        assert second.number > first.number
        store.let_go(one.ns.session, first.number)
        assert store.lease_of(one.ns.session) == second.number
        store.close()

    def test_a_client_that_is_silent_is_outwaited(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._remote(store, SECRET, lambda: None)
        granted = time.monotonic()
        lease = store.lease(one.ns.session, 60.0)
        with refused(Kind.THROTTLED):
            Session(store, "hasty", patience=0.1)
        assert len(store.sessions()) == 1
        assert store.lease(one.ns.session, 60.0) == (lease.number, 0.0)
        Session(store, "other")
        assert time.monotonic() >= granted + lease.seconds * 0.99
        store.close()

    def test_it_outlives_the_process(self, stores: LeasingStores) -> None:
        """Whoever opens the store waits for a client that may not have heard that its daemon is gone."""
        store = stores.open()
        one = self._remote(store, SECRET, lambda: None)
        first = store.lease(one.ns.session, 60.0)
        granted = time.monotonic()
        store.close()
        store = stores.open()
        Session(store, "other").ns.detach()
        assert time.monotonic() >= granted + first.seconds * 0.99
        store.close()

    def test_one_that_comes_back_begins_anew(self, stores: LeasingStores) -> None:
        store = stores.open()
        number = self._remote(store, SECRET, lambda: None).ns.session
        first = store.lease(number, 60.0)
        store.close()
        store = stores.open()
        store.attach(label="again", resume=number, leased=SECRET, recall=lambda: None)
        started = time.monotonic()
        Session(store, "other").ns.detach()
        assert time.monotonic() - started < LEASE / 2
        soon(lambda: store.lease(number, 60.0).number > first.number, "another lease")
        store.close()

    def test_two_clients_have_none(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._remote(store, SECRET, lambda: None)
        two = self._remote(store, OTHER, lambda: None)
        for session in (one, two):
            assert store.lease(session.ns.session, 60.0) == NO_LEASE
        one.ns.detach()
        assert store.lease(two.ns.session, 60.0).number
        with refused(Kind.FENCED):
            store.lease(one.ns.session, 60.0)
        store.close()

    @staticmethod
    def _remote(store: LeasingStore, secret: bytes, recall: Callable[[], None]) -> Session:
        session = Session(
            store, "remote", leased=secret, claims=lambda ino: False, listener=lambda _: None, recall=recall
        )
        store.commit()
        return session
