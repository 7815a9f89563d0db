"""PostgreSQL is killed and comes back under mounts that write: they wait, and lose nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coherence import stores
from coherence.stores import MAIN, Store
from coherence.test_failover import WRITER, check
from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton
from rpc.running import goes_on

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]

_AWAY = "database server (does not answer|answers again)|database does not answer|they are applied again"


@pytest.fixture
def store(graviton: Graviton, scratch: Path, server: PostgresServer) -> Iterator[Store]:
    graviton.allow_log(_AWAY)
    made = stores.on_directory(graviton, scratch / "store", server, daemons=1)
    yield made
    made.stop()


def test_two_direct_mounts_and_one_of_a_daemon(
    store: Store, server: PostgresServer, graviton: Graviton, scratch: Path
) -> None:
    mounts = store.mounts(store.file, store.file, store.remote(0, MAIN))
    points = [point for _, point in mounts]
    stop = scratch / "stop"
    for number in range(3):
        (points[0] / f"w{number}").mkdir()
    writers = [
        subprocess.Popen(
            [sys.executable, str(WRITER), str(point / f"w{number}"), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number, point in enumerate(points)
    ]
    try:
        for _ in range(2):
            goes_on(writers[0], 2)
            server.kill()
            server.start()
        goes_on(writers[0], 1)
        stop.touch()
        said = [writer.communicate(timeout=150)[0].decode() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0], said
    for number in range(3):
        trees = [point / f"w{number}" for point in points]
        names = sorted(path.name for path in trees[number].iterdir())
        for tree in trees:
            assert sorted(path.name for path in tree.iterdir()) == names
            for name in names:
                assert (tree / name).read_bytes() == (trees[number] / name).read_bytes(), (tree, name)
    for running, point in mounts:
        unmount(point)
        assert running.process.wait(60) == 0, running.log_text()
    check(graviton, store)
