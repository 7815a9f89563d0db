"""The suite of rows of targets and copies, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.replicas import CopyState
from gravitonfs.testing.replicas_suite import WORK, Names, ReplicasSuite, live, targets
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores


class TestSqliteReplicas(ReplicasSuite):
    @pytest.fixture
    def names(self, tmp_path: Path) -> Iterator[Names]:
        NamespaceStore.create(tmp_path / "names.db", VolumeFormat(), bytes(range(16)))
        store = NamespaceStore.open(tmp_path / "names.db")
        yield store
        store.close()


class TestPostgresReplicas(ReplicasSuite):
    @pytest.fixture
    def names(self, postgres: PostgresServer) -> Iterator[Names]:
        stores = PostgresStores(postgres)
        yield stores.open()
        stores.close()


def test_daemons_share_the_work(postgres: PostgresServer) -> None:
    stores = PostgresStores(postgres)
    one, two = stores.open(), stores.open()
    a, b = targets(one, "a", "b")
    made = {live(one, a, b, there=1)[0] for _ in range(20)}
    first = {job.pack for job in one.replicas.claim([b], WORK, 8, 60.0)}
    second = {job.pack for job in two.replicas.claim([b], WORK, 100, 60.0)}
    assert len(first) == 8
    assert first | second == made
    assert not first & second
    assert sum(t.packs for t in two.replicas.tally() if t.state is CopyState.WANTED) == 20
    stores.close()
