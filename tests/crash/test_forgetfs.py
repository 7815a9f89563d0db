"""The test file system does forget: otherwise the power-cut tests would prove nothing."""

from __future__ import annotations

import mmap
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crash.power import Machine

pytestmark = pytest.mark.mount


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def restart(machine: Machine, seed: int = 0) -> None:
    machine.cut_power(seed)
    machine.power_off()
    machine.power_on()


def test_what_was_synced_with_its_directory_is_kept(machine: Machine) -> None:
    machine.power_on()
    file = machine.disk / "file"
    file.write_bytes(b"kept")
    sync(file)
    sync(machine.disk)
    restart(machine)
    assert file.read_bytes() == b"kept"


def test_a_file_without_a_sync_of_its_directory_has_no_name(machine: Machine) -> None:
    machine.power_on()
    file = machine.disk / "file"
    file.write_bytes(b"lost")
    sync(file)
    restart(machine)
    assert os.listdir(machine.disk) == []


def test_bytes_that_were_not_synced_are_lost_though_the_name_is_kept(machine: Machine) -> None:
    machine.power_on()
    file = machine.disk / "file"
    file.write_bytes(b"first")
    sync(file)
    sync(machine.disk)
    with file.open("r+b") as opened:
        opened.write(b"other")
        opened.seek(100)
        opened.write(b"more")
    assert file.stat().st_size == 104
    restart(machine)
    assert file.read_bytes() == b"first"


def test_a_rename_without_a_sync_is_undone_and_with_one_kept(machine: Machine) -> None:
    machine.power_on()
    for name, text in (("a", b"old"), ("b", b"new"), ("c", b"old"), ("d", b"new")):
        (machine.disk / name).write_bytes(text)
        sync(machine.disk / name)
    os.rename(machine.disk / "b", machine.disk / "a")
    sync(machine.disk)
    os.rename(machine.disk / "d", machine.disk / "c")
    os.unlink(machine.disk / "a")
    restart(machine)
    assert {path.name: path.read_bytes() for path in machine.disk.iterdir()} == {
        "a": b"new",
        "c": b"old",
        "d": b"new",
    }


def test_a_move_between_directories_is_whole(machine: Machine) -> None:
    machine.power_on()
    for name in ("here", "there"):
        (machine.disk / name).mkdir()
    sync(machine.disk)
    (machine.disk / "here" / "file").write_bytes(b"x")
    sync(machine.disk / "here" / "file")
    sync(machine.disk / "here")
    os.rename(machine.disk / "here" / "file", machine.disk / "there" / "file")
    sync(machine.disk / "there")
    restart(machine)
    assert os.listdir(machine.disk / "here") == []
    assert (machine.disk / "there" / "file").read_bytes() == b"x"


def test_a_new_directory_needs_a_sync_of_its_parent(machine: Machine) -> None:
    machine.power_on()
    (machine.disk / "new").mkdir()
    (machine.disk / "new" / "file").touch()
    sync(machine.disk / "new")
    restart(machine)
    assert os.listdir(machine.disk) == []


def test_unsynced_writes_survive_by_chance_and_the_same_seed_keeps_the_same(machine: Machine) -> None:
    def outcome(seed: int) -> bytes:
        machine.power_on()
        file = machine.disk / "file"
        file.write_bytes(bytes(64 << 10))
        sync(file)
        sync(machine.disk)
        with file.open("r+b") as opened:
            opened.write(b"\xff" * (64 << 10))
        machine.cut_power(seed)
        machine.power_off()
        left = (machine.backing / "tree" / "file").read_bytes()
        assert len(left) == 64 << 10
        return left

    assert outcome(0) == bytes(64 << 10)
    seen = {outcome(seed) for seed in range(1, 9)}
    assert len(seen) >= 3  # nothing, everything, and torn
    assert outcome(5) == outcome(5)


def test_a_clean_shutdown_forgets_nothing(machine: Machine) -> None:
    machine.power_on()
    (machine.disk / "file").write_bytes(b"kept")
    os.link(machine.disk / "file", machine.disk / "link")
    os.symlink("file", machine.disk / "symlink")
    machine.power_off()
    machine.power_on()
    assert (machine.disk / "link").read_bytes() == b"kept"
    assert (machine.disk / "file").stat().st_nlink == 2
    assert (machine.disk / "symlink").read_bytes() == b"kept"


def test_direct_writes_and_shared_maps_work(machine: Machine) -> None:
    machine.power_on()
    file = machine.disk / "file"
    buffer = mmap.mmap(-1, 1 << 20)
    buffer.write(b"d" * (1 << 20))
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.pwrite(descriptor, buffer, 0) == 1 << 20
    os.fdatasync(descriptor)
    os.close(descriptor)
    sync(machine.disk)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 4096) as mapped:
        mapped[:4] = b"mmap"
        mapped.flush()
    restart(machine)
    assert file.read_bytes() == b"mmap" + b"d" * ((1 << 20) - 4)


COMMITS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"pragma journal_mode={sys.argv[2]}")
connection.execute(f"pragma synchronous={sys.argv[3]}")
connection.execute("create table if not exists t (n)")
for n in range(200):
    connection.execute("insert into t values (?)", (n,))
    print(n, flush=True)
"""


def rows_after_a_cut(machine: Machine, journal: str, synchronous: str, seed: int) -> tuple[int, int]:
    """(commits acknowledged, rows found after the cut)."""
    machine.power_on()
    database = machine.disk / "test.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", COMMITS, str(database), journal, synchronous],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    acknowledged = 0
    with writer:
        for line in writer.stdout or ():
            acknowledged = int(line) + 1
            if acknowledged == 100:
                machine.cut_power(seed)
                writer.kill()
    machine.power_off()
    machine.power_on()
    connection = sqlite3.connect(database)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    try:
        found = connection.execute("select count(*) from t").fetchone()[0]
    except sqlite3.OperationalError:  # not even the table
        found = 0
    connection.close()
    machine.power_off()
    return acknowledged, found


# In DELETE mode a commit is the removal of the journal, whose directory only `extra` syncs.
@pytest.mark.parametrize(("journal", "synchronous"), [("wal", "full"), ("delete", "extra")])
def test_a_database_that_syncs_keeps_every_commit(machine: Machine, journal: str, synchronous: str) -> None:
    for seed in range(2):
        acknowledged, found = rows_after_a_cut(machine, journal, synchronous, seed)
        assert acknowledged >= 100
        assert found >= 100
        (machine.backing / "tree" / "test.db").unlink(missing_ok=True)
        (machine.backing / "tree" / "test.db-wal").unlink(missing_ok=True)


def test_a_database_that_does_not_sync_loses_commits(machine: Machine) -> None:
    acknowledged, found = rows_after_a_cut(machine, "wal", "off", 0)
    assert acknowledged >= 100
    assert found < 100
