"""A whole engine with its packs in a bucket: files in, files out, few requests."""

from __future__ import annotations

import os
import random
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graviton_server.targets.s3 import S3Settings
from graviton_server.wiring import TargetEngine
from gravitonfs.errors import GravitonError
from gravitonfs.ports.ops import Create
from gravitonfs.ports.packs import PackState
from harness.buckets import settings
from harness.contents import lookup, noise, read, write
from harness.engines import open_on_bucket
from harness.ports import free_port
from harness.proxy import TcpProxy
from harness.s3server import S3Server

KIB = 1 << 10
MIB = 1 << 20


@pytest.fixture
def bucket(s3_server: S3Server) -> S3Settings:
    return settings(s3_server)


@pytest.fixture
def engine(bucket: S3Settings, scratch: Path) -> Iterator[TargetEngine]:
    made = open_on_bucket(scratch / "data", bucket)
    yield made
    made.close()


def sent(engine: TargetEngine) -> int:
    return sum(engine.target_requests().values())


def test_files_survive_the_engine(bucket: S3Settings, scratch: Path) -> None:
    files = {f"{size}": noise(size, size) for size in (0, 1, 4 * KIB, 300 * KIB, 3 * MIB, 90 * MIB)}
    with open_on_bucket(scratch / "data", bucket) as engine:
        volume = engine.volume("test")
        for name, data in files.items():
            write(volume, name, data)
        assert {name: read(volume, name) for name in files} == files
        volume.close()
    with open_on_bucket(scratch / "data", bucket) as engine:
        volume = engine.volume("test")
        assert {name: read(volume, name) for name in files} == files
        before = engine.target_requests()
        for name, data in files.items():
            write(volume, "again" + name, data)
        after = engine.target_requests()
        assert after.get("put") == before.get("put")  # all of it was there already
        assert after.get("part") == before.get("part")
        assert not engine.maintenance.check(read_data=True).findings
        volume.close()


def test_a_large_file_goes_up_in_full_packs(engine: TargetEngine) -> None:
    volume = engine.volume("test")
    write(volume, "large", noise(150 * MIB))
    rows = [row for row in engine.namespace_store.packs.rows() if row.state is PackState.LIVE]
    assert len(rows) <= 7
    assert sum(row.length for row in rows) >= 150 * MIB
    volume.close()


@pytest.mark.parametrize(("writers", "durable"), [(1, False), (8, False), (8, True)])
def test_small_files_cost_a_hundredth_as_many_requests(
    engine: TargetEngine, writers: int, durable: bool
) -> None:
    count = 5000
    volume = engine.volume("test")
    before = sent(engine)

    def work(mine: range) -> None:
        for at in mine:
            write(volume, f"file{at}", noise(4 * KIB, at), durable=durable)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, [range(at, count, writers) for at in range(writers)]))
    engine.store.drain_loose()
    assert sent(engine) - before <= count // 100
    assert engine.namespace_store.loose.loose_bytes() == 0
    for at in range(0, count, 499):
        assert read(volume, f"file{at}") == noise(4 * KIB, at)
    volume.close()


def test_small_packs_are_merged_and_a_cold_tree_costs_fewer_requests(
    bucket: S3Settings, scratch: Path
) -> None:
    engine = open_on_bucket(scratch / "data", bucket)
    volume = engine.volume("test")
    for at in range(240):
        write(volume, f"file{at}", noise(4 * KIB, at))
        if at % 10 == 9:
            engine.store.drain_loose()  # as on a volume where little happens
    write(volume, "larger", noise(1200 * KIB))

    def live() -> int:
        return sum(row.state is PackState.LIVE for row in engine.namespace_store.packs.rows())

    def cold() -> int:
        engine.content.cache.clear()
        before = sent(engine)
        for at in range(240):
            assert read(volume, f"file{at}") == noise(4 * KIB, at)
        assert read(volume, "larger") == noise(1200 * KIB)
        return sent(engine) - before

    assert live() == 25
    assert cold() >= 25
    report = engine.maintenance.collect()
    assert report.compacted == 25
    assert live() == 1
    assert cold() <= 5
    assert len(list(engine.target.list("packs/"))) == 1
    assert not engine.maintenance.check(read_data=True).findings
    volume.close()
    engine.close()


def test_a_target_that_is_away_loses_nothing(s3_server: S3Server, scratch: Path) -> None:
    with TcpProxy("127.0.0.1", s3_server.port) as proxy:
        chosen = settings(s3_server, endpoint=f"http://127.0.0.1:{proxy.port}", attempts=2, read_timeout=3.0)
        engine = open_on_bucket(scratch / "data", chosen)
        volume = engine.volume("test")
        proxy.refusing = True
        proxy.cut_all()
        write(volume, "small", b"in the database", durable=True)  # needs no target
        attr = volume.submit_for_attr(
            Create(volume.namespace.root, b"large", volume.new_ino(), 0o100644, 0, 0)
        )
        writer = volume.writer(attr)
        data = noise(5 * MIB)
        writer.write(0, data)
        with pytest.raises(GravitonError):
            writer.flush(durable=True)
        proxy.heal()
        writer.flush(durable=True)
        assert read(volume, "large") == data
        assert read(volume, "small") == b"in the database"
        volume.close()
        engine.close()


