"""Mounting, unmounting, dying and coming back."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from harness.places import is_mounted
from harness.programs import Graviton
from harness.refusals import refused
from harness.waiting import wait_until

pytestmark = pytest.mark.mount

MIB = 1 << 20


@pytest.fixture
def data(graviton: Graviton, scratch: Path) -> Path:
    graviton.run("init", scratch / "data")
    return scratch / "data"


def test_everything_is_there_after_a_clean_unmount(graviton: Graviton, data: Path, scratch: Path) -> None:
    point = scratch / "mnt"
    running = graviton.mount(data, point)
    content = random.Random(3).randbytes(20 * MIB)
    (point / "d").mkdir()
    (point / "d" / "f").write_bytes(content)
    held = open(point / "d" / "open", "wb")  # noqa: SIM115  # it stays open over SIGTERM
    held.write(b"not closed")
    held.flush()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    with refused(errno.ENOTCONN, errno.EIO, errno.ECONNABORTED):
        held.close()
    assert not is_mounted(point)
    running = graviton.mount(data, point)
    assert (point / "d" / "f").read_bytes() == content
    assert (point / "d" / "open").read_bytes() == b"not closed"
    graviton.unmount(running, point)


def test_kill_9_keeps_what_was_synced_and_mounts_again_over_the_stale_point(
    graviton: Graviton, data: Path, scratch: Path
) -> None:
    point = scratch / "mnt"
    running = graviton.mount(data, point)
    synced = {}
    for index in range(30):
        content = random.Random(index).randbytes(index * 40_000 + 5)
        with open(point / f"f{index}", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        synced[f"f{index}"] = content
    (point / "late").write_bytes(b"perhaps")
    running.kill()
    with refused(errno.ENOTCONN):
        os.listdir(point)
    running = graviton.mount(data, point)
    for name, content in synced.items():
        assert (point / name).read_bytes() == content
    graviton.unmount(running, point)
    graviton.run("fsck", data, "--read-data")


@pytest.mark.soak
def test_bytes_nobody_syncs_survive_once_they_are_written_back(
    graviton: Graviton, data: Path, scratch: Path
) -> None:
    point = scratch / "mnt"
    running = graviton.mount(data, point)
    log = os.open(point / "log", os.O_WRONLY | os.O_CREAT)
    os.write(log, b"a line")

    def stored() -> bool:
        return b'"bytes": 6' in os.getxattr(point / "log", "user.graviton.stat")

    wait_until(stored, "the bytes are in the volume", timeout=60)
    # A durable change makes durable what was in the volume before it.
    graviton.run("mkdir", f"{data}:/marker")
    running.kill()
    with refused(errno.ENOTCONN):
        os.close(log)
    running = graviton.mount(data, point)
    assert (point / "log").read_bytes() == b"a line"
    graviton.unmount(running, point)


def test_up_comes_back_over_the_point_that_a_killed_one_left(graviton: Graviton, scratch: Path) -> None:
    point = scratch / "mnt"
    arguments = ("up", "--data", scratch / "data", "--mount", point, "--webdav", "off")
    running = graviton.start(*arguments)
    running.ready_line()
    with open(point / "f", "wb", buffering=0) as file:
        file.write(b"synced")
        os.fsync(file.fileno())
    running.kill()
    with refused(errno.ENOTCONN):
        os.listdir(point)
    running = graviton.start(*arguments)
    running.ready_line()
    assert (point / "f").read_bytes() == b"synced"
    assert running.stop() == 0


def test_a_read_only_mount_refuses_changes(graviton: Graviton, data: Path, scratch: Path) -> None:
    point = scratch / "mnt"
    running = graviton.mount(data, point)
    (point / "f").write_bytes(b"x")
    graviton.unmount(running, point)
    running = graviton.mount(data, point, "ro")
    assert (point / "f").read_bytes() == b"x"
    for call in (lambda: (point / "g").write_bytes(b""), lambda: os.unlink(point / "f")):
        with refused(errno.EROFS):
            call()
    graviton.unmount(running, point)


def test_a_subdirectory_as_the_root(graviton: Graviton, data: Path, scratch: Path) -> None:
    point = scratch / "mnt"
    running = graviton.mount(data, point)
    (point / "a" / "b").mkdir(parents=True)
    (point / "a" / "b" / "f").write_bytes(b"inside")
    graviton.unmount(running, point)
    running = graviton.mount(data, point, "subdir=a/b")
    assert os.listdir(point) == ["f"]
    (point / "g").write_bytes(b"new")
    assert (point / "f").read_bytes() == b"inside"
    graviton.unmount(running, point)
    running = graviton.mount(data, point)
    assert sorted(os.listdir(point / "a" / "b")) == ["f", "g"]
    graviton.unmount(running, point)


def test_a_full_disk_is_enospc_and_nothing_synced_is_lost(graviton: Graviton, scratch: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small, image, point = scratch / "small", scratch / "image", scratch / "mnt"
    small.mkdir()
    subprocess.run(["truncate", "-s", "200M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, small], check=True)
    try:
        graviton.run("init", small / "data")
        graviton.allow_log("room|space|full")
        running = graviton.mount(small / "data", point)
        kept: dict[str, bytes] = {}
        failed = None
        for index in range(60):
            content = random.Random(index).randbytes(5 * MIB)
            try:
                with open(point / f"f{index}", "wb", buffering=0) as file:
                    file.write(content)
                    os.fsync(file.fileno())
                kept[f"f{index}"] = content
            except OSError as error:
                failed = error
                break
        assert failed is not None
        assert failed.errno == errno.ENOSPC
        assert len(kept) > 10
        for name, content in kept.items():
            assert (point / name).read_bytes() == content
        for name in list(kept)[:8]:
            os.unlink(point / name)
            del kept[name]

        def room_again() -> bool:
            try:
                with open(point / "again", "wb", buffering=0) as file:
                    file.write(random.Random(99).randbytes(5 * MIB))
                    os.fsync(file.fileno())
            except OSError as error:
                return error.errno != errno.ENOSPC
            return True

        wait_until(room_again, "space comes back by itself", 90)
        graviton.unmount(running, point)
        running = graviton.mount(small / "data", point)
        for name, content in kept.items():
            assert (point / name).read_bytes() == content
        graviton.unmount(running, point)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
