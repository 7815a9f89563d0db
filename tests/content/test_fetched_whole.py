"""A file that is read here and there is soon in the cache; one that is touched once is not."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from graviton_server.wiring import Engine, EngineOptions, TargetEngine, open_embedded
from gravitonfs.client.volumes import open_volume
from gravitonfs.content.cache import BlockCache
from gravitonfs.content.runs import RUN
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.vfs.vfs import Vfs
from harness.buckets import settings
from harness.engines import open_on_bucket
from harness.places import make_scratch
from harness.s3server import S3Server
from harness.waiting import wait_until
from rpc.serving import connected, serving

SIZE = 24 << 20


@pytest.fixture
def engine() -> Iterator[Engine]:
    place = make_scratch()
    with open_embedded(place / "v", create=True, options=EngineOptions(memory=96 << 20)) as opened:
        write(opened)
        yield opened
    shutil.rmtree(place)


def write(engine: Engine) -> None:
    writer = engine.volume("writer")
    with writer.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(random.Random(5).randbytes(SIZE))
        staged.publish(ROOT_INO, b"f")
    writer.close()


def read_here_and_there(engine: Engine, count: int) -> None:
    read_from(engine.volume("mount"), engine.content.cache, count)


def read_from(volume: Volume, cache: BlockCache, count: int) -> None:
    vfs = Vfs(volume)
    source = random.Random(1)
    expected = random.Random(5).randbytes(SIZE)

    async def main() -> None:
        attr = vfs.lookup(ROOT_INO, b"f")
        assert attr is not None
        handle, _ = await vfs.open(attr.ino, os.O_RDONLY)
        for _ in range(count):
            at = source.randrange(1, SIZE // 4096) * 4096
            assert bytes(await vfs.files.read(handle, at, 4096)) == expected[at : at + 4096]
        if count > 10:
            assert cache.used <= SIZE
            wait_until(lambda: cache.used >= SIZE, "the file is in the cache")
        await vfs.files.release(handle)

    trio.run(main)
    vfs.volume.close()


def test_after_a_part_of_it_was_missed_the_rest_is_fetched(engine: Engine) -> None:
    read_here_and_there(engine, 100)


def test_one_read_fetches_one_block(engine: Engine) -> None:
    read_here_and_there(engine, 1)
    engine.content.close()
    assert engine.content.cache.used <= 1 << 20


# --- packs behind a network ---


@pytest.fixture
def far(s3_server: S3Server) -> Iterator[TargetEngine]:
    place = make_scratch()
    with open_on_bucket(place / "v", settings(s3_server)) as opened:
        write(opened)
        opened.content.cache.clear()
        yield opened
    shutil.rmtree(place)


def test_behind_a_network_it_takes_few_requests(far: TargetEngine) -> None:
    """Of a thousand reads nearly all find the file there."""
    before = far.target_requests()["get"]
    read_here_and_there(far, 1000)
    assert far.target_requests()["get"] - before <= SIZE // RUN + 100


def test_behind_a_network_one_read_fetches_one_block(far: TargetEngine) -> None:
    read_here_and_there(far, 1)
    far.content.fetch_workers.shutdown()
    assert far.content.cache.used <= 1 << 20


def test_behind_a_network_two_reads_fetch_two_blocks(far: TargetEngine) -> None:
    read_here_and_there(far, 2)
    far.content.fetch_workers.shutdown()
    assert far.content.cache.used <= 2 << 20


def test_through_a_daemon_it_takes_few_calls(far: TargetEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(far) as server, connected(server) as connection:
        count = 0
        begin = connection.begin

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return begin(*args, **kwargs)

        monkeypatch.setattr(connection, "begin", counted)
        volume = open_volume(connection, memory=96 << 20)
        read_from(volume, volume.shared.cache, 1000)
    assert count <= SIZE // RUN + 100
