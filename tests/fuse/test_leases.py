"""A mount that has its volume to itself lets the kernel keep names; another one that comes sees, and causes,
every change at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from harness.ports import free_port
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running
from harness.waiting import wait_until

pytestmark = pytest.mark.mount

ALONE = ("has its volume to itself", "is this session's alone", "to itself")
_SOON = 30.0
"""Well below a lease: the kernel was made to let go."""


class Place(NamedTuple):
    """Where a volume is mounted from."""

    graviton: Graviton
    source: str
    scratch: Path

    def mount(self, name: str, *options: str) -> tuple[Path, Running]:
        point = self.scratch / name
        return point, self.graviton.mount(self.source, point, *options)  # type: ignore[arg-type]


@pytest.fixture(params=["direct", "remote"])
def place(
    request: pytest.FixtureRequest, postgres: PostgresServer, graviton: Graviton, scratch: Path
) -> Iterator[Place]:
    conninfo = postgres.database()
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{conninfo.rpartition('dbname=')[2]}"
    file = scratch / "graviton.conf"
    file.write_text(
        f'graviton {{ data-dir = "{scratch}/data", database {{ jdbc-url = "{url}", username = graviton }} }}'
    )
    source = str(file)
    if request.param == "remote":
        daemon = graviton.start("serve", "--config", file, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        address = dict(word.split("=", 1) for word in daemon.ready_line().split()[1:])["grpc"]
        source = f"graviton://{address}/main"
    yield Place(graviton, source, scratch)
    graviton.close()
    postgres.drop(conninfo)


def times_alone(running: Running) -> int:
    return sum(any(sign in line for sign in ALONE) for line in running.log_text().splitlines())


def wait_alone(running: Running, times: int = 1) -> None:
    wait_until(lambda: times_alone(running) >= times, f"the mount is alone for the {times}. time", 60)


def test_a_second_mount_sees_and_causes_changes_at_once(place: Place) -> None:
    one, first = place.mount("one")
    wait_alone(first)
    (one / "d" / "e").mkdir(parents=True)
    for number in range(200):
        (one / "d" / f"f{number}").write_bytes(b"%d" % number)
        assert not (one / "d" / f"g{number}").exists()
    held = os.open(one / "d" / "f0", os.O_RDWR)
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import os; input(); print(os.getcwd(), sorted(os.listdir('.')))"],
        cwd=one / "d" / "e", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert os.fstat(held).st_mode & 0o777 == (one / "d" / "f0").stat().st_mode & 0o777
    started = time.monotonic()
    two, second = place.mount("two")
    assert time.monotonic() - started < _SOON
    # What the second one does is seen by the first, whose kernel knew better.
    for number in range(200):
        assert (two / "d" / f"f{number}").read_bytes() == b"%d" % number
    (two / "d" / "g0").write_bytes(b"new")
    assert (one / "d" / "g0").read_bytes() == b"new"
    (two / "d" / "f1").unlink()
    assert not (one / "d" / "f1").exists()
    (two / "d" / "f2").rename(two / "d" / "g2")
    assert (one / "d" / "g2").read_bytes() == b"2"
    assert not (one / "d" / "f2").exists()
    os.chmod(two / "d" / "f3", 0o600)
    assert (one / "d" / "f3").stat().st_mode & 0o777 == 0o600
    os.chmod(two / "d" / "f0", 0o640)
    assert os.fstat(held).st_mode & 0o777 == 0o640
    (two / "d" / "f4").write_bytes(b"longer than before")
    assert (one / "d" / "f4").stat().st_size == 18
    assert (one / "d" / "f4").read_bytes() == b"longer than before"
    (two / "d" / "e" / "inside").write_bytes(b"")
    assert set(os.listdir(one / "d")) == set(os.listdir(two / "d"))
    # A directory that a program stands in is still there for it.
    assert waiting.communicate("\n", timeout=60)[0].strip() == f"{one / 'd' / 'e'} ['inside']"
    # And the other way round.
    os.pwrite(held, b"written", 0)
    os.close(held)
    assert (two / "d" / "f0").read_bytes() == b"written"
    for number in range(5, 30):
        (one / "d" / f"f{number}").unlink()
        assert not (two / "d" / f"f{number}").exists()
        (one / "d" / f"g{number}").mkdir()
        assert (two / "d" / f"g{number}").is_dir()
    # When the second one has left, the first has the volume to itself again.
    place.graviton.unmount(second, two)
    wait_alone(first, times=2)
    names = sorted(os.listdir(one / "d"))
    three, third = place.mount("three")
    assert sorted(os.listdir(three / "d")) == names
    (three / "d" / "last").write_bytes(b"x")
    assert (one / "d" / "last").stat().st_size == 1
    place.graviton.unmount(third, three)
    place.graviton.unmount(first, one)


def test_a_recall_in_the_middle_of_work(place: Place) -> None:
    """Requests are under way in the directories whose names the kernel is to forget."""
    one, first = place.mount("one")
    wait_alone(first)
    (one / "d").mkdir()
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        number = 0
        try:
            while not stop.is_set():
                path = one / "d" / f"w{worker}-{number}"
                path.write_bytes(b"%d" % number)
                assert path.stat().st_size == len(b"%d" % number)
                if number % 2:
                    path.rename(path.with_suffix(".moved"))
                os.listdir(one / "d")
                number += 1
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(3):
            started = time.monotonic()
            two, second = place.mount(f"two-{turn}")
            assert time.monotonic() - started < _SOON
            (two / "d" / f"theirs-{turn}").write_bytes(b"x")
            assert (one / "d" / f"theirs-{turn}").read_bytes() == b"x"
            (one / "d" / f"ours-{turn}").write_bytes(b"y")
            assert (two / "d" / f"ours-{turn}").read_bytes() == b"y"
            place.graviton.unmount(second, two)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not failures
    two, second = place.mount("last")
    assert sorted(os.listdir(two / "d")) == sorted(os.listdir(one / "d"))
    place.graviton.unmount(second, two)
    place.graviton.unmount(first, one)


def test_attributes_set_before_a_close(place: Place) -> None:
    """They may wait for it with the bytes, and nobody can tell: not on this mount, and not on the other."""
    one, first = place.mount("one")
    wait_alone(first)

    def unpack(number: int) -> tuple[Path, int]:
        """As tar does it."""
        path = one / f"f{number}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(file, b"%d" % number * 100)
        os.utime(file, ns=(10**18 + 1, 10**18 + number))
        os.fchown(file, 1000 + number, 100)
        os.fchmod(file, 0o640 if number % 2 else 0o4755)
        return path, file

    def shown(path: Path) -> tuple[int, ...]:
        found = path.stat()
        return (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_atime_ns,
            found.st_mtime_ns,
        )

    def expected(number: int) -> tuple[int, ...]:
        mode = 0o100640 if number % 2 else 0o104755
        return (mode, 1000 + number, 100, len(b"%d" % number) * 100, 10**18 + 1, 10**18 + number)

    for number in range(20):
        path, file = unpack(number)
        assert shown(path) == expected(number)
        if number == 3:
            os.fsync(file)
        os.close(file)
        assert shown(path) == expected(number)
    # What is written behind them has its own time; a later change counts.
    path, file = unpack(20)
    os.write(file, b"more")
    assert path.stat().st_mtime_ns > 10**18 + 10**9
    os.fchmod(file, 0o600)
    os.ftruncate(file, 3)
    os.close(file)
    assert (path.stat().st_mode, path.stat().st_size) == (0o100600, 3)
    path, file = unpack(21)
    os.ftruncate(file, 0)
    os.close(file)
    assert (path.stat().st_mode, path.stat().st_uid, path.stat().st_size) == (0o100640, 1021, 0)
    # One that is open still, and one that is removed, when the second mount comes.
    waits, held = unpack(22)
    gone, open_still = unpack(23)
    gone.unlink()
    two, second = place.mount("two")
    for number in range(20):
        assert shown(two / f"f{number}") == expected(number)
        assert (two / f"f{number}").read_bytes() == b"%d" % number * 100
    assert shown(two / waits.name) == expected(22)
    os.chmod(two / waits.name, 0o444)
    os.close(held)
    assert waits.stat().st_mode == 0o100444
    assert os.fstat(open_still).st_mode == 0o100640
    os.close(open_still)
    assert sorted(os.listdir(two)) == sorted(os.listdir(one))
    place.graviton.unmount(second, two)
    place.graviton.unmount(first, one)


@pytest.mark.parametrize("place", ["direct"], indirect=True)
def test_a_sole_mount_asks_little(place: Place) -> None:
    """What it asks the database is told by its metrics, and what it answered from memory."""
    port = free_port()
    one, first = place.mount("one", f"metrics=127.0.0.1:{port}")
    wait_alone(first)

    def told() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {
            line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("graviton_name_")
        }

    (one / "d").mkdir()
    paths = [one / "d" / f"f{number}" for number in range(300)]
    for path in paths:
        path.write_bytes(b"x")
    assert told()["graviton_name_hits_total"] >= 300
    assert told()["graviton_name_misses_total"] < 20
    place.graviton.unmount(first, one)
    one, first = place.mount("one", f"metrics=127.0.0.1:{port}")
    wait_alone(first)
    for path in paths:
        assert path.stat().st_size == 1
        assert not path.with_suffix(".none").exists()
    found = told()
    assert found["graviton_name_hits_total"] >= 590
    assert found["graviton_name_misses_total"] < 20
    for path in paths:
        assert path.stat().st_size == 1
        assert not path.with_suffix(".none").exists()
    after = told()  # the kernel answers by itself
    assert sum(after.values()) - sum(found.values()) < 50
    place.graviton.unmount(first, one)
