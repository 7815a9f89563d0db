"""Mounts of a daemon's volume: real processes, and a daemon that is killed under them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gravitonfs.client import Client
from harness.places import is_mounted
from harness.programs import Graviton, Running
from harness.waiting import wait_until
from rpc.running import Daemon, Wire, goes_on, untroubled
from rpc.test_faults import check

pytestmark = pytest.mark.mount


@pytest.fixture
def running(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with untroubled(scratch / "data", folder) as started:
        yield started


def mounted(graviton: Graviton, port: int, point: Path, *options: str) -> Running:
    return graviton.mount(f"graviton://127.0.0.1:{port}/main", point, *options)  # type: ignore[arg-type]


class TestOneMount:
    def test_files_and_trees(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        point = scratch / "mnt"
        process = mounted(graviton, running.port, point)
        data = os.urandom(20 << 20)
        (point / "large").write_bytes(data)
        (point / "d" / "e").mkdir(parents=True)
        for number in range(300):
            (point / "d" / f"f{number:03}").write_bytes(b"%d" % number)
        assert (point / "large").read_bytes() == data
        assert sorted(os.listdir(point / "d")) == ["e", *(f"f{number:03}" for number in range(300))]
        os.rename(point / "d" / "f000", point / "renamed")
        os.link(point / "renamed", point / "link")
        os.symlink("renamed", point / "symbolic")
        assert (point / "symbolic").read_bytes() == b"0"
        os.setxattr(point / "link", "user.a", b"b")
        assert os.getxattr(point / "renamed", "user.a") == b"b"
        with open(point / "large", "r+b") as file:
            file.seek(5 << 20)
            file.write(b"changed")
            file.truncate(10 << 20)
        expected = data[: 5 << 20] + b"changed" + data[(5 << 20) + 7 : 10 << 20]
        assert (point / "large").read_bytes() == expected
        with open(point / "log", "ab", buffering=0) as file:
            for number in range(20):
                file.write(b"line %d\n" % number)
                os.fsync(file.fileno())
        assert len((point / "log").read_bytes().splitlines()) == 20
        assert os.statvfs(point).f_blocks > 0
        shutil.rmtree(point / "d")
        graviton.run("umount", point)
        assert process.process.wait(30) == 0
        assert not is_mounted(point)
        with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=10) as client:
            assert client.read_bytes("large") == expected
        running.stop()
        assert check(scratch / "data") == []

    def test_programs(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        point = scratch / "mnt"
        process = mounted(graviton, running.port, point)
        environment = {**os.environ, "HOME": str(scratch), "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        for command in (
            ["git", "init", "-q", "."],
            ["sh", "-c", "for n in $(seq 50); do echo $n > file$n; done"],
            ["git", "add", "-A"],
            ["git", *who, "commit", "-qm", "all"],
            ["git", "fsck", "--strict"],
            ["sh", "-c", "tar cf - .git | (mkdir copy && cd copy && tar xf -)"],
            ["diff", "-r", ".git", "copy/.git"],
        ):
            subprocess.run(command, cwd=point, env=environment, check=True, timeout=100, capture_output=True)
        graviton.unmount(process, point)

    def test_in_the_background(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        point = scratch / "mnt"
        point.mkdir()
        source = f"graviton://127.0.0.1:{running.port}/main"
        state = str(scratch / "state")
        graviton.run("mount", source, point, "-o", "subdir=,timeout=5s", XDG_STATE_HOME=state, check=False)
        told = graviton.run("mount", source, point, "-o", "timeout=5s", XDG_STATE_HOME=state)
        assert b"is mounted by process" in told.stderr
        (point / "f").write_bytes(b"x")
        refused = graviton.run("ls", point, status=1)
        assert b"is in a mount of graviton://127.0.0.1" in refused.stderr
        graviton.run("umount", point)
        assert list((scratch / "state" / "graviton").glob("mount-*.log"))

    def test_what_cannot_be_mounted(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        point = scratch / "mnt"
        point.mkdir()
        base = f"graviton://127.0.0.1:{running.port}"
        for source, options, said in (
            (f"{base}/nothing", (), b"there is no volume 'nothing'"),
            (f"{base}/main/path", (), b"subdir=path"),
            ("graviton://:1/x", (), b"is no HOST:PORT"),
            (f"{base}/main", ("-o", "token-file=/nothing"), b"there is no file"),
            ("graviton://127.0.0.1:1/main", ("-o", "timeout=1s"), b"does not answer"),
        ):
            failed = graviton.run("mount", source, point, "-f", *options, check=False)
            assert failed.returncode in (1, 2), failed
            assert said in failed.stderr, failed.stderr
        assert not is_mounted(point)


class TestDaemonAway:
    def test_a_mount_rides_out_a_killed_daemon(
        self, graviton: Graviton, running: Daemon, scratch: Path
    ) -> None:
        point = scratch / "mnt"
        process = mounted(graviton, running.port, point)
        stop = scratch / "stop"
        writer = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("mount_writer.py"), point, stop],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(3):
                goes_on(writer, 0.7)
                running.restart()
            stop.touch()
            said, _ = writer.communicate(timeout=100)
        finally:
            writer.kill()
            writer.communicate()
        assert writer.returncode == 0, said
        graviton.unmount(process, point)
        running.stop()
        assert check(scratch / "data") == []

    def test_after_the_bound_it_is_eio_and_the_mount_stays(
        self, graviton: Graviton, running: Daemon, scratch: Path
    ) -> None:
        graviton.allow_log("does not answer")
        point = scratch / "mnt"
        process = mounted(graviton, running.port, point, "timeout=1s")
        (point / "f").write_bytes(b"before")
        running.kill()
        # Until it hears of that, a sole mount answers what it knows.
        wait_until(lambda: _fails(point / "f"), "the mount to ask for what it knew")
        with pytest.raises(OSError, match="Input/output error"):
            (point / "g").write_bytes(b"x")
        running.start()
        wait_until(lambda: _reads(point / "f") == b"before", "the mount to answer again")
        (point / "g").write_bytes(b"after")
        graviton.unmount(process, point)

    def test_a_cut_that_is_longer_than_the_bound(
        self, graviton: Graviton, running: Daemon, scratch: Path
    ) -> None:
        """Nothing comes through, no connection breaks: EIO in time for what only the daemon can answer, and
        afterwards all is as it was. What a sole mount may answer itself while its lease lasts is not lost."""
        graviton.allow_log("does not answer")
        graviton.allow_log("changes wait for the store")
        wire = Wire(running.port)
        point = scratch / "mnt"
        process = mounted(graviton, wire.port, point, "timeout=1s")
        (point / "d").mkdir()
        (point / "e").mkdir()
        for number in range(5):
            (point / f"f{number}").write_bytes(b"%d" % number * 50_000)
        os.sync()
        try:
            wire.hold()
            started = time.monotonic()
            (point / "f1").rename(point / "moved")
            (point / "d" / "made").mkdir()
            for call in (partial(_synced, point / "new"), partial((point / "d").rename, point / "e" / "d")):
                with pytest.raises(OSError, match="Input/output error"):
                    call()
            assert time.monotonic() - started < 60
            wire.release()
            wire.cut()
            wait_until(lambda: _reads(point / "f0") == b"0" * 50_000, "the mount to answer again")
            for number in (2, 3, 4):
                assert (point / f"f{number}").read_bytes() == b"%d" % number * 50_000
            assert not (point / "f1").exists()
            assert (point / "moved").read_bytes() == b"1" * 50_000
            # What was given up may have happened or not, but once and whole.
            assert (point / "d" / "made").exists() != (point / "e" / "d" / "made").exists()
            (point / "after").write_bytes(b"after")
            assert (point / "after").read_bytes() == b"after"
            graviton.unmount(process, point)
        finally:
            wire.close()
        running.stop()
        assert check(scratch / "data") == []

    def test_the_end_without_the_daemon(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        """Who has nothing to store waits for nobody; who has waits once, as long as ``timeout`` says."""
        graviton.allow_log("does not answer")
        reader, writer = scratch / "reader", scratch / "writer"
        writing = mounted(graviton, running.port, writer, "timeout=3s")
        (writer / "f").write_bytes(b"before")
        with open(writer / "f", "r+b") as file:
            os.fsync(file.fileno())
        reading = mounted(graviton, running.port, reader, "timeout=1000s")
        assert (reader / "f").read_bytes() == b"before"
        (writer / "g").write_bytes(b"not synced")
        running.kill()
        for process, status in ((reading, 0), (writing, 1)):
            process.process.terminate()
            assert process.process.wait(100) == status, process.log_text()
        assert writing.log_text().count("not everything could be stored") == 1
        assert "could be stored" not in reading.log_text()
        running.start()


def _synced(path: Path) -> None:
    with open(path, "wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())


def _fails(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.EIO
    return False


def _reads(path: Path) -> bytes | None:
    """None while the daemon is still coming back: then it is EIO after the bound of a second."""
    try:
        return path.read_bytes()
    except OSError:
        return None


class TestTwoMounts:
    def test_they_see_each_other(self, graviton: Graviton, running: Daemon, scratch: Path) -> None:
        one, two = scratch / "one", scratch / "two"
        processes = [mounted(graviton, running.port, point) for point in (one, two)]
        for turn in range(30):
            (one / "f").write_bytes(b"%d" % turn)
            assert (two / "f").read_bytes() == b"%d" % turn
            (two / f"from-two-{turn}").mkdir()
            assert (one / f"from-two-{turn}").is_dir()
            os.rename(one / f"from-two-{turn}", one / f"renamed-{turn}")
            assert (two / f"renamed-{turn}").is_dir()
            assert not (two / f"from-two-{turn}").exists()
        with open(two / "open", "w+b") as file:
            file.write(b"still here")
            file.flush()
            os.fsync(file.fileno())
            os.unlink(one / "open")
            assert not (two / "open").exists()
            file.seek(0)
            assert file.read() == b"still here"
        winners = []

        def race(point: Path, number: int) -> None:
            try:
                os.close(os.open(point / f"race-{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                return
            winners.append(number)

        for number in range(20):
            threads = [threading.Thread(target=race, args=(point, number)) for point in (one, two)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(winners) == list(range(20))
        for process, point in zip(processes, (one, two), strict=True):
            graviton.unmount(process, point)
