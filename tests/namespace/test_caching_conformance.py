"""The conformance suite on SQLite, through the namespace that answers what it knows from memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from content.trusting import CachingStore
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.testing.namespace_suite import (
    attributes,
    caching_model,
    contents,
    names,
    sessions,
    snapshots,
    trash,
)
from namespace.conftest import SqliteStores


class CachingStores:
    def __init__(self, stores: SqliteStores, *, answers: bool) -> None:
        self._stores = stores
        self._answers = answers

    def open(self) -> Any:
        return CachingStore(self._stores.open(), answers=self._answers)


@pytest.fixture(params=[False, True], ids=["reads", "changes"])
def stores(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CachingStores]:
    """What is answered from memory: reads alone, or changes as well."""
    found = SqliteStores(tmp_path / "namespace.db")
    yield CachingStores(found, answers=request.param)
    found.close()


class TestNames(names.NamesSuite): ...


class TestRename(names.RenameSuite): ...


class TestAttributes(attributes.AttributesSuite): ...


class TestXattrs(attributes.XattrSuite): ...


class TestAcls(attributes.AclSuite): ...


class TestData(contents.DataSuite): ...


class TestSeals(contents.SealSuite): ...


class TestClone(contents.CloneSuite): ...


class TestPublish(contents.PublishSuite): ...


class TestExactlyOnce(sessions.ExactlyOnceSuite): ...


class TestListeners(sessions.ListenerSuite): ...


class TestOrphans(sessions.OrphanSuite): ...


class TestBrowsing(snapshots.BrowsingSuite): ...


class TestRecords(sessions.RecordSuite): ...


class TestTrash(trash.TrashSuite): ...


class SqliteCaching(caching_model.CachingModel):
    def open_store(self) -> Any:
        self.path = Path(tempfile.mkdtemp(prefix="graviton-caching-"))
        NamespaceStore.create(self.path / "namespace.db", VolumeFormat(), b"store uuid 16 by")
        return NamespaceStore.open(self.path / "namespace.db")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)


class SqliteCachingTrash(SqliteCaching):
    """Nothing that is removed is freed."""

    def open_store(self) -> Any:
        store = super().open_store()
        store.trash_age_ns = 0
        return store


class LongSqliteCaching(SqliteCaching): ...


TestCachingModel = SqliteCaching.TestCase
TestCachingModel.settings = caching_model.QUICK
TestCachingTrashModel = SqliteCachingTrash.TestCase
TestCachingTrashModel.settings = caching_model.QUICK
TestLongCachingModel = pytest.mark.soak(pytest.mark.timeout(1800)(LongSqliteCaching.TestCase))
TestLongCachingModel.settings = settings(caching_model.QUICK, max_examples=1500)
