"""Reading long files from front to back: past the cache, within a budget, and right whatever happens."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typing_extensions import Buffer

from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.content.runs import RUN
from gravitonfs.content.volume import Volume
from gravitonfs.errors import Damaged
from gravitonfs.ports.ops import Attr, Create
from harness.places import make_scratch
from harness.waiting import wait_until

MIB = 1 << 20
SIZE = 40 * MIB
CACHE = 8 * MIB


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    place = make_scratch()
    options = EngineOptions(cache=CACHE, background=False)
    with open_embedded(place / "v", create=True, options=options) as opened:
        yield opened
    shutil.rmtree(place)


@pytest.fixture
def volume(engine: Engine) -> Iterator[Volume]:
    attached = engine.volume("reading")
    yield attached
    attached.close()


def put(volume: Volume, name: str, data: bytes) -> Attr:
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        for start in range(0, len(data), MIB):
            staged.write(data[start : start + MIB])
        return staged.publish(volume.namespace.root, name.encode())


def long_read(volume: Volume, attr: Attr, start: int, stop: int) -> bytes:
    return b"".join(bytes(piece) for pieces in volume.reader(attr).runs(start, stop) for piece in pieces)


def collect(runs: Iterator[Sequence[Buffer]], into: bytearray) -> None:
    for pieces in runs:
        for piece in pieces:
            into += piece


def test_every_range_of_a_long_file_is_right(engine: Engine, volume: Volume) -> None:
    data = os.urandom(SIZE // 2) + b"compressible " * (SIZE // 26)
    attr = put(volume, "long", data)
    engine.store.seal_open()
    chance = random.Random(7)
    cuts = sorted(chance.randrange(len(data)) for _ in range(6))
    for start, stop in [
        (0, len(data)),
        (1, len(data) - 1),
        (0, len(data) + MIB),
        *zip(cuts, cuts[3:], strict=False),
    ]:
        assert long_read(volume, attr, start, stop) == data[start:stop]
    assert long_read(volume, attr, len(data), len(data)) == b""
    assert engine.content.fetcher.held.used == 0


def test_it_leaves_the_cache_to_others(engine: Engine, volume: Volume) -> None:
    small = put(volume, "small", os.urandom(200_000))
    attr = put(volume, "big", os.urandom(SIZE))
    engine.store.seal_open()
    assert len(volume.reader(small).read(0, small.size)) == small.size
    before = engine.content.cache.used
    long_read(volume, attr, 0, attr.size)
    assert engine.content.cache.used == before
    read = engine.store.counters().blocks_read
    volume.reader(small).read(0, small.size)
    assert engine.store.counters().blocks_read == read


def test_holes_and_scattered_pieces(volume: Volume) -> None:
    data = bytearray(SIZE)
    attr = volume.submit_for_attr(Create(volume.namespace.root, b"sparse", volume.new_ino(), 0o100644, 0, 0))
    writer = volume.writer(attr)
    chance = random.Random(11)
    for _ in range(400):  # small pieces, most of them far from each other
        at = chance.randrange(SIZE // 2)
        piece = os.urandom(chance.randrange(1, 5000))
        writer.write(at, piece)
        data[at : at + len(piece)] = piece
    for at in range(SIZE // 2, SIZE // 2 + MIB, 4096):  # and a stretch of many small ones
        piece = os.urandom(4000)
        writer.write(at, piece)
        data[at : at + len(piece)] = piece
    data[-1:] = b"x"
    writer.write(SIZE - 1, b"x")
    writer.flush()
    found = volume.namespace.attr(attr.ino)
    assert long_read(volume, found, 0, SIZE) == bytes(data)
    assert long_read(volume, found, 12345, SIZE - 777) == bytes(data[12345 : SIZE - 777])


def test_readers_that_stop_or_dawdle_hold_no_more_than_the_budget(engine: Engine, volume: Volume) -> None:
    data = os.urandom(SIZE)
    attr = put(volume, "wanted", data)
    engine.store.seal_open()
    held = engine.content.fetcher.held
    dawdlers = [volume.reader(attr).runs(0, SIZE) for _ in range(30)]
    first = [next(dawdler) for dawdler in dawdlers]
    assert held.used <= 2 * held.limit + RUN
    assert long_read(volume, attr, 0, SIZE) == data
    for pieces in first:
        assert data.startswith(b"".join(map(bytes, pieces)))
    for dawdler in dawdlers:
        dawdler.close()  # type: ignore[attr-defined]
    wait_until(lambda: held.used == 0, "what was read ahead to be let go")


def test_many_at_once_read_the_same(engine: Engine, volume: Volume) -> None:
    data = os.urandom(SIZE)
    attr = put(volume, "popular", data)
    engine.store.seal_open()
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(long_read(volume, attr, 0, SIZE) == data))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * len(threads)


def test_what_comes_before_damage_is_given_and_damage_is_told(scratch: Path) -> None:
    data = os.urandom(SIZE)
    options = EngineOptions(cache=CACHE, background=False)
    with (
        open_embedded(scratch / "v", create=True, options=options) as engine,
        closing(engine.volume("x")) as volume,
    ):
        attr = put(volume, "hurt", data)
        engine.store.seal_open()
        hurt = next(
            e for e in volume.namespace.extents(attr.content, 0, 0)[0].extents if e.offset > SIZE // 2
        )
        place = engine.store.locate([hurt.block])[0]
        assert place is not None
        path = scratch / "v" / engine.store.pack_path(place.pack)
        with path.open("r+b") as pack:
            pack.seek(place.offset + place.stored)
            pack.write(b"damaged")
        got = bytearray()
        with pytest.raises(Damaged, match=hurt.block.hex()):
            collect(volume.reader(attr).runs(0, SIZE), got)
        assert got == data[: hurt.offset]
        held = engine.content.fetcher.held
        wait_until(lambda: held.used == 0, "what was read ahead to be let go")
