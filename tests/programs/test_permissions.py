"""Permissions, tried as ordinary users through ``allow_other``."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.programs import Graviton
from harness.users import User
from programs.conftest import Mounted
from programs.shell import run

pytestmark = pytest.mark.mount

READ = "print(open(sys.argv[1]).read())"
WRITE = "open(sys.argv[1], 'a').write('more')"
CREATE = "os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))"


@pytest.fixture
def shared(mounted: Mounted) -> Path:
    """A directory on the mount that everybody may write to."""
    path = mounted.point / "shared"
    path.mkdir()
    path.chmod(0o777)
    return path


def test_a_private_file_is_its_owners_alone(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    file = shared / "file"
    owner.python("os.umask(0o077); open(sys.argv[1], 'w').write('secret')", file)
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (
        owner.uid,
        owner.gid,
        0o600,
    )
    assert owner.python(READ, file) == "secret"
    assert other.python(READ, file) == "EACCES"
    assert other.python(WRITE, file) == "EACCES"
    assert other.python("os.truncate(sys.argv[1], 0)", file) == "EACCES"
    assert other.python("print(os.access(sys.argv[1], os.R_OK))", file) == "False"
    assert file.read_text() == "secret"  # root may


def test_directories_guard_what_is_below(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    owner.python("os.mkdir(sys.argv[1], 0o700); open(sys.argv[1] + '/in', 'w')", shared / "closed")
    assert other.python("os.stat(sys.argv[1])", shared / "closed" / "in") == "EACCES"
    assert other.python("os.listdir(sys.argv[1])", shared / "closed") == "EACCES"
    owner.python("os.mkdir(sys.argv[1]); open(sys.argv[1] + '/in', 'w').write('x')", shared / "open")
    assert other.python(READ, shared / "open" / "in") == "x"
    assert other.python(CREATE, shared / "open" / "new") == "EACCES"
    assert other.python("os.unlink(sys.argv[1])", shared / "open" / "in") == "EACCES"
    assert other.python("os.rename(sys.argv[1], sys.argv[1] + '2')", shared / "open" / "in") == "EACCES"


def test_a_group_shares_what_its_members_write(shared: Path, users: Sequence[User]) -> None:
    outsider, owner, member = users
    folder = shared / "group"
    owner.python("os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o2770)", folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2770
    member.python("os.umask(0o007); open(sys.argv[1], 'w').write('by a member')", folder / "file")
    assert (folder / "file").stat().st_gid == owner.gid
    assert owner.python(READ, folder / "file") == "by a member"
    assert owner.python(WRITE, folder / "file") == ""
    assert outsider.python(READ, folder / "file") == "EACCES"
    member.python("os.mkdir(sys.argv[1])", folder / "below")
    assert (folder / "below").stat().st_mode & stat.S_ISGID


def test_in_a_sticky_directory_everybody_removes_only_their_own(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    shared.chmod(0o1777)
    owner.python(CREATE, shared / "file")
    assert other.python("os.unlink(sys.argv[1])", shared / "file") == "EPERM"
    assert other.python("os.rename(sys.argv[1], sys.argv[1] + '2')", shared / "file") == "EPERM"
    other.python(CREATE, shared / "mine")
    assert other.python("os.rename(sys.argv[1], sys.argv[2])", shared / "mine", shared / "file") == "EPERM"
    assert owner.python("os.unlink(sys.argv[1])", shared / "file") == ""


def test_only_the_owner_changes_mode_and_only_root_the_owner(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    file = shared / "file"
    owner.python(CREATE, file)
    assert other.python("os.chmod(sys.argv[1], 0o777)", file) == "EPERM"
    assert other.python("os.utime(sys.argv[1], (1, 1))", file) == "EPERM"
    assert owner.python(f"os.chown(sys.argv[1], {other.uid}, -1)", file) == "EPERM"
    assert owner.python(f"os.chown(sys.argv[1], -1, {other.gid})", file) == "EPERM"
    assert owner.python("os.chmod(sys.argv[1], 0o640)", file) == ""
    os.chown(file, other.uid, other.gid)
    assert (file.stat().st_uid, file.stat().st_gid) == (other.uid, other.gid)


def test_a_write_takes_the_suid_and_sgid_bits_away(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    file = shared / "program"
    for act in (WRITE, "os.truncate(sys.argv[1], 1)"):
        file.write_text("program")
        os.chown(file, owner.uid, owner.gid)
        file.chmod(0o6777)
        assert other.python(act, file) == ""
        assert stat.S_IMODE(file.stat().st_mode) == 0o777
    file.chmod(0o6755)
    os.chown(file, other.uid, other.gid)
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_an_acl_lets_one_more_user_in(shared: Path, users: Sequence[User]) -> None:
    owner, other, third = users
    file = shared / "file"
    owner.python("os.umask(0o077); open(sys.argv[1], 'w').write('for two')", file)
    run("setfacl", "-m", f"u:{other.uid}:r", file)
    assert other.python(READ, file) == "for two"
    assert other.python(WRITE, file) == "EACCES"
    assert third.python(READ, file) == "EACCES"
    assert f"user:{other.uid}:r--" in run("getfacl", "-np", file)
    file.chmod(0o600)  # the mask goes with the group bits
    assert other.python(READ, file) == "EACCES"


def test_a_default_acl_is_inherited(shared: Path, users: Sequence[User]) -> None:
    owner, other, _ = users
    folder = shared / "folder"
    owner.python("os.mkdir(sys.argv[1]); os.chmod(sys.argv[1], 0o755)", folder)
    run("setfacl", "-d", "-m", f"u:{other.uid}:rwx", folder)
    owner.python(
        "os.umask(0); open(sys.argv[1], 'w').write('x'); os.mkdir(sys.argv[1] + '.d')", folder / "new"
    )
    assert other.python(WRITE, folder / "new") == ""
    assert f"default:user:{other.uid}:rwx" in run("getfacl", "-np", folder / "new.d")


def test_without_allow_other_the_mount_is_its_owners_alone(
    graviton: Graviton, scratch: Path, users: Sequence[User]
) -> None:
    graviton.run("init", scratch / "data")
    mount = graviton.mount(scratch / "data", scratch / "mnt")
    assert users[0].python("os.stat(sys.argv[1])", scratch / "mnt") == "EACCES"
    graviton.unmount(mount, scratch / "mnt")
