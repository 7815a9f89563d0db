"""An engine on a bucket, killed at any moment, also in the middle of an upload."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from graviton_server.targets.s3 import S3Settings, S3Target
from graviton_server.wiring import TargetEngine
from gravitonfs.ports.packs import PackState
from harness.buckets import settings
from harness.engines import STORE, open_on_bucket
from harness.proxy import TcpProxy
from harness.s3server import S3Server
from targets.writer import content

MIB = 1 << 20


@contextmanager
def writer(
    home: Path, chosen: S3Settings, endpoint: str, pack_size: int, largest: int
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    arguments = [str(home), chosen.bucket, endpoint, str(pack_size), str(largest)]
    process = subprocess.Popen(
        [sys.executable, "-m", "targets.writer", *arguments], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def killed(process: subprocess.Popen[bytes]) -> list[tuple[int, int]]:
    """What it had acknowledged that was not read yet."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    return acknowledged(process.stdout.readlines())


def acknowledged(lines: list[bytes]) -> list[tuple[int, int]]:
    found = [line.split() for line in lines if line.endswith(b"\n")]
    return [(int(seed), int(size)) for seed, size in found]


def check_start(engine: TargetEngine) -> None:
    """Nothing of the dead process is unfinished any more."""
    rows = engine.namespace_store.packs.rows(limit=100_000)
    assert not [row for row in rows if row.state is PackState.STORING]
    assert not list((engine.path / "engine-0" / "staging").iterdir())


def check(engine: TargetEngine, files: list[tuple[int, int]]) -> None:
    volume = engine.volume("check")
    for seed, size in files:
        attr = volume.namespace.lookup(volume.namespace.root, b"%d-%d" % (seed, size))
        assert attr is not None
        assert attr.size == size
        assert bytes(volume.reader(attr).read(0, size)) == content(seed, size)
    volume.close()
    assert not engine.maintenance.check(read_data=True).findings
    rows = engine.namespace_store.packs.rows(limit=100_000)
    keys = {item.key for item in engine.target.list("packs/")}
    assert keys <= {engine.store.pack_path(row.number) for row in rows}  # none is left to nobody


def kill_loop(s3_server: S3Server, home: Path, rounds: int) -> None:
    chosen = settings(s3_server)
    files: list[tuple[int, int]] = []
    for _ in range(rounds):
        with writer(home, chosen, s3_server.endpoint, 4 * MIB, 9 * MIB) as process:
            assert process.stdout is not None
            files += acknowledged([process.stdout.readline() for _ in range(random.randrange(1, 12))])
            files += killed(process)
        with open_on_bucket(home, chosen, pack_size=4 * MIB) as engine:
            check_start(engine)
            check(engine, files)
            engine.maintenance.collect()
            check(engine, files)


def test_acknowledged_files_survive_kills(s3_server: S3Server, scratch: Path) -> None:
    kill_loop(s3_server, scratch / "data", 3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_acknowledged_files_survive_many_kills(s3_server: S3Server, scratch: Path) -> None:
    kill_loop(s3_server, scratch / "data", 40)


def test_killed_in_the_middle_of_an_upload(s3_server: S3Server, scratch: Path) -> None:
    chosen = settings(s3_server)
    with TcpProxy("127.0.0.1", s3_server.port) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.port}"
        with writer(scratch / "data", chosen, endpoint, 32 * MIB, 24 * MIB) as process:
            assert process.stdout is not None
            files = acknowledged([process.stdout.readline()])
            proxy.stall("up", 2 * MIB, matching=b"partNumber=2")
            proxy.wait_fired(1, 60)
            files += killed(process)
    target = S3Target(chosen, "s3", STORE)
    with open_on_bucket(scratch / "data", chosen) as engine:
        assert engine.recovery.abandoned >= 1  # it was in memory and nothing relied on it
        check_start(engine)
        check(engine, files)
    assert target.sweep_uploads(older_than=timedelta(0)) >= 1
    assert target.sweep_uploads(older_than=timedelta(0)) == 0
    target.close()
