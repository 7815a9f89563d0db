"""The volume's lease over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gravitonfs.testing.namespace_suite import volume_leases
from rpc.served import ServedStores


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[ServedStores]:
    result = ServedStores(tmp_path / "namespace.db", lease_seconds=volume_leases.LEASE)
    yield result
    result.close()


class TestVolumeLeases(volume_leases.VolumeLeaseSuite): ...
