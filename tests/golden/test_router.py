"""The names of a router as earlier versions dumped them: both engines load them, with where the packs are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.namespace.schema import SCHEMA_VERSION
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.ids import PackNumber
from gravitonfs.ports.replicas import Copy, CopyState, TargetNumber
from gravitonfs.testing.namespace_suite.driver import Session
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores

HERE = Path(__file__).parent
DUMPS = sorted(HERE.glob("router-*.dump"))


def _check(store: Any) -> None:
    session = Session(store)
    names = [b"f%d" % number for number in range(6)]
    assert session.names() == [*names, b"small"]
    assert session.problems() == []
    assert [(row.name, row.kind, row.zone) for row in store.replicas.targets()] == [
        ("s1", "shard", "s1"),
        ("s2", "shard", "s2"),
    ]
    found = store.replicas.page(PackNumber(0), 100)
    assert {copy for row in found for copy in row.copies} == {
        Copy(TargetNumber(1), CopyState.STORED),
        Copy(TargetNumber(2), CopyState.STORED),
    }
    assert all(len(row.copies) == 1 for row in found)
    session.make(b"new")
    assert session.problems() == []


@pytest.mark.parametrize("dump", DUMPS, ids=[path.stem for path in DUMPS])
def test_both_engines_load_it(dump: Path, scratch: Path, postgres: PostgresServer) -> None:
    NamespaceStore.load(scratch / "namespace.db", [dump.read_bytes()])
    embedded = NamespaceStore.open(scratch / "namespace.db")
    _check(embedded)
    embedded.close()
    settings = PostgresStores(postgres).settings._replace(conninfo=postgres.database())
    PostgresStore.load(settings, [dump.read_bytes()])
    store = PostgresStore.open(settings)
    _check(store)
    store.close()


def test_the_newest_schema_has_one() -> None:
    assert HERE / f"router-{SCHEMA_VERSION}.dump" in DUMPS
