"""Small files of a directory, read one after another, cost few requests; others cost what they always did."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import trio

from graviton_server.wiring import Engine, TargetEngine
from gravitonfs.client.volumes import open_volume
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.vfs.vfs import Vfs
from harness.buckets import settings
from harness.engines import open_on_bucket
from harness.places import make_scratch
from harness.s3server import S3Server
from harness.waiting import wait_until
from rpc.serving import connected, serving

FILES = 600
SIZE = 4096


def name_of(number: int) -> bytes:
    return b"file-%05d" % number


def body_of(number: int, size: int = SIZE) -> bytes:
    return random.Random(number).randbytes(size)


def write(volume: Volume, directory: Ino, name: bytes, body: bytes) -> None:
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(body)
        staged.publish(directory, name, durable=False)


def make_directory(volume: Volume, parent: Ino, name: bytes) -> Ino:
    return Vfs(volume).make(parent, name, 0o040755, 0, 0).ino


@pytest.fixture
def engine(s3_server: S3Server) -> Iterator[TargetEngine]:
    """Names beside the engine, packs behind a network."""
    place = make_scratch()
    with open_on_bucket(place / "v", settings(s3_server)) as opened:
        yield opened
    shutil.rmtree(place)


@pytest.fixture
def packed(engine: TargetEngine) -> TargetEngine:
    """With a directory of small files, ``ROOT_INO``, that lie in packs."""
    writer = engine.volume("writer")
    for number in range(FILES):
        write(writer, ROOT_INO, name_of(number), body_of(number))
    writer.close()
    engine.store.drain_loose()
    engine.store.seal_open()
    engine.content.cache.clear()
    return engine


class Reader:
    """A mount without a kernel. Between two files it waits until nothing is on its way."""

    def __init__(self, volume: Volume) -> None:
        self.vfs = Vfs(volume)
        self.ahead = self.vfs.files.ahead
        self.most = 0

    def settle(self) -> None:
        flying = self.vfs.volume.shared.fetcher._flying
        wait_until(lambda: not self.ahead.working and not flying, "what was begun is there")
        self.most = max(self.most, self.ahead.held)

    async def read(self, name: bytes, size: int = SIZE, directory: Ino = ROOT_INO) -> bytes:
        attr = self.vfs.lookup(directory, name)
        assert attr is not None
        handle, _ = await self.vfs.open(attr.ino, os.O_RDONLY)
        data = bytes(await self.vfs.files.read(handle, 0, size))
        await self.vfs.files.release(handle)
        self.settle()
        return data

    async def all(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            assert await self.read(name_of(number)) == body_of(number)

    def close(self) -> None:
        self.ahead.stop()
        self.vfs.volume.close()


def gets(engine: Engine) -> int:
    return Counter(engine.target_requests())["get"]


def shuffled() -> list[int]:
    numbers = list(range(FILES))
    random.Random(4).shuffle(numbers)
    return numbers


@pytest.mark.parametrize("order", [list(range(FILES)), shuffled()], ids=["sorted", "shuffled"])
def test_a_directory_in_packs_costs_few_requests(packed: TargetEngine, order: list[int]) -> None:
    reader = Reader(packed.volume("mount"))
    before = gets(packed)
    trio.run(reader.all, order)
    assert 0 < gets(packed) - before <= FILES // 20
    assert reader.ahead.held == 0
    reader.close()


class Calls:
    """Counts the calls that a connection makes."""

    def __init__(self, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[str] = Counter()
        call, begin = connection.call, connection.begin

        def counted(method: Any) -> Any:
            def wrapped(path: str, *args: Any, **kwargs: Any) -> Any:
                self.count[path.rpartition("/")[2]] += 1
                return method(path, *args, **kwargs)

            return wrapped

        monkeypatch.setattr(connection, "call", counted(call))
        monkeypatch.setattr(connection, "begin", counted(begin))


@pytest.mark.parametrize("order", [list(range(FILES)), shuffled()], ids=["sorted", "shuffled"])
def test_through_a_daemon_it_costs_few_calls(
    packed: TargetEngine, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(packed) as server, connected(server) as connection:
        calls = Calls(connection, monkeypatch)
        reader = Reader(open_volume(connection))
        trio.run(reader.all, order)
        reader.close()
    extra = sum(calls.count[name] for name in ("List", "Extents", "ExtentsOf", "Near", "Get"))
    limit = (
        FILES // 20 if order[0] == 0 else FILES // 4
    )  # one that was missing asks for its map and its block
    assert extra <= limit, calls.count


def test_loose_blocks_are_fetched_together(engine: TargetEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = engine.volume("writer")
    for number in range(200):
        write(writer, ROOT_INO, name_of(number), body_of(number))
    engine.content.cache.clear()
    with serving(engine) as server, connected(server) as connection:
        calls = Calls(connection, monkeypatch)
        reader = Reader(open_volume(connection))
        trio.run(reader.all, range(200))
        reader.close()
    assert calls.count["Get"] + calls.count["Near"] <= 12, calls.count
    writer.close()


def test_a_file_that_was_replaced_meanwhile_shows_its_new_bytes(packed: TargetEngine) -> None:
    reader = Reader(packed.volume("mount"))
    other = packed.volume("other")

    async def main() -> None:
        await reader.all(range(10))
        assert reader.ahead.held > 0  # those that follow are here
        for number in range(10, 30):
            body = body_of(1000 + number)
            with other.stage(mode=0o644, uid=0, gid=0) as staged:
                staged.write(body)
                staged.publish(ROOT_INO, name_of(number))
            assert await reader.read(name_of(number)) == body
        await reader.all(range(30, 40))

    trio.run(main)
    other.close()
    reader.close()


def test_drafts_are_not_read_ahead(engine: TargetEngine) -> None:
    vfs = Vfs(engine.volume("writer"))
    reader = Reader(engine.volume("mount"))

    async def main() -> None:
        for number in range(40):
            handle, _ = await vfs.create(ROOT_INO, name_of(number), 0o644, 0, 0, os.O_RDWR)
            await vfs.write(handle, 0, body_of(number))
            await vfs.files.flush(handle.inode)
            await vfs.write(handle, 5, b"changed")
            await vfs.files.flush(handle.inode)
            await vfs.files.release(handle)
        for number in range(40):
            assert (await reader.read(name_of(number)))[5:12] == b"changed"

    trio.run(main)
    assert reader.most == 0
    vfs.volume.close()
    reader.close()


def test_files_here_and_there_are_not_read_ahead(engine: TargetEngine) -> None:
    writer = engine.volume("writer")
    directories = [make_directory(writer, ROOT_INO, b"d%d" % n) for n in range(40)]
    for directory in directories:
        for number in range(10):
            write(writer, directory, name_of(number), body_of(number))
    reader = Reader(engine.volume("mount"))

    async def main() -> None:
        for _ in range(2):
            for directory in directories:
                assert await reader.read(name_of(7), directory=directory) == body_of(7)

    trio.run(main)
    assert reader.most == 0
    writer.close()
    reader.close()


def test_what_is_read_ahead_stays_within_its_budget(engine: TargetEngine) -> None:
    size, count = 200_000, 150
    writer = engine.volume("writer")
    body = body_of(1, size)
    for number in range(count):
        write(writer, ROOT_INO, name_of(number), number.to_bytes(4, "big") + body)
    volume = engine.volume("mount")
    reader = Reader(volume)
    reader.ahead.sequences.limit = 3 << 20
    engine.content.cache.clear()

    async def main() -> None:
        for number in range(count):
            assert await reader.read(name_of(number), size + 4) == number.to_bytes(4, "big") + body

    trio.run(main)
    assert 0 < reader.most <= reader.ahead.sequences.limit + (1 << 20)
    writer.close()
    reader.close()


def test_a_walk_through_a_tree_reads_each_directory_at_once(
    engine: TargetEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = engine.volume("writer")
    directories = [make_directory(writer, ROOT_INO, b"d%d" % n) for n in range(30)]
    for at, directory in enumerate(directories):
        for number in range(12):
            write(writer, directory, name_of(number), body_of(100 * at + number))
    with serving(engine) as server, connected(server) as connection:
        calls = Calls(connection, monkeypatch)
        reader = Reader(open_volume(connection))

        async def main() -> None:
            for at, directory in enumerate(directories):
                listing = reader.vfs.open_directory(directory)
                entries = (await reader.vfs.fetch_directory(listing, 0)).entries
                reader.settle()
                for number, entry in enumerate(entries):
                    found = await reader.read(entry.name, directory=directory)
                    assert found == body_of(100 * at + number)

        trio.run(main)
        reader.close()
    writer.close()
    files = 12 * len(directories)
    assert calls.count["Extents"] + calls.count["Near"] <= files // 20, calls.count
    assert calls.count["ExtentsOf"] <= 2 * len(directories), calls.count


def test_listing_alone_reads_nothing_ahead(engine: TargetEngine) -> None:
    writer = engine.volume("writer")
    directories = [make_directory(writer, ROOT_INO, b"d%d" % n) for n in range(20)]
    for directory in directories:
        for number in range(5):
            write(writer, directory, name_of(number), body_of(number))
    reader = Reader(engine.volume("mount"))

    async def main() -> None:
        for directory in directories:
            await reader.vfs.fetch_directory(reader.vfs.open_directory(directory), 0)
            reader.settle()

    trio.run(main)
    assert reader.most == 0
    writer.close()
    reader.close()


def test_a_walk_finds_the_directories_that_come_next(
    engine: TargetEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small directories, one in the other: several are fetched together."""
    writer = engine.volume("writer")
    tree: list[tuple[Ino, int]] = []
    for outer in range(8):
        above = make_directory(writer, ROOT_INO, b"d%d" % outer)
        for inner in range(6):
            directory = make_directory(writer, above, b"e%d" % inner)
            tree.append((directory, 10 * outer + inner))
            for number in range(3):
                write(writer, directory, name_of(number), body_of(1000 * outer + 10 * inner + number))
    with serving(engine) as server, connected(server) as connection:
        calls = Calls(connection, monkeypatch)
        reader = Reader(open_volume(connection))

        async def walk(directory: Ino) -> int:
            listing = reader.vfs.open_directory(directory)
            entries = (await reader.vfs.fetch_directory(listing, 0)).entries
            reader.settle()
            count = 0
            for entry in entries:
                if entry.attr.size:
                    assert len(await reader.read(entry.name, directory=directory)) == SIZE
                    count += 1
                else:
                    count += await walk(entry.attr.ino)
            return count

        assert trio.run(walk, ROOT_INO) == 3 * len(tree)
        reader.close()
    writer.close()
    assert calls.count["ExtentsOf"] <= len(tree) // 3, calls.count
    assert calls.count["Extents"] + calls.count["Near"] + calls.count["Get"] <= len(tree) // 2, calls.count


def test_when_everything_may_have_changed_nothing_is_kept(packed: TargetEngine) -> None:
    reader = Reader(packed.volume("mount"))

    async def main() -> None:
        await reader.all(range(10))
        attr = reader.vfs.lookup(ROOT_INO, name_of(20))
        assert attr is not None
        assert attr.content in reader.vfs.volume.maps
        reader.vfs.changed([EVERYTHING])
        assert attr.content not in reader.vfs.volume.maps
        await reader.all(range(10, 30))

    trio.run(main)
    reader.close()
