"""Quotas as programs on a mount meet them: what is refused and when, ``df``, nothing is lost silently."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.programs import Graviton
from harness.waiting import wait_until
from quotas.sources import Daemon, Mounted

pytestmark = pytest.mark.mount


@contextmanager
def refused(number: int = errno.EDQUOT) -> Iterator[None]:
    with pytest.raises(OSError, match=os.strerror(number)):
        yield


def write(path: Path, size: int, *, sync: bool = False) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.write(fd, os.urandom(size))
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def test_bytes(mounted: Mounted) -> None:
    top = mounted.point / "top"
    top.mkdir()
    write(top / "there", 40_000)
    mounted.quota("set", top, "--bytes", "100KB")
    with refused():
        write(top / "large", 70_000)
    with refused():
        write(top / "large", 70_000, sync=True)
    write(top / "large", 60_000, sync=True)
    with refused():
        os.truncate(top / "there", 40_001)
    with refused(), open(top / "there", "ab", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
    wait_until(lambda: (top / "there").stat().st_size == 40_000, "the size without what was refused")
    write(mounted.point / "elsewhere", 200_000)
    with refused():
        os.rename(mounted.point / "elsewhere", top / "moved")
    os.truncate(top / "there", 10)
    os.unlink(top / "large")
    write(top / "again", 99_990, sync=True)
    [checked] = mounted.quota("check", top)
    assert (checked["right"], checked["counted_bytes"]) == (True, 100_000)


def test_inodes(mounted: Mounted) -> None:
    top = mounted.point / "top"
    (top / "d").mkdir(parents=True)
    mounted.quota("set", top, "--inodes", "4")
    (top / "d" / "a").write_bytes(b"1")
    os.symlink("a", top / "d" / "b")
    os.link(top / "d" / "a", top / "hard")
    (top / "c").mkdir()
    for make in (os.mkdir, os.mkfifo, lambda path: os.open(path, os.O_CREAT)):
        with refused():
            make(top / "more")
    with refused(errno.EXDEV):
        os.link(top / "hard", mounted.point / "outside")
    os.unlink(top / "d" / "b")
    (top / "more").mkdir()


def test_a_long_file_is_refused_on_the_way(mounted: Mounted) -> None:
    """Not only at its end, however large it is going to be."""
    mounted.quota("set", mounted.point, "--bytes", "20MB")
    piece = os.urandom(1 << 20)
    fd = os.open(mounted.point / "f", os.O_CREAT | os.O_WRONLY)
    written = 0
    with refused():
        for _ in range(400):
            written += os.write(fd, piece)
    with refused():
        os.close(fd)
    assert written < 200 << 20
    wait_until(lambda: (mounted.point / "f").stat().st_size <= 20_000_000, "a size within the quota")
    os.unlink(mounted.point / "f")
    wait_until(lambda: os.statvfs(mounted.point).f_bavail > 4000, "room, now that nobody has it open")
    write(mounted.point / "g", 100, sync=True)


def test_what_a_sole_mount_answers_is_never_refused(mounted: Mounted) -> None:
    """Small files, as fast as they can be made, until there is no room: each that was made is there."""
    top = mounted.point / "top"
    top.mkdir()
    mounted.quota("set", top, "--inodes", "300", "--bytes", "1MB")
    made = 0
    with refused():
        for number in range(1000):
            (top / str(number)).write_bytes(b"%d" % number)
            made += 1
    mounted.unmount()
    mounted.mount()
    assert made == 300
    assert all((top / str(number)).read_bytes() == b"%d" % number for number in range(made))
    assert mounted.quota("check", top)[0]["counted_inodes"] == 300


def test_df(mounted: Mounted) -> None:
    top = mounted.point / "top"
    top.mkdir()
    write(top / "f", 4096 * 10)
    mounted.quota("set", top, "--bytes", str(4096 * 100), "--inodes", "50")
    mounted.quota("set", mounted.point, "--bytes", str(4096 * 1000))
    shown = os.statvfs(mounted.point)
    assert (shown.f_frsize, shown.f_blocks, shown.f_bavail) == (4096, 1000, 990)
    mounted.unmount()
    mounted.mount("subdir=top")
    shown = os.statvfs(mounted.point)
    assert (shown.f_blocks, shown.f_bavail, shown.f_files, shown.f_favail) == (100, 90, 50, 49)


def test_a_journal_does_not_answer_for_what_may_be_refused(
    graviton: Graviton, daemon: Daemon, scratch: Path
) -> None:
    point = scratch / "mnt"
    graviton.run("mkdir", f"{daemon.data}:/top")
    graviton.run("quota", "set", f"{daemon.data}:/top", "--bytes", "100KB")
    running = graviton.mount(daemon.source, point, f"durability=local,cache-dir={scratch / 'cache'}")  # type: ignore[arg-type]
    write(point / "top" / "small", 50_000, sync=True)
    fd = os.open(point / "top" / "large", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(fd, os.urandom(60_000))
    with refused():
        os.fsync(fd)
    os.unlink(point / "top" / "small")
    os.fsync(fd)
    os.close(fd)
    graviton.unmount(running, point)
