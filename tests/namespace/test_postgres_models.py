"""The state machines of the conformance suite on PostgreSQL: few runs each, as each costs a database."""

from __future__ import annotations

import atexit
from typing import Any

import pytest
from hypothesis import settings

from gravitonfs.testing.namespace_suite import caching_model, model, quota_model, tree_model
from harness.postgres import PostgresServer, debian_binaries
from namespace.postgres_stores import PostgresStores


class _Server:
    """One for all runs of the module, started by the first."""

    found: PostgresServer | None = None

    @classmethod
    def get(cls) -> PostgresServer:
        if cls.found is None:
            cls.found = PostgresServer(debian_binaries())
            atexit.register(cls.found.close)
        return cls.found


class Scratch:
    """A fresh store for each run of a state machine."""

    stores: PostgresStores | None = None

    def open_store(self) -> Any:
        self.stores = PostgresStores(_Server.get())
        return self.stores.open()

    def remove_store(self) -> None:
        if self.stores is not None:
            self.stores.close()


class PostgresFiles(Scratch, model.FilesModel):
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class PostgresTrees(Scratch, tree_model.TreeModel):
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class PostgresCaching(Scratch, caching_model.CachingModel):
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class PostgresQuotas(Scratch, quota_model.QuotaModel):
    """Two processes' stores."""

    def open_stores(self) -> Any:
        first = self.open_store()
        assert self.stores is not None
        return first, self.stores.open()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class LongPostgresQuotas(PostgresQuotas): ...


class LongPostgresFiles(PostgresFiles): ...


class LongPostgresTrees(PostgresTrees): ...


class LongPostgresCaching(PostgresCaching): ...


TestFilesModel = PostgresFiles.TestCase
TestFilesModel.settings = settings(model.QUICK, max_examples=6, deadline=None)
TestTreeModel = PostgresTrees.TestCase
TestTreeModel.settings = settings(tree_model.QUICK, max_examples=6, deadline=None)
TestCachingModel = PostgresCaching.TestCase
TestCachingModel.settings = settings(caching_model.QUICK, max_examples=6, deadline=None)
TestQuotaModel = PostgresQuotas.TestCase
TestQuotaModel.settings = settings(quota_model.QUICK, max_examples=6, deadline=None)

TestLongFilesModel = pytest.mark.soak(pytest.mark.timeout(1800)(LongPostgresFiles.TestCase))
TestLongFilesModel.settings = settings(model.QUICK, max_examples=150, deadline=None)
TestLongTreeModel = pytest.mark.soak(pytest.mark.timeout(1800)(LongPostgresTrees.TestCase))
TestLongTreeModel.settings = settings(tree_model.QUICK, max_examples=150, deadline=None)
TestLongCachingModel = pytest.mark.soak(pytest.mark.timeout(1800)(LongPostgresCaching.TestCase))
TestLongCachingModel.settings = settings(caching_model.QUICK, max_examples=150, deadline=None)
TestLongQuotaModel = pytest.mark.soak(pytest.mark.timeout(1800)(LongPostgresQuotas.TestCase))
TestLongQuotaModel.settings = settings(quota_model.QUICK, max_examples=150, deadline=None)
