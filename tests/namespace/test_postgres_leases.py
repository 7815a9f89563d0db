"""Volume leases on PostgreSQL: between the processes that share a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graviton_server.namespace.postgres.leases import SHARE
from gravitonfs.testing.namespace_suite.volume_leases import LEASE, LeaseRelaySuite, VolumeLeaseSuite
from harness.postgres import PostgresServer, debian_binaries
from namespace.postgres_stores import PostgresStores


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    found = PostgresServer(debian_binaries())
    yield found
    found.close()


@pytest.fixture
def stores(server: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(server, silence=LEASE / SHARE)
    yield result
    result.close()


class TestLeases(VolumeLeaseSuite): ...


class TestRelay(LeaseRelaySuite): ...
