"""A mount that has its volume to itself lets the kernel keep names; another one that comes sees, and causes,
every change at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from harness.postgres import PostgresServer, debian_binaries
from harness.programs import Graviton, Running
from harness.waiting import wait_until

pytestmark = pytest.mark.mount

ALONE = ("has its volume to itself", "is this session's alone", "to itself")
_SOON = 30.0
"""Well below a lease: the kernel was made to let go."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    found = PostgresServer(debian_binaries())
    yield found
    found.close()


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
    request: pytest.FixtureRequest, server: PostgresServer, graviton: Graviton, scratch: Path
) -> Iterator[Place]:
    conninfo = server.database()
    url = f"jdbc:postgresql://{quote(str(server.home), safe='')}/{conninfo.rpartition('dbname=')[2]}"
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
    server.drop(conninfo)


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
