"""Mounts of a daemon's volume with a cache on disk; the mount itself counts what it asks of the daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gravitonfs.client import Client
from harness.ports import free_port
from harness.programs import Graviton, Running
from harness.waiting import wait_until
from rpc.running import Daemon, Wire, untroubled

pytestmark = pytest.mark.mount

MIB = 1 << 20


@pytest.fixture
def running(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with untroubled(scratch / "data", folder) as started:
        yield started


class Stored(NamedTuple):
    """``blocks``: that the files consist of."""

    files: dict[str, bytes]
    blocks: int


class Mounted:
    """A mount, and what it says of itself."""

    def __init__(self, graviton: Graviton, port: int, point: Path, *options: str, **extra: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.graviton, self.point = graviton, point
        source = f"graviton://127.0.0.1:{port}/main"
        self.process: Running = graviton.mount(
            source,
            point,
            f"metrics={self.address},cache-reserve=0",  # however full the disk is that tests run on
            *options,
            **extra,  # type: ignore[arg-type]
        )

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://{self.address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def metric(self, name: str) -> float:
        return self.metrics()[f"graviton_{name}"]

    def kept(self, stored: Stored) -> None:
        wait_until(lambda: self.metric("disk_cache_blocks") >= stored.blocks, "the blocks to be on disk")

    def unmount(self) -> None:
        self.graviton.unmount(self.process, self.point)


@pytest.fixture
def stored(running: Daemon) -> Stored:
    """Files in the volume; the daemon has them, no mount has."""
    small = {f"small/{n:02}": os.urandom(4000) for n in range(40)}
    large = os.urandom(20 * MIB)
    with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=20) as client:
        client.write_bytes("large", large)
        blocks = client.volume.store.counters().blocks_put + len(small)
        client.mkdir("small")
        for name, data in small.items():
            client.write_bytes(name, data)
    return Stored({"large": large, **small}, blocks)


def read(point: Path, stored: Stored) -> None:
    for name, data in stored.files.items():
        assert (point / name).read_bytes() == data


@pytest.mark.parametrize("ended", ["unmounted", "killed"])
def test_a_second_mount_asks_for_no_block(
    graviton: Graviton, running: Daemon, stored: Stored, scratch: Path, ended: str
) -> None:
    point, cache = scratch / "mnt", f"cache-dir={scratch / 'cache'}"
    first = Mounted(graviton, running.port, point, cache)
    read(point, stored)
    assert first.metric("blocks_read_total") > 0
    first.kept(stored)
    assert first.metric("disk_cache_dropped_total") == 0
    if ended == "killed":
        first.process.kill()
    else:
        first.unmount()
    second = Mounted(graviton, running.port, point, cache)
    read(point, stored)
    told = second.metrics()
    assert told["graviton_blocks_read_total"] == 0
    assert told["graviton_disk_cache_misses_total"] == 0
    assert told["graviton_disk_cache_hits_total"] > 20
    assert told["graviton_disk_cache_hit_bytes_total"] > 20 * MIB
    assert 20 * MIB < told["graviton_disk_cache_bytes"] <= told["graviton_disk_cache_limit_bytes"]
    assert told['graviton_downloads_total{front_end="fuse"}'] >= 0
    (rates,) = graviton.run("stats", point, "-n", "1", "-i", "0.1", "--json").stdout.splitlines()
    assert json.loads(rates)["disk_bytes"] == told["graviton_disk_cache_bytes"]
    assert b"on disk" in graviton.run("stats", point / "small", "-n", "1", "-i", "0.1").stdout
    assert b"fuse read" in graviton.run("profile", point).stdout
    second.unmount()


def test_where_it_is_without_options(
    graviton: Graviton, running: Daemon, stored: Stored, scratch: Path
) -> None:
    point, home = scratch / "mnt", scratch / "home"
    first = Mounted(graviton, running.port, point, XDG_CACHE_HOME=str(home))
    read(point, stored)
    first.kept(stored)
    said = first.process.log_text()
    first.unmount()
    assert re.search(rf"up to .*B are cached in {home / 'graviton'}", said)
    assert list((home / "graviton" / "blocks").rglob("*.segment"))
    assert (home / "graviton" / "blocks").stat().st_mode & 0o077 == 0


def test_none_is_wanted(graviton: Graviton, running: Daemon, stored: Stored, scratch: Path) -> None:
    point, home = scratch / "mnt", scratch / "home"
    mount = Mounted(graviton, running.port, point, "cache-size=0", XDG_CACHE_HOME=str(home))
    read(point, stored)
    assert "graviton_disk_cache_bytes" not in mount.metrics()
    mount.unmount()
    assert not home.exists()


def test_the_budget(graviton: Graviton, running: Daemon, stored: Stored, scratch: Path) -> None:
    point, cache = scratch / "mnt", scratch / "cache"
    mount = Mounted(graviton, running.port, point, f"cache-dir={cache}", "cache-size=64MiB")
    read(point, stored)
    with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=20) as client:
        client.write_bytes("larger", os.urandom(90 * MIB))
    assert len((point / "larger").read_bytes()) == 90 * MIB
    wait_until(lambda: mount.metric("disk_cache_evicted_total") > 0, "something to be given up")
    assert mount.metric("disk_cache_limit_bytes") == 64 * MIB
    mount.unmount()
    assert 20 * MIB < sum(path.stat().st_size for path in cache.rglob("*.segment")) <= 64 * MIB


def test_a_disk_without_room(graviton: Graviton, running: Daemon, stored: Stored, scratch: Path) -> None:
    """Nothing is kept, it is said once to whoever asked for a cache, and everything is read all the same."""
    graviton.allow_log("keeps nothing more for now: its disk has too little free beside")
    point, cache = scratch / "mnt", scratch / "cache"
    mount = Mounted(graviton, running.port, point, f"cache-dir={cache}", "cache-reserve=100000TiB")
    read(point, stored)
    wait_until(lambda: "cache-reserve=" in mount.process.log_text(), "it to be said")
    assert mount.metric("disk_cache_blocks") == 0
    mount.unmount()
    assert mount.process.log_text().count("cache-reserve=") == 1
    assert not list(cache.rglob("*.segment"))


def test_what_cannot_be_used(graviton: Graviton, running: Daemon, scratch: Path) -> None:
    point = scratch / "mnt"
    point.mkdir()
    (scratch / "file").touch()
    source = f"graviton://127.0.0.1:{running.port}/main"
    for option, status, said in (
        (f"cache-dir={scratch / 'file'}", 1, "cannot be used"),
        (f"cache-dir={point / 'inside'}", 2, "is in the mount itself"),
        ("cache-size=1MiB", 2, "at least 64"),
    ):
        failed = graviton.run("mount", source, point, "-f", "-o", option, status=status)
        assert said in failed.stderr.decode(), failed.stderr
    # Where nobody asked for one, it is a warning.
    graviton.allow_log("going on without one")
    mount = Mounted(graviton, running.port, point, XDG_CACHE_HOME=str(scratch / "file"))
    (point / "f").write_bytes(b"x")
    mount.unmount()


def test_damage_is_asked_for_again(
    graviton: Graviton, running: Daemon, stored: Stored, scratch: Path
) -> None:
    graviton.allow_log("was damaged")
    point, cache = scratch / "mnt", scratch / "cache"
    first = Mounted(graviton, running.port, point, f"cache-dir={cache}")
    read(point, stored)
    first.kept(stored)
    first.unmount()
    for path in cache.rglob("*.segment"):
        data = bytearray(path.read_bytes())
        data[1000 : len(data) : 100_000] = bytes(len(data[1000 : len(data) : 100_000]))
        path.write_bytes(data)
    second = Mounted(graviton, running.port, point, f"cache-dir={cache}")
    read(point, stored)
    assert second.metric("disk_cache_damaged_total") > 20
    second.unmount()


def test_names_need_the_daemon(graviton: Graviton, running: Daemon, stored: Stored, scratch: Path) -> None:
    """What the cache has does not make a mount work without its daemon: whose bytes they are is asked, where
    others may have changed it."""
    graviton.allow_log("does not answer")
    point, cache = scratch / "mnt", f"cache-dir={scratch / 'cache'}"
    wire = Wire(running.port)
    try:
        mount = Mounted(graviton, wire.port, point, cache, "timeout=1s")
        read(point, stored)
        with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=20) as other:
            assert other.exists("large")
            wire.hold()
            with pytest.raises(OSError, match="Input/output"):
                (point / "small/01").read_bytes()
            wire.release()
            wait_until(lambda: _readable(point / "small/01"), "the mount to answer again")
        mount.unmount()
    finally:
        wire.close()


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_two_mounts_of_one_directory(
    graviton: Graviton, running: Daemon, stored: Stored, scratch: Path
) -> None:
    cache = f"cache-dir={scratch / 'cache'}"
    mounts = [Mounted(graviton, running.port, scratch / name, cache) for name in ("one", "two")]
    for mount in mounts:
        read(mount.point, stored)
        mount.kept(stored)
    mounts[0].process.process.send_signal(signal.SIGTERM)
    assert mounts[0].process.process.wait(60) == 0
    mounts[1].unmount()
    third = Mounted(graviton, running.port, scratch / "one", cache)
    read(third.point, stored)
    assert third.metric("blocks_read_total") == 0
    third.unmount()
