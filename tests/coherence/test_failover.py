"""A daemon that ends under a mount: the mount goes on through another, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coherence import stores
from coherence.stores import MAIN, Store
from harness.haproxy import HaProxy
from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton
from rpc.running import goes_on

pytestmark = pytest.mark.mount

WRITER = Path(__file__).parents[1] / "rpc" / "mount_writer.py"


def on(quick: str) -> pytest.MarkDecorator:
    """Both kinds of packs, one of them in the quick suite."""
    other = {"directory": "bucket", "bucket": "directory"}[quick]
    return pytest.mark.parametrize(
        "store", [quick, pytest.param(other, marks=pytest.mark.soak)], indirect=True
    )


@pytest.fixture
def store(
    request: pytest.FixtureRequest, graviton: Graviton, scratch: Path, postgres: Callable[[], PostgresServer]
) -> Iterator[Store]:
    make = stores.on_directory if request.param == "directory" else stores.on_bucket
    made = make(graviton, scratch / "store", postgres())
    yield made
    made.stop()


def written_while(point: Path, stop: Path, *disturbances: Callable[[], object], pause: float = 0.8) -> None:
    """Files of all sizes are written, and compared at the end, while these happen one after the other."""
    command = [sys.executable, str(WRITER), str(point), str(stop)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for disturb in disturbances:
            goes_on(writer, pause)
            disturb()
        goes_on(writer, pause)
        stop.touch()
        said, _ = writer.communicate(timeout=100)
    finally:
        writer.kill()
        writer.communicate()
    assert writer.returncode == 0, said.decode()


def check(graviton: Graviton, store: Store) -> None:
    told = json.loads(graviton.run("fsck", "--read-data", store.daemons[0].data, "--json").stdout)
    assert not told["findings"]


@on("directory")
def test_behind_a_load_balancer(store: Store, graviton: Graviton, scratch: Path) -> None:
    addresses = [daemon.address.grpc for daemon in store.daemons]
    with HaProxy(scratch, addresses) as balancer:
        [(running, point)] = store.mounts(f"graviton://{balancer.address}/{MAIN}")
        one, other = store.daemons
        written_while(point, scratch / "stop", one.kill, one.start, other.kill, other.start)
        unmount(point)
        assert running.process.wait(60) == 0, running.log_text()
    check(graviton, store)


@on("bucket")
def test_several_addresses(store: Store, graviton: Graviton, scratch: Path) -> None:
    one, other = store.daemons
    [(running, point)] = store.mounts(f"graviton://{one.address.grpc},{other.address.grpc}/{MAIN}")
    written_while(point, scratch / "stop", one.kill, one.start, other.restart)
    unmount(point)
    assert running.process.wait(60) == 0, running.log_text()
    check(graviton, store)
