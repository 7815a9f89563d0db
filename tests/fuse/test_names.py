"""Names, links, types and renames, as programs see them."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from harness.refusals import refused

pytestmark = pytest.mark.mount

NOREPLACE, EXCHANGE = 1, 2


def renameat2(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def test_a_hard_link_is_the_same_inode(here: Path) -> None:
    (here / "a").write_bytes(b"one")
    os.link(here / "a", here / "b")
    assert os.stat(here / "a").st_ino == os.stat(here / "b").st_ino
    assert os.stat(here / "b").st_nlink == 2
    (here / "b").write_bytes(b"two!")
    assert (here / "a").read_bytes() == b"two!"
    os.unlink(here / "a")
    assert os.stat(here / "b").st_nlink == 1
    assert (here / "b").read_bytes() == b"two!"


def test_a_directory_cannot_be_linked(here: Path) -> None:
    (here / "d").mkdir()
    with pytest.raises(PermissionError):
        os.link(here / "d", here / "e")


@pytest.mark.parametrize("length", [1, 60, 4095])
def test_symlinks_keep_their_target(here: Path, length: int) -> None:
    target = "t" * length
    os.symlink(target, here / "s")
    assert os.readlink(here / "s") == target
    assert os.lstat(here / "s").st_size == length


def test_fifos_sockets_and_devices(here: Path) -> None:
    os.mkfifo(here / "fifo", 0o640)
    assert stat.S_ISFIFO(os.stat(here / "fifo").st_mode)
    if os.geteuid() == 0:
        os.mknod(here / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        info = os.stat(here / "null")
        assert (os.major(info.st_rdev), os.minor(info.st_rdev)) == (1, 3)
    reader = os.open(here / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(here / "fifo", os.O_WRONLY)
    os.write(writer, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(writer)
    os.close(reader)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe\x80", b"a\nb", b" ", b"-rf", "ünï".encode(), b"x" * 255, b"...", b"\x01"]
)
def test_names_are_bytes(here: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(here), name)
    with open(path, "wb") as file:
        file.write(b"!")
    assert os.listdir(os.fsencode(here)) == [name]
    os.rename(path, path[:-1] + b"z")
    os.unlink(path[:-1] + b"z")
    assert os.listdir(here) == []


def test_a_name_of_256_bytes_is_too_long(here: Path) -> None:
    for call in (Path.touch, os.mkdir, os.stat):
        with refused(errno.ENAMETOOLONG):
            call(here / ("x" * 256))


def test_rename_replaces_a_file(here: Path) -> None:
    (here / "a").write_bytes(b"new")
    (here / "b").write_bytes(b"old")
    with open(here / "b", "rb") as old:
        os.rename(here / "a", here / "b")
        assert old.read() == b"old"
    assert (here / "b").read_bytes() == b"new"
    assert os.listdir(here) == ["b"]


def test_rename_noreplace_and_exchange(here: Path) -> None:
    (here / "a").write_bytes(b"a")
    (here / "d").mkdir()
    with pytest.raises(FileExistsError):
        renameat2(here / "a", here / "d", NOREPLACE)
    renameat2(here / "a", here / "d", EXCHANGE)
    assert (here / "d").read_bytes() == b"a"
    assert (here / "a").is_dir()
    renameat2(here / "d", here / "free", NOREPLACE)
    assert sorted(os.listdir(here)) == ["a", "free"]
    with pytest.raises(FileNotFoundError):
        renameat2(here / "free", here / "nothing", EXCHANGE)


def test_rename_rules_of_directories(here: Path) -> None:
    (here / "d" / "e").mkdir(parents=True)
    (here / "empty").mkdir()
    (here / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Invalid argument"):
        os.rename(here / "d", here / "d" / "e" / "f")
    with pytest.raises(OSError, match="not empty"):
        os.rename(here / "empty", here / "d")
    with pytest.raises(NotADirectoryError):
        os.rename(here / "empty", here / "file")
    with pytest.raises(IsADirectoryError):
        os.rename(here / "file", here / "empty")
    os.rename(here / "d" / "e", here / "empty")
    assert os.stat(here / "d").st_nlink == 2
    assert os.stat(here).st_nlink == 4


def test_link_counts_of_directories(here: Path) -> None:
    assert os.stat(here).st_nlink == 2
    (here / "d").mkdir()
    assert os.stat(here).st_nlink == 3
    os.rmdir(here / "d")
    assert os.stat(here).st_nlink == 2
    (here / "d").mkdir()
    (here / "d" / "x").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"):
        os.rmdir(here / "d")


def test_a_deep_tree(here: Path) -> None:
    descriptor = os.open(here, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("deeper", dir_fd=descriptor)
        below = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    assert os.listdir(descriptor) == ["leaf"]
    os.close(descriptor)
    depth = sum(1 for _ in os.walk(here))
    assert depth == 301


def test_a_directory_lists_itself_and_its_parent(here: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    (here / "d").mkdir()
    descriptor = os.open(here / "d", os.O_RDONLY)
    buffer = ctypes.create_string_buffer(4096)
    size = libc.syscall(217, descriptor, buffer, 4096)  # getdents64
    os.close(descriptor)
    found = {}
    at = 0
    while at < size:
        ino = int.from_bytes(buffer.raw[at : at + 8], "little")
        length = int.from_bytes(buffer.raw[at + 16 : at + 18], "little")
        found[buffer.raw[at + 19 : at + length].split(b"\0")[0]] = ino
        at += length
    assert found == {b".": os.stat(here / "d").st_ino, b"..": os.stat(here).st_ino}


def test_a_large_directory_read_while_it_changes(here: Path) -> None:
    stay = {f"stay-{i:05}" for i in range(3000)}
    for name in stay:
        os.close(os.open(here / name, os.O_CREAT | os.O_WRONLY))
    for i in range(500):
        os.close(os.open(here / f"gone-{i:05}", os.O_CREAT | os.O_WRONLY))
    seen: list[str] = []
    with os.scandir(here) as entries:
        for index, entry in enumerate(entries):
            seen.append(entry.name)
            if index % 10 == 0 and index < 5000:
                os.close(os.open(here / f"new-{index:05}", os.O_CREAT | os.O_WRONLY))
                (here / f"gone-{index // 10:05}").unlink(missing_ok=True)
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


def test_attributes_in_a_listing_are_not_older_than_the_listing(here: Path) -> None:
    for i in range(200):
        (here / f"f{i:03}").write_bytes(b"")
    with os.scandir(here) as entries:
        next(entries)
        for i in range(200):
            os.chmod(here / f"f{i:03}", 0o600)
        for entry in entries:
            assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    for i in range(200):
        assert stat.S_IMODE(os.stat(here / f"f{i:03}").st_mode) == 0o600


def test_mkdir_and_o_excl_refuse_what_exists(here: Path) -> None:
    (here / "x").mkdir()
    with pytest.raises(FileExistsError):
        (here / "x").mkdir()
    with pytest.raises(FileExistsError):
        os.open(here / "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
