"""The suite of pack registries, on rows in memory and on a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.packs import PackRegistry
from gravitonfs.testing.memory_registry import MemoryRegistry
from gravitonfs.testing.registry_suite import PackRegistrySuite
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores


class TestMemoryRegistry(PackRegistrySuite):
    @pytest.fixture
    def registry(self) -> PackRegistry:
        return MemoryRegistry()


class TestSqlitePacks(PackRegistrySuite):
    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[PackRegistry]:
        NamespaceStore.create(tmp_path / "names.db", VolumeFormat(), bytes(range(16)))
        store = NamespaceStore.open(tmp_path / "names.db")
        yield store.packs
        store.close()


class TestPostgresPacks(PackRegistrySuite):
    @pytest.fixture
    def registry(self, postgres: PostgresServer) -> Iterator[PackRegistry]:
        stores = PostgresStores(postgres)
        yield stores.open().packs
        stores.close()
