"""The conformance suite on PostgreSQL: Debian's, and a newer one from a wheel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gravitonfs.testing.namespace_suite import (
    attributes,
    blobs,
    contents,
    history,
    leases,
    names,
    quotas,
    sessions,
    small_maps,
    snapshots,
    trash,
    upkeep,
)
from harness.postgres import BINARIES, PostgresServer
from namespace.postgres_stores import PostgresStores


@pytest.fixture(scope="module", params=sorted(BINARIES))
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    found = PostgresServer(BINARIES[request.param]())
    yield found
    found.close()


@pytest.fixture
def stores(server: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(server)
    yield result
    result.close()


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


class TestOrigin(upkeep.OriginSuite): ...


class TestReap(upkeep.ReapSuite): ...


class TestUpkeep(upkeep.UpkeepSuite): ...


class TestSnapshots(snapshots.SnapshotSuite): ...


class TestBrowsing(snapshots.BrowsingSuite): ...


class TestBlobs(blobs.BlobSuite): ...


class TestLeases(leases.LeaseSuite): ...


class TestVolumes(leases.VolumesSuite): ...


class TestTrash(trash.TrashSuite): ...
