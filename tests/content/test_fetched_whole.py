"""A file that is read here and there is soon in the cache; one that is touched once is not."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator

import pytest
import trio

from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.vfs.vfs import Vfs
from harness.places import make_scratch
from harness.waiting import wait_until

SIZE = 24 << 20


@pytest.fixture
def engine() -> Iterator[Engine]:
    place = make_scratch()
    with open_embedded(place / "v", create=True, options=EngineOptions(memory=96 << 20)) as opened:
        writer = opened.volume("writer")
        with writer.stage(mode=0o644, uid=0, gid=0) as staged:
            staged.write(random.Random(5).randbytes(SIZE))
            staged.publish(ROOT_INO, b"f")
        writer.close()
        yield opened
    shutil.rmtree(place)


def read_here_and_there(engine: Engine, count: int) -> None:
    vfs = Vfs(engine.volume("mount"))
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
            whole = engine.content.cache.used
            assert whole <= SIZE
            wait_until(lambda: engine.content.cache.used >= SIZE, "the file is in the cache")
        await vfs.files.release(handle)

    trio.run(main)
    vfs.volume.close()


def test_after_a_part_of_it_was_missed_the_rest_is_fetched(engine: Engine) -> None:
    read_here_and_there(engine, 100)


def test_one_read_fetches_one_block(engine: Engine) -> None:
    read_here_and_there(engine, 1)
    engine.content.close()
    assert engine.content.cache.used <= 1 << 20
