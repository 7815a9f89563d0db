"""Volume leases on SQLite: sessions of the process itself need none, those of clients are relayed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.testing.namespace_suite.driver import Session
from gravitonfs.testing.namespace_suite.set_aside import SetAsideSuite
from gravitonfs.testing.namespace_suite.volume_leases import LEASE, Holder, LeaseRelaySuite
from namespace.conftest import SqliteStores


class Leasing(SqliteStores):
    def open(self, group_seconds: float = 1.0) -> NamespaceStore:
        opened = NamespaceStore.open(self.path, group_seconds=group_seconds, lease_seconds=LEASE)
        self._opened.append(opened)
        return opened


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Leasing]:
    result = Leasing(tmp_path / "namespace.db")
    yield result
    result.close()


class TestRelay(LeaseRelaySuite): ...


class TestSetAside(SetAsideSuite): ...


def test_sessions_of_the_process_are_told_at_once(stores: Leasing) -> None:
    store = stores.open()
    one, two = Holder(store), Holder(store, "other")
    for holder in (one, two):
        assert holder.until() == math.inf
    assert Session(store, "silent").ns.trusted_until() == 0.0
    one.session.make(b"f")
    assert two.told
    assert one.recalls == []
    one.ns.detach()
    assert one.until() == 0.0
    store.close()
