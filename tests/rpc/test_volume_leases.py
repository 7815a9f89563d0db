"""The volume's lease over gRPC: by the suite, and with processes that freeze, die and are cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.testing.namespace_suite import volume_leases
from gravitonfs.testing.namespace_suite.volume_leases import soon
from rpc.holding import HolderProcess, holding
from rpc.running import Daemon, Wire, daemon
from rpc.served import ServedStores
from rpc.sole import Sole

FENCE = 4.0
"""What silence costs a session; a lease lasts five sixths of it."""


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[ServedStores]:
    result = ServedStores(tmp_path / "namespace.db", lease_seconds=volume_leases.LEASE)
    yield result
    result.close()


class TestVolumeLeases(volume_leases.VolumeLeaseSuite): ...


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with daemon(tmp_path / "data", scratch, FENCE) as started:
        yield started
        log = started.stop()
    assert [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line] == []


@pytest.fixture
def holder(running: Daemon, tmp_path: Path) -> Iterator[HolderProcess]:
    with holding(tmp_path / "holder", "remote", f"127.0.0.1:{running.port}") as process:
        yield process


@contextmanager
def another(port: int) -> Iterator[float]:
    """A second session; when it was let in."""
    connection = Connection(Endpoint((f"127.0.0.1:{port}",)))
    try:
        namespace = RemoteNamespace(connection, label="other", timeout=30)
        admitted = time.monotonic()
        yield admitted
        namespace.detach()
    finally:
        connection.close()


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    made = Wire(running.port)
    yield made
    made.close()


@pytest.fixture
def here(wire: Wire) -> Iterator[Sole]:
    made = Sole(wire.port, "here")
    soon(made.holds, "the lease")
    yield made
    made.close()


def test_a_live_holder_makes_room_at_once(running: Daemon, holder: HolderProcess) -> None:
    started = time.monotonic()
    with another(running.port) as admitted:
        assert admitted - started < 2.0
        assert holder.last_trusted() < admitted
    holder.gets_it()


def test_a_frozen_holder_wakes_without_trust(running: Daemon, holder: HolderProcess) -> None:
    holder.stop()
    with another(running.port) as admitted:
        holder.go_on()
        assert holder.last_trusted() < admitted
    holder.gets_it()


def test_a_killed_holder_is_seen_to_be_gone(running: Daemon, holder: HolderProcess) -> None:
    holder.kill()
    started = time.monotonic()
    with another(running.port) as admitted:
        assert admitted - started < 2.0


def test_a_daemon_that_restarts_asks_the_holder(running: Daemon, holder: HolderProcess) -> None:
    running.restart()
    with another(running.port) as admitted:
        assert holder.last_trusted() < admitted
    holder.gets_it()


def test_a_daemon_that_restarts_waits_for_a_frozen_holder(running: Daemon, holder: HolderProcess) -> None:
    holder.stop()
    running.restart()
    with another(running.port) as admitted:
        holder.go_on()
        assert holder.last_trusted() < admitted


def test_a_lost_stream_ends_the_trust_until_it_is_back(here: Sole, wire: Wire) -> None:
    """Nobody was let in meanwhile: what was told stays true."""
    wire.hold()
    wire.cut()
    soon(lambda: not here.holds(), "the end of the trust")
    wire.release()
    soon(here.holds, "the lease")
    assert EVERYTHING not in here.told
    assert here.recalls == 0


def test_a_cut_network(running: Daemon, here: Sole, wire: Wire) -> None:
    """The holder hears nothing; it has stopped to trust before another is let in, and drops all later."""
    wire.hold()
    seen = [here.ns.trusted_until()]
    with another(running.port) as admitted:
        assert seen[0] < admitted
        assert not here.holds()
    assert here.told == []
    wire.release()
    soon(here.holds, "the lease")
    assert here.recalls == 1 or EVERYTHING in here.told
