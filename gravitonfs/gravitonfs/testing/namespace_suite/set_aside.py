"""Sessions of clients that are away with a journal: kept for them, and in nobody's way meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gravitonfs.core.processes import myself
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Claims, Namespace
from gravitonfs.ports.ops import Batch, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused
from gravitonfs.testing.namespace_suite.leases import LeasingStore, LeasingStores
from gravitonfs.testing.namespace_suite.volume_leases import DEADLINE, LEASE, OTHER, SECRET, meanwhile, soon

GONE = myself().rpartition("/")[0] + "/1"
"""A process of this number that began at another time: it is there no more."""


def nothing() -> None:
    pass


class SetAsideSuite:
    """For stores whose leases last ``LEASE`` seconds."""

    def test_it_is_in_nobodys_way(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._journalled(store)
        number = one.ns.session
        assert store.lease(number, 60.0).number
        one.make(b"f")
        store.set_aside(number)
        [row] = store.sessions()
        assert (row.number, row.attached, row.journals, row.holds) == (number, False, True, False)
        assert row.last == one.number
        started = time.monotonic()
        two = self._remote(store, OTHER)
        assert time.monotonic() - started < LEASE / 2
        assert store.lease(two.ns.session, 60.0).number
        with refused(Kind.FENCED):
            one.make(b"late")
        with refused(Kind.FENCED):
            store.lease(number, 60.0)
        with refused(Kind.FENCED):
            store.set_aside(number)
        assert two.names() == [b"f"]
        assert store.lease(two.ns.session, 60.0).seconds
        store.close()

    def test_it_comes_back_by_the_door(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._journalled(store)
        number = one.ns.session
        one.make(b"f")
        store.set_aside(number)
        recalled: list[float] = []
        two = self._remote(store, OTHER, lambda: recalled.append(time.monotonic()))
        lease = store.lease(two.ns.session, 60.0)
        back: list[Namespace] = []
        with meanwhile(lambda: back.append(self._resume(store, number))) as over:
            soon(lambda: recalled, "the recall")
            assert not over.wait(0.1)
            store.let_go(two.ns.session, lease.number)
            assert over.wait(DEADLINE)
        one.ns = back[0]
        assert store.state_of(number).last == one.number
        one.make(b"g")
        [again] = one.ns.apply([Batch(one.number, 1, ())], durable=True)
        assert again.number == one.number, "what was answered is known"
        assert two.names() == [b"f", b"g"]
        store.close()

    def test_one_that_has_to_wait_for_long_is_not_lost(self, stores: LeasingStores) -> None:
        store = stores.open()
        number = self._journalled(store).ns.session
        store.set_aside(number)
        two = self._remote(store, OTHER)
        lease = store.lease(two.ns.session, 60.0)
        for _ in range(3):
            with refused(Kind.THROTTLED):
                self._resume(store, number, patience=0.05)
        store.let_go(two.ns.session, lease.number)
        self._resume(store, number)
        assert store.state_of(number).last >= 0
        store.close()

    def test_what_it_has_open_stays(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._journalled(store, claims=lambda ino: True)
        number, ino = one.ns.session, one.make(b"f").ino
        store.set_aside(number)
        two = self._remote(store, OTHER)
        two.do(Unlink(ROOT, b"f"), durable=True)
        assert store.claims_of(number) == [ino]
        assert two.ns.attr(ino).nlink == 0
        self._resume(store, number, claims=lambda ino: True)
        store.release(number, [ino])
        with refused(Kind.STALE):
            two.ns.attr(ino)
        store.close()

    def test_evicting_it(self, stores: LeasingStores) -> None:
        store = stores.open()
        number = self._journalled(store).ns.session
        store.set_aside(number)
        store.evict(number)
        assert store.sessions() == []
        with refused(Kind.FENCED):
            self._resume(store, number)
        store.close()

    def test_it_outlives_the_process(self, stores: LeasingStores) -> None:
        store = stores.open()
        one = self._journalled(store)
        number = one.ns.session
        one.make(b"f")
        store.set_aside(number)
        store.close()
        store = stores.open()
        two = self._remote(store, OTHER)
        assert store.lease(two.ns.session, 60.0).number
        two.ns.detach()
        self._resume(store, number)
        assert store.state_of(number).last == one.number
        store.close()

    def test_one_that_a_dead_daemon_had(self, stores: LeasingStores) -> None:
        """Nobody has set it aside; its own process is seen to be gone, or has nobody to speak for it."""
        store = stores.open()
        one = self._journalled(store, process=GONE)
        number = one.ns.session
        assert store.lease(number, 60.0).number
        one.make(b"f")
        store.commit()
        store.close()
        store = stores.open()
        started = time.monotonic()
        two = self._remote(store, OTHER)
        assert time.monotonic() - started < LEASE / 2
        soon(lambda: store.lease(two.ns.session, 60.0).number, "the lease")
        two.ns.detach()
        self._resume(store, number)
        assert store.state_of(number).last == one.number
        store.close()

    @staticmethod
    def _remote(store: LeasingStore, secret: bytes, recall: Callable[[], None] = nothing) -> Session:
        session = Session(store, "remote", leased=secret, listener=lambda _: None, recall=recall)
        store.commit()
        return session

    @staticmethod
    def _journalled(store: LeasingStore, claims: Claims = lambda ino: False, **options: Any) -> Session:
        session = Session(
            store,
            "journalled",
            leased=SECRET,
            claims=claims,
            listener=lambda _: None,
            recall=nothing,
            journals=True,
            **options,
        )
        store.commit()
        return session

    @staticmethod
    def _resume(store: LeasingStore, number: int, **options: Any) -> Namespace:
        return store.attach(label="again", resume=number, leased=SECRET, journals=True, **options)
