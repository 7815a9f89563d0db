"""The trash as users of a mount meet it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.programs import Graviton
from harness.users import ordinary_users
from snapshots.trees import build, seen
from trash.conftest import Kept

pytestmark = pytest.mark.mount


def day(top: Path) -> Path:
    (found,) = (top / ".trash").iterdir()
    return found


def listed(graviton: Graviton, path: Path | str) -> list[dict[str, object]]:
    lines = graviton.run("restore", "--list", path, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


class TestMounts:
    def test_a_removed_file_is_read_and_moved_back(self, kept: Kept) -> None:
        top = kept.point
        build(top)
        before = seen(top)
        inner = top / "d" / "e"
        (inner / "gone").unlink()
        (top / "d" / "small").unlink()
        assert ".trash" not in os.listdir(top)
        assert sorted(os.listdir(day(top) / "d")) == ["e", "small"]
        lost = day(top) / "d" / "small"
        assert lost.read_bytes() == b"small"
        assert os.getxattr(lost, "user.a") == b"b"
        assert lost.stat().st_mode & 0o777 == 0o640
        os.rename(lost, top / "d" / "small")
        assert not lost.exists()
        assert os.listdir(day(top) / "d") == ["e"]
        shutil.move(day(top) / "d" / "e" / "gone", inner / "gone")
        assert list((top / ".trash").iterdir()) == []
        assert seen(top).keys() == before.keys()
        assert seen(top)["d/small"] == before["d/small"]
        # It is a file like any other again.
        (top / "d" / "small").write_bytes(b"written anew")
        assert (top / "d" / "small").read_bytes() == b"written anew"

    def test_a_tree_comes_back_as_it_was(self, kept: Kept, graviton: Graviton) -> None:
        top = kept.point
        build(top)
        os.chmod(top / "d" / "e", 0o710)
        before = seen(top)
        shutil.rmtree(top / "d")
        assert os.listdir(top) == []
        assert {one["path"] for one in listed(graviton, top)} == {f"/{path}" for path in before}
        lost = day(top) / "d"
        assert (lost / "large").stat().st_size == 5 << 20
        assert os.readlink(lost / "link") == "small"
        told = graviton.run("restore", top / "d")
        assert b"/d is back" in told.stderr
        after = seen(top)
        assert after.keys() == before.keys()
        for path, (mode, mtime, what) in before.items():  # type: ignore[misc]
            if isinstance(what, tuple):
                assert after[path] == (mode, mtime, what)
            assert after[path][0] == mode  # type: ignore[index]
        assert list((top / ".trash").iterdir()) == []
        graviton.run("fsck", top) if kept.source == str(kept.data) else None

    def test_nothing_in_it_can_be_changed(self, kept: Kept) -> None:
        top = kept.point
        build(top)
        (top / "d" / "small").unlink()
        lost = day(top) / "d" / "small"
        attempts: list[Callable[[], object]] = [
            lambda: (day(top) / "new").write_bytes(b""),
            (day(top) / "new").mkdir,
            (top / ".trash" / "new").mkdir,
            lambda: os.open(lost, os.O_WRONLY | os.O_APPEND),
            lambda: os.truncate(lost, 0),
            lambda: os.chmod(lost, 0o600),
            lambda: os.utime(lost),
            lambda: os.setxattr(lost, "user.a", b"x"),
            lambda: os.rename(top / "d" / "large", lost.parent / "large"),
            lambda: os.link(lost, top / "small"),
            lambda: os.rmdir(day(top)),
            lambda: os.rmdir(top / ".trash"),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="Read-only file system"):
                attempt()
        with pytest.raises(FileExistsError):
            (top / ".trash").mkdir()
        (top / "d" / "small").write_bytes(b"another")
        with pytest.raises(FileExistsError):
            os.rename(lost, top / "d" / "small")
        assert (top / "d" / "small").read_bytes() == b"another"
        assert lost.read_bytes() == b"small"

    def test_what_is_removed_in_it_is_erased(self, kept: Kept) -> None:
        top = kept.point
        build(top)
        shutil.rmtree(top / "d")
        shutil.rmtree(day(top) / "d")
        assert list((top / ".trash").iterdir()) == []

    def test_versions_of_a_file_that_is_saved_by_renaming(self, kept: Kept, graviton: Graviton) -> None:
        top = kept.point
        for number in range(4):
            (top / "new").write_bytes(b"version %d" % number)
            os.replace(top / "new", top / "file")
        found = {path.read_bytes(): path.name for path in day(top).iterdir()}
        assert set(found) == {b"version 0", b"version 1", b"version 2"}
        assert found[b"version 2"] == "file"
        told = graviton.run("restore", top / "file", status=1)
        assert b"/file exists" in told.stderr
        place = day(top) / found[b"version 0"]
        graviton.run("restore", place, "--to", "/first")
        assert (top / "first").read_bytes() == b"version 0"

    def test_what_others_may_not_read_they_do_not_read_there(self, kept: Kept) -> None:
        alice, bob = ordinary_users()[:2]
        top = kept.point
        os.chmod(top, 0o777)
        for name, mode in (("private", 0o700), ("public", 0o777)):
            (top / name).mkdir()
            (top / name / "file").write_bytes(b"words")
            os.chmod(top / name, mode)
            for path in (top / name, top / name / "file"):
                os.chown(path, alice.uid, alice.gid)
            (top / name / "file").unlink()
        lost = day(top)
        read = "print(open(sys.argv[1]).read())"
        assert alice.python(read, lost / "private" / "file") == "words"
        assert bob.python(read, lost / "private" / "file") == "EACCES"
        assert bob.python(read, lost / "public" / "file") == "words"
        assert bob.python("os.unlink(sys.argv[1])", lost / "public" / "file") == "EPERM"
        assert bob.python("os.rename(*sys.argv[1:])", lost / "public" / "file", top / "mine") == "EPERM"
        assert alice.python("os.rename(*sys.argv[1:])", lost / "public" / "file", top / "mine") == ""
        assert (top / "mine").stat().st_uid == alice.uid
        assert alice.python("os.unlink(sys.argv[1])", lost / "private" / "file") == ""

    def test_a_file_that_is_open_stays_so(self, kept: Kept) -> None:
        top = kept.point
        with open(top / "f", "w+b") as file:
            file.write(b"before")
            file.flush()
            os.fsync(file.fileno())
            os.unlink(top / "f")
            assert os.fstat(file.fileno()).st_nlink == 0
            file.write(b" and after")
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            assert file.read() == b"before and after"
        assert (day(top) / "f").read_bytes() == b"before and after"

    def test_everything_removed_from_a_directory(self, kept: Kept, graviton: Graviton) -> None:
        top = kept.point
        build(top)
        before = seen(top)
        for path in (top / "d").iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (top / "d" / "small").write_bytes(b"new")
        found = json.loads(graviton.run("restore", top / "d", "--json").stdout)
        assert found == {"restored": 3, "left": 1, "to": "/d"}
        assert (top / "d" / "small").read_bytes() == b"new"
        assert seen(top).keys() == before.keys()
        told = graviton.run("restore", top / "none", status=1)
        assert b"nothing in the trash was at /none" in told.stderr
        assert b"trash.min-age" in told.stderr


def test_journals_and_what_programs_make_for_a_moment_do_not_fill_it(
    graviton: Graviton, scratch: Path
) -> None:
    """With the default age."""
    data, top = scratch / "data", scratch / "mnt"
    graviton.run("init", data)
    graviton.mount(data, top)
    database = sqlite3.connect(top / "db")
    database.execute("CREATE TABLE t (x)")
    for number in range(5):
        database.execute("INSERT INTO t VALUES (?)", (number,))
        database.commit()
    database.close()
    (top / "tmp").write_bytes(b"x")
    (top / "tmp").unlink()
    assert list((top / ".trash").iterdir()) == []
    assert json.loads(graviton.run("info", data, "--json").stdout)["trash_inodes"] == 0
