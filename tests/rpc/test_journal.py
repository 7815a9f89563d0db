"""Mounts with durability=local: what fsync has answered survives the mount, its machine, and the daemon."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.power import Machine
from crash.rounds import Rounds
from harness.programs import Graviton, Running
from harness.proxy import TcpProxy
from rpc.running import Daemon, daemon
from rpc.test_faults import check

pytestmark = pytest.mark.mount


@pytest.fixture
def running(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with daemon(scratch / "data", folder) as started:
        yield started
        log = started.stop()
    trouble = [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line]
    assert trouble == []


@pytest.fixture
def proxy(running: Daemon) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", running.port) as made:
        yield made


class Laptop:
    """A mount behind a wire that can be cut, with its journal in the scratch directory."""

    def __init__(self, graviton: Graviton, proxy: TcpProxy, scratch: Path) -> None:
        self.graviton = graviton
        self.proxy = proxy
        self.point = scratch / "mnt"
        self.local = scratch / "local"
        self.process: Running | None = None

    def mount(self, *options: str) -> Running:
        source = f"graviton://127.0.0.1:{self.proxy.port}/main"
        more = options or ("timeout=3s",)
        self.process = self.graviton.mount(
            source,  # type: ignore[arg-type]
            self.point,
            "durability=local",
            f"cache-dir={self.local}",
            *more,
        )
        return self.process

    def away(self) -> None:
        self.proxy.refusing = True
        self.proxy.cut_all()

    def back(self) -> None:
        self.proxy.heal()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def segments(self) -> list[Path]:
        return sorted(self.local.rglob("*.journal"))

    def unmount(self) -> None:
        assert self.process is not None
        self.graviton.unmount(self.process, self.point)


@pytest.fixture
def laptop(graviton: Graviton, proxy: TcpProxy, scratch: Path) -> Laptop:
    return Laptop(graviton, proxy, scratch)


_WRITER = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
while True:
    line = sys.stdin.readline().split()
    if not line:
        break
    if line[0] == "write":
        os.pwrite(descriptor, bytes.fromhex(line[2]) * int(line[3]), int(line[1]))
    elif line[0] == "sync":
        os.fsync(descriptor)
    elif line[0] == "size":
        os.ftruncate(descriptor, int(line[1]))
    print("done", flush=True)
os._exit(0)
"""


class Writer:
    """A program with a file open. A process of its own: closing the file may have to wait for the daemon."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, *words: object) -> float:
        """How long it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        start = time.monotonic()
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        return time.monotonic() - start

    def write(self, offset: int, pattern: bytes, count: int = 1) -> None:
        self.do("write", offset, pattern.hex(), count)

    def sync(self) -> float:
        return self.do("sync")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def opened() -> Iterator[list[Writer]]:
    writers: list[Writer] = []
    yield writers
    for writer in writers:
        writer.end()


def test_fsync_is_answered_while_the_daemon_is_away(
    laptop: Laptop, running: Daemon, opened: list[Writer], scratch: Path
) -> None:
    laptop.mount()
    writer = Writer(laptop.point / "f")
    opened.append(writer)
    writer.write(0, b"first ", 100)
    writer.sync()
    laptop.away()
    for turn in range(20):
        writer.write(turn * 1000, b"%04d" % turn, 100)
        assert writer.sync() < 2
    laptop.kill()
    writer.end()
    laptop.back()
    laptop.mount()
    found = (laptop.point / "f").read_bytes()
    for turn in range(20):
        assert found[turn * 1000 : turn * 1000 + 400] == b"%04d" % turn * 100
    assert not [path for path in laptop.segments() if path.stat().st_size > 4096]
    laptop.unmount()
    assert laptop.segments() == []
    running.stop()
    assert check(scratch / "data") == []


def kill_loop(laptop: Laptop, running: Daemon, seed: int, count: int) -> None:
    """The mount dies at any moment; the wire is slow, or has been cut before, and the daemon may die too."""
    rounds = Rounds(laptop.point, seed)
    laptop.mount()
    for _ in range(count):
        laptop.proxy.delay = rounds.chance.choice([0.0, 0.002, 0.02])
        daemon_too = rounds.chance.random() < 0.5
        pause = rounds.chance.uniform(0, 0.3)

        def crash(daemon_too: bool = daemon_too, pause: float = pause) -> None:
            laptop.away()
            if daemon_too:
                running.kill()
            time.sleep(pause)  # what is synced now is in the journal alone
            laptop.kill()

        rounds.write_until(crash)
        laptop.back()
        if daemon_too:
            running.start()
        laptop.mount()
        rounds.check()
    laptop.unmount()
    assert laptop.segments() == []
    running.stop()
    assert check(running.data) == []


@pytest.mark.timeout(300)
def test_a_killed_mount_keeps_what_its_journal_answered(laptop: Laptop, running: Daemon) -> None:
    kill_loop(laptop, running, seed=1, count=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_killed_mounts(laptop: Laptop, running: Daemon, seed: int) -> None:
    kill_loop(laptop, running, seed, count=25)


@pytest.mark.timeout(300)
def test_power_cuts_of_the_journals_disk(
    graviton: Graviton, laptop: Laptop, running: Daemon, scratch: Path
) -> None:
    home = scratch / "machine"
    home.mkdir()
    machine = Machine(home)
    # Between the cut and the kill every call into the disk fails, and is reported as it should be.
    graviton.allow_log(".*")
    laptop.local = machine.disk / "local"
    rounds = Rounds(laptop.point, 7)
    try:
        machine.power_on()
        for number in range(4):
            laptop.mount()

            def crash(number: int = number) -> None:
                laptop.away()
                time.sleep(0.1)
                machine.cut_power(number)
                laptop.kill()

            rounds.write_until(crash)
            laptop.back()
            machine.power_off()
            machine.power_on()
            laptop.mount()
            rounds.check()
            laptop.unmount()
        machine.power_off()
    finally:
        machine.close()
    running.stop()
    assert check(running.data) == []
