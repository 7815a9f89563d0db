"""The conformance suite on SQLite."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.testing.namespace_suite import (
    attributes,
    blobs,
    contents,
    history,
    leases,
    model,
    names,
    quota_model,
    quotas,
    sessions,
    small_maps,
    snapshots,
    trash,
    tree_model,
    upkeep,
)


class TestNames(names.NamesSuite): ...


class TestRename(names.RenameSuite): ...


class TestAttributes(attributes.AttributesSuite): ...


class TestXattrs(attributes.XattrSuite): ...


class TestAcls(attributes.AclSuite): ...


class TestData(contents.DataSuite): ...


class TestSeals(contents.SealSuite): ...


class TestBases(contents.BaseSuite): ...


class TestSmallMaps(small_maps.SmallMapsSuite): ...


class TestClone(contents.CloneSuite): ...


class TestPublish(contents.PublishSuite): ...


class TestExactlyOnce(sessions.ExactlyOnceSuite): ...


class TestDurability(sessions.DurabilitySuite): ...


class TestOrphans(sessions.OrphanSuite): ...


class TestListeners(sessions.ListenerSuite): ...


class TestRecords(sessions.RecordSuite): ...


class TestQuotas(quotas.QuotaSuite): ...


class TestPacks(sessions.PackSuite): ...


class TestLoose(sessions.LooseSuite): ...


class TestHistory(history.HistorySuite): ...


class TestSnapshots(snapshots.SnapshotSuite): ...


class TestBrowsing(snapshots.BrowsingSuite): ...


class TestBlobs(blobs.BlobSuite): ...


class TestOrigin(upkeep.OriginSuite): ...


class TestReap(upkeep.ReapSuite): ...


class TestUpkeep(upkeep.UpkeepSuite): ...


class TestLeases(leases.LeaseSuite): ...


class TestVolumes(leases.VolumesSuite): ...


class Scratch:
    """A fresh store for each run of a state machine."""

    directory: Path | None = None

    def open_store(self) -> NamespaceStore:
        self.directory = Path(tempfile.mkdtemp(prefix="graviton-namespace-"))
        path = self.directory / "namespace.db"
        NamespaceStore.create(path, VolumeFormat(), bytes(16))
        return NamespaceStore.open(path)

    def remove_store(self) -> None:
        if self.directory is not None:
            shutil.rmtree(self.directory)


class SqliteFiles(Scratch, model.FilesModel):
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class SqliteTrees(Scratch, tree_model.TreeModel):
    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class SqliteQuotas(Scratch, quota_model.QuotaModel):
    def open_stores(self) -> Any:
        store = self.open_store()
        return store, store

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.remove_store()


class LongSqliteQuotas(SqliteQuotas): ...


class LongSqliteFiles(SqliteFiles): ...


class LongSqliteTrees(SqliteTrees): ...


TestFilesModel = SqliteFiles.TestCase
TestFilesModel.settings = model.QUICK
TestTreeModel = SqliteTrees.TestCase
TestTreeModel.settings = tree_model.QUICK

TestQuotaModel = SqliteQuotas.TestCase
TestQuotaModel.settings = quota_model.QUICK
TestLongQuotaModel = pytest.mark.soak(pytest.mark.timeout(1200)(LongSqliteQuotas.TestCase))
TestLongQuotaModel.settings = settings(quota_model.QUICK, max_examples=600)

TestLongFilesModel = pytest.mark.soak(pytest.mark.timeout(1200)(LongSqliteFiles.TestCase))
TestLongFilesModel.settings = settings(model.QUICK, max_examples=600)
TestLongTreeModel = pytest.mark.soak(pytest.mark.timeout(1200)(LongSqliteTrees.TestCase))
TestLongTreeModel.settings = settings(tree_model.QUICK, max_examples=600)


class TestTrash(trash.TrashSuite): ...
