"""Modes, owners, times, extended attributes, ACLs; checked as ordinary users."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.refusals import refused
from harness.users import User

pytestmark = pytest.mark.mount


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_times_have_nanoseconds(here: Path) -> None:
    path = here / "f"
    path.write_bytes(b"x")
    os.utime(path, ns=(1_234_567_890_123_456_789, 987_654_321_000_000_001))
    info = os.stat(path)
    assert (info.st_atime_ns, info.st_mtime_ns) == (1_234_567_890_123_456_789, 987_654_321_000_000_001)


def test_a_time_set_while_the_file_is_open_stays(here: Path) -> None:
    with open(here / "f", "wb", buffering=0) as file:
        file.write(b"data")
        os.utime(file.fileno(), ns=(5, 10**18))
    assert os.stat(here / "f").st_mtime_ns == 10**18


def test_writes_move_mtime_and_names_move_the_directory(here: Path) -> None:
    (here / "f").write_bytes(b"1")
    before, directory = os.stat(here / "f"), os.stat(here)
    while time.time_ns() <= before.st_mtime_ns + 2_000_000:
        pass
    with open(here / "f", "ab") as file:
        file.write(b"2")
    (here / "g").write_bytes(b"")
    assert os.stat(here / "f").st_mtime_ns > before.st_mtime_ns
    assert os.stat(here).st_mtime_ns > directory.st_mtime_ns
    chmod_before = os.stat(here / "f").st_mtime_ns
    os.chmod(here / "f", 0o600)
    assert os.stat(here / "f").st_mtime_ns == chmod_before


def test_xattrs(here: Path) -> None:
    path = here / "f"
    path.write_bytes(b"")
    os.setxattr(path, "user.one", b"1")
    os.setxattr(path, "user.big", b"v" * 60_000)
    assert sorted(os.listxattr(path)) == ["user.big", "user.one"]
    assert os.getxattr(path, "user.big") == b"v" * 60_000
    os.setxattr(path, "user.one", b"\0\xff")
    assert os.getxattr(path, "user.one") == b"\0\xff"
    os.removexattr(path, "user.one")
    with refused(errno.ENODATA):
        os.getxattr(path, "user.one")
    with refused(errno.ENODATA):
        os.removexattr(path, "user.one")


def test_umask_and_modes(here: Path) -> None:
    old = os.umask(0o027)
    try:
        os.close(os.open(here / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(here / "d", 0o777)
    finally:
        os.umask(old)
    assert (mode(here / "f"), mode(here / "d")) == (0o640, 0o750)
    os.chmod(here / "f", 0o4755)
    assert mode(here / "f") == 0o4755


def test_a_setgid_directory_gives_its_group(here: Path, users: Sequence[User]) -> None:
    user = users[0]
    os.chown(here, user.uid, 12345)
    os.chmod(here, 0o2775)
    user.python("os.mkdir(sys.argv[1])\nopen(sys.argv[2], 'w').close()", here / "d", here / "f")
    assert os.stat(here / "d").st_gid == os.stat(here / "f").st_gid == 12345
    assert os.stat(here / "d").st_mode & stat.S_ISGID


def test_ordinary_users_are_held_to_modes(here: Path, users: Sequence[User]) -> None:
    mine, other = users[0], users[1]
    (here / "secret").write_bytes(b"s")
    os.chmod(here / "secret", 0o600)
    os.chown(here / "secret", mine.uid, mine.gid)
    assert mine.python("print(open(sys.argv[1]).read())", here / "secret") == "s"
    assert other.python("open(sys.argv[1])", here / "secret") == "EACCES"
    assert other.python("open(sys.argv[1], 'w')", here / "new") == "EACCES"
    assert other.python("os.chmod(sys.argv[1], 0o777)", here / "secret") == "EPERM"
    assert other.python("os.chown(sys.argv[1], os.getuid(), -1)", here / "secret") == "EPERM"


def test_the_sticky_bit_protects_others_files(here: Path, users: Sequence[User]) -> None:
    mine, other = users[0], users[1]
    os.chmod(here, 0o1777)
    mine.python("open(sys.argv[1], 'w').close()", here / "f")
    assert other.python("os.unlink(sys.argv[1])", here / "f") == "EPERM"
    assert other.python("os.rename(sys.argv[1], sys.argv[1] + 'x')", here / "f") == "EPERM"
    mine.python("os.unlink(sys.argv[1])", here / "f")
    assert os.listdir(here) == []


def test_a_write_by_another_user_clears_suid(here: Path, users: Sequence[User]) -> None:
    path = here / "f"
    path.write_bytes(b"x")
    os.chmod(path, 0o6777)
    users[0].python("open(sys.argv[1], 'ab').write(b'y')", path)
    assert mode(path) == 0o777
    os.chmod(path, 0o6755)
    os.chown(path, users[0].uid, users[0].gid)
    assert mode(path) & 0o6000 == 0


def test_acls_are_kept_inherited_and_enforced(here: Path, users: Sequence[User]) -> None:
    mine, other = users[0], users[1]
    path = here / "f"
    path.write_bytes(b"shared")
    os.chmod(path, 0o600)
    assert mine.python("open(sys.argv[1])", path) == "EACCES"
    subprocess.run(["setfacl", "-m", f"u:{mine.uid}:r", path], check=True)
    assert mine.python("print(open(sys.argv[1]).read())", path) == "shared"
    assert other.python("open(sys.argv[1])", path) == "EACCES"
    assert mode(path) == 0o640
    os.chmod(path, 0o600)
    assert mine.python("open(sys.argv[1])", path) == "EACCES"
    subprocess.run(["setfacl", "-d", "-m", f"u:{mine.uid}:rwx", here], check=True)
    old = os.umask(0)
    try:
        (here / "sub").mkdir()
        (here / "sub" / "g").write_bytes(b"inherited")
    finally:
        os.umask(old)
    shown = subprocess.run(
        ["getfacl", "-nc", here / "sub"], check=True, capture_output=True, text=True
    ).stdout
    assert f"default:user:{mine.uid}:rwx" in shown
    assert f"\nuser:{mine.uid}:rwx" in shown
    shown = subprocess.run(
        ["getfacl", "-nc", here / "sub" / "g"], check=True, capture_output=True, text=True
    ).stdout
    assert f"user:{mine.uid}:rwx" in shown
    subprocess.run(["setfacl", "-b", path], check=True)
    assert not [name for name in os.listxattr(path) if "acl" in name]