def test_files_of_many_pieces_are_cut_anew(bucket: S3Settings, scratch: Path) -> None:
    engine = open_on_bucket(scratch / "data", bucket)
    volume = engine.volume("test")
    expected = bytearray(noise(9 * MIB))
    write(volume, "file", bytes(expected))
    chance = random.Random(5)
    for turn in range(200):
        at, piece = chance.randrange(9 * MIB - 5000), noise(4000, turn)
        writer = volume.writer(lookup(volume, "file"))
        writer.write(at, piece)
        writer.flush(durable=turn % 5 == 0)
        expected[at : at + 4000] = piece
    for _ in range(2):
        assert engine.maintenance.settle(60)
        assert read(volume, "file") == expected
        engine.store.drain_loose()
        assert read(volume, "file") == expected
    assert not engine.maintenance.check(read_data=True).findings
    volume.close()
    engine.close()
    with open_on_bucket(scratch / "data", bucket) as engine:
        volume = engine.volume("test")
        assert read(volume, "file") == expected
        volume.close()


def test_requests_are_exported(engine: TargetEngine) -> None:
    from graviton_server.control.service import Service
    from graviton_server.metrics import export, registry_of

    volume = engine.volume("test")
    write(volume, "file", noise(3 * MIB))
    volume.close()
    service = Service(engine, "test")
    port = free_port()
    stop = export(registry_of(service), "127.0.0.1", port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
    finally:
        stop()
    told = {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")
    }
    made = engine.target_requests()
    assert told['graviton_target_requests_total{kind="put",target="s3"}'] == made["put"]
    assert made["put"] >= 1
    assert told['graviton_storage_bytes{target="s3"}'] >= 3 * MIB


def test_pack_bytes_spoilt_on_the_way_down_are_never_handed_out(s3_server: S3Server, scratch: Path) -> None:
    with TcpProxy("127.0.0.1", s3_server.port) as proxy:
        chosen = settings(s3_server, endpoint=f"http://127.0.0.1:{proxy.port}")
        engine = open_on_bucket(scratch / "data", chosen)
        volume = engine.volume("test")
        write(volume, "file", noise(20 * MIB))
        engine.content.cache.clear()
        for _ in range(3):
            proxy.corrupt("down", 1 * MIB, matching=b"HTTP/1.1 206")
        assert read(volume, "file") == noise(20 * MIB)
        proxy.wait_fired(2)
        volume.close()
        engine.close()


def test_engines_take_the_first_free_directory(bucket: S3Settings, scratch: Path) -> None:
    from graviton_server.lock import EngineDirectory

    first = EngineDirectory(scratch / "data")
    second = EngineDirectory(scratch / "data")
    assert (first.path.name, second.path.name) == ("engine-0", "engine-1")
    assert first.owner != second.owner
    first.release()
    again = EngineDirectory(scratch / "data")
    assert again.owner == first.owner
    again.release()
    second.release()
    elsewhere = EngineDirectory(scratch / "other")
    assert elsewhere.owner != first.owner
    elsewhere.release()


def test_packs_keep_below_what_an_object_may_have(s3_server: S3Server, scratch: Path) -> None:
    chosen = settings(s3_server, part_size=5 * MIB, max_parts=1)
    with open_on_bucket(scratch / "data", chosen) as engine:
        volume = engine.volume("test")
        data = os.urandom(20 * MIB)
        write(volume, "file", data)
        assert read(volume, "file") == data
        assert all(item.length <= 5 * MIB for item in engine.target.list("packs/"))
        volume.close()


def test_small_files_are_digested_with_few_requests(engine: TargetEngine) -> None:
    volume = engine.volume("test")
    files = {f"file{at}": noise(4 * KIB, at) for at in range(300)}
    for name, data in files.items():
        made = volume.submit_for_attr(
            Create(volume.namespace.root, name.encode(), volume.new_ino(), 0o100644, 0, 0)
        )
        writer = volume.writer(made)
        writer.write(0, data)
        writer.flush()
    assert volume.namespace.content(lookup(volume, "file7").content).digest is None
    engine.store.drain_loose()
    before = engine.target_requests()["get"]
    assert engine.maintenance.settle(60)
    assert engine.target_requests()["get"] - before <= 30
    assert volume.namespace.content(lookup(volume, "file7").content).digest is not None
    volume.close()
