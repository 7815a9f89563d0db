"""Volume leases on PostgreSQL: between the processes that share a database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.postgres.leases import SHARE
from graviton_server.namespace.postgres.store import PostgresStore
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.testing.namespace_suite.driver import Session
from gravitonfs.testing.namespace_suite.set_aside import SetAsideSuite
from gravitonfs.testing.namespace_suite.volume_leases import (
    LEASE,
    Holder,
    LeaseRelaySuite,
    VolumeLeaseSuite,
    meanwhile,
    soon,
)
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores
from rpc.holding import holding
from rpc.served import ServedStore

SILENCE = LEASE / SHARE


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres, silence=SILENCE)
    yield result
    if not postgres.runs:
        postgres.start()
    result.close()


class TestLeases(VolumeLeaseSuite): ...


class TestRelay(LeaseRelaySuite): ...


class TestSetAside(SetAsideSuite): ...


# --- two processes ------------------------------------------------------------------------------------


def test_a_session_of_another_process_is_let_in_at_once(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    holder = Holder(one)
    holder.gets_it()
    started = time.monotonic()
    other = Session(two, "other")
    assert time.monotonic() - started < LEASE / 2
    assert holder.recalls == [0.0]
    assert holder.until() == 0.0
    other.make(b"f")
    assert holder.session.names() == [b"f"]
    [row] = [row for row in two.sessions() if row.number == holder.ns.session]
    assert not row.holds
    other.ns.detach()
    holder.gets_it()


def test_only_one_of_two_that_start_together_trusts(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    holders: list[Holder] = []
    with meanwhile(lambda: holders.append(Holder(one))), meanwhile(lambda: holders.append(Holder(two))):
        pass
    assert [holder.until() for holder in holders] == [0.0, 0.0]
    holders[0].ns.detach()
    holders[1].gets_it()
    assert holders[0].until() == 0.0


def test_upkeep_elsewhere_is_told_and_recalls_nobody(stores: PostgresStores) -> None:
    one, two = stores.open(), stores.open()
    holder = Holder(one)
    holder.gets_it()
    upkeep = Session(two, "maintenance", background=True)
    upkeep.make(b"f")
    soon(lambda: holder.told, "the change")
    assert holder.recalls == []
    assert holder.holds()


@pytest.mark.parametrize("killed", [False, True])
def test_a_server_that_restarts(postgres: PostgresServer, stores: PostgresStores, killed: bool) -> None:
    """The trust ends with it, and whoever comes in still has to ask."""
    one, two = stores.open(), stores.open()
    holder = Holder(one)
    holder.gets_it()
    holder.go_on.clear()
    seen = [holder.until()]
    if killed:
        postgres.kill()
    else:
        postgres.stop()
    postgres.start()

    def recalled() -> bool:
        seen.append(max(seen[-1], holder.until()))
        return bool(holder.recalls)

    with meanwhile(lambda: Session(two, "other")) as over:
        soon(lambda: recalled() or over.is_set(), "the recall")
        assert over.wait(30)
        assert time.monotonic() > seen[-1]
        holder.go_on.set()
    soon(lambda: EVERYTHING in holder.told, "the news of the restart")


def test_a_server_that_is_away_outlasts_the_trust(postgres: PostgresServer, stores: PostgresStores) -> None:
    store = stores.open()
    holder = Holder(store)
    holder.gets_it()
    postgres.stop()
    soon(lambda: not holder.holds(), "the end of the trust")
    postgres.start()
    holder.gets_it()


def test_a_frozen_process_wakes_without_trust(stores: PostgresStores, tmp_path: Path) -> None:
    store = stores.open()
    with holding(tmp_path / "holder", "postgres", stores.settings.conninfo, str(SILENCE)) as holder:
        holder.stop()
        other = Session(store, "other")
        admitted = time.monotonic()
        holder.go_on()
        assert holder.last_trusted() < admitted
        other.ns.detach()


def test_a_killed_process_is_seen_to_be_gone(stores: PostgresStores, tmp_path: Path) -> None:
    store = stores.open()
    with holding(tmp_path / "holder", "postgres", stores.settings.conninfo, str(SILENCE)) as holder:
        holder.kill()
        started = time.monotonic()
        Session(store, "other")
        assert time.monotonic() - started < LEASE / 2


# --- two daemons --------------------------------------------------------------------------------------


class Daemons:
    """Each a server of its own over the same database."""

    def __init__(self, stores: PostgresStores) -> None:
        self.all = [ServedStore(stores.open()) for _ in range(2)]

    def close(self) -> None:
        for one in self.all:
            one.close()


@pytest.fixture
def daemons(stores: PostgresStores) -> Iterator[list[ServedStore]]:
    made = Daemons(stores)
    yield made.all
    made.close()


class ServedPostgres:
    def __init__(self, stores: PostgresStores) -> None:
        self._stores = stores
        self._opened: list[ServedStore] = []

    def open(self) -> ServedStore:
        opened = ServedStore(self._stores.open())
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        for one in self._opened:
            one.close()


class TestServed(VolumeLeaseSuite):
    @pytest.fixture
    def stores(self, postgres: PostgresServer) -> Iterator[ServedPostgres]:
        below = PostgresStores(postgres, silence=SILENCE)
        result = ServedPostgres(below)
        yield result
        result.close()
        below.close()


def test_a_client_of_one_daemon_recalls_that_of_another(daemons: list[ServedStore]) -> None:
    one, two = daemons
    holder = Holder(one)
    holder.gets_it()
    holder.go_on.clear()
    with meanwhile(lambda: Session(two, "other")) as over:
        soon(lambda: holder.recalls, "the recall")
        assert not over.wait(0.2)
        holder.go_on.set()
        assert over.wait(1.5)
    assert holder.until() == 0.0


def test_a_daemons_own_session_recalls_that_of_another_daemon(
    daemons: list[ServedStore], stores: PostgresStores
) -> None:
    """As HTTP or a direct mount does."""
    holder = Holder(daemons[0])
    holder.gets_it()
    local = daemons[1].local
    assert isinstance(local, PostgresStore)
    started = time.monotonic()
    Session(local, "http")
    assert time.monotonic() - started < LEASE / 2
    assert holder.recalls == [0.0]
