"""Through PgBouncer in transaction mode, which keeps nothing of a session between transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from graviton_server.namespace.postgres.store import PostgresStore
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from harness.postgres import PgBouncer, PostgresServer
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[PgBouncer]:
    found = PgBouncer(postgres)
    yield found
    found.close()


@pytest.mark.parametrize("prepare", [True, False])
def test_many_clients_on_few_connections(postgres: PostgresServer, pooler: PgBouncer, prepare: bool) -> None:
    """With ``prepare`` left on the store finds out by itself that statements do not stay."""
    stores = PostgresStores(postgres)
    direct = stores.settings.conninfo
    settings = stores.settings._replace(
        conninfo=pooler.conninfo(direct), listen=direct, prepare=prepare, pool_size=4
    )
    one, two = PostgresStore.open(settings), PostgresStore.open(settings)
    told: list[Change] = []
    Session(two, "listens", listener=told.extend)
    failures: list[BaseException] = []

    def work(index: int, store: PostgresStore) -> None:
        try:
            session = Session(store)
            for number in range(30):
                name = b"%d-%d" % (index, number)
                ino = session.make(name).ino
                session.write(ino, 0, name)
                assert session.read(ino) == name
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n, (one, two)[n % 2])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check = Session(one)
    assert len(check.names()) == 180
    assert check.problems() == []
    file = check.make(b"last")
    wait_until(lambda: Change(Touched.ENTRY, file.ino, ROOT, b"last") in told, "changes are told")
    one.close()
    two.close()
    stores.close()
