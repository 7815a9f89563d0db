"""Sessions without a cache, where the connections to the database are cut while it commits."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from graviton_server.namespace.postgres.store import PostgresStore, Settings
from gravitonfs.content.session import Session
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.errors import Unavailable
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr, Create, SetAttr
from harness.postgres import PostgresServer
from harness.proxy import Direction, TcpProxy
from harness.waiting import wait_until

AT: dict[str, tuple[Direction, bytes]] = {"question": ("up", b"cut-off"), "answer": ("down", b"COMMIT")}


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    with TcpProxy(str(postgres.home), 5432) as made:
        yield made


@pytest.fixture
def store(postgres: PostgresServer, proxy: TcpProxy) -> Iterator[PostgresStore]:
    """With little patience."""
    direct = postgres.database()
    settings = Settings(
        direct.replace(f"host={postgres.home}", f"host=127.0.0.1 port={proxy.port} sslmode=disable"),
        patience=0.5,
    )
    PostgresStore.create(settings, VolumeFormat(), os.urandom(16))
    opened = PostgresStore.open(settings)
    yield opened
    proxy.heal()
    opened.close()
    postgres.drop(direct)


def make(session: Session, name: bytes) -> Attr:
    made = Create(ROOT_INO, name, session.new_ino(), 0o100644, 1, 2)
    return session.submit_for_attr(made)


def reachable(namespace: Namespace) -> bool:
    """The pool has connections again; how soon is its own business, and patience is little here."""
    try:
        namespace.usage()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize("lost", AT)
def test_a_number_is_not_used_again_where_it_may_have_been_used(
    store: PostgresStore, proxy: TcpProxy, lost: str
) -> None:
    namespace = store.attach(label="api")
    session = Session(namespace)
    first = make(session, b"first")
    direction, matching = AT[lost]
    proxy.leave(direction, matching=matching)
    with pytest.raises(Unavailable):
        make(session, b"cut-off")
    proxy.heal()
    wait_until(lambda: reachable(namespace), "the database to be reached again")

    made = make(session, b"next")
    changed = session.submit_for_attr(SetAttr(first.ino, mode=0o100600))
    assert namespace.lookup(ROOT_INO, b"next") == made
    assert namespace.attr(first.ino) == changed
    names = [entry.name for entry in namespace.entries(ROOT_INO, None, 10)]
    assert names == [b"cut-off", b"first", b"next"], "the one that was cut off has come to be, once"
    session.close()
    namespace.detach()


def test_a_call_that_gave_up_is_settled_by_itself(store: PostgresStore, proxy: TcpProxy) -> None:
    """Not whenever somebody calls again: what was done elsewhere in the meantime would be undone."""
    namespace = store.attach(label="api")
    session = Session(namespace)
    make(session, b"first")
    direction, matching = AT["question"]
    proxy.leave(direction, matching=matching)
    with pytest.raises(Unavailable):
        make(session, b"cut-off")
    proxy.heal()
    wait_until(lambda: namespace.lookup(ROOT_INO, b"cut-off") is not None, "it to be made again")
    session.close()
    namespace.detach()
