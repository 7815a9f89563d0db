"""SQLite keeps its promises on a mount, whatever its journal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from programs.conftest import Mounted
from programs.shell import run

pytestmark = pytest.mark.mount

INSERTS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for n in range(int(sys.argv[2])):
    connection.execute("insert into t (worker, n) values (?, ?)", (int(sys.argv[3]), n))
"""


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist", "wal"])
def test_several_processes_insert_and_nothing_is_lost(mounted: Mounted, journal: str) -> None:
    database = mounted.point / "test.db"
    assert run("sqlite3", database, f"pragma journal_mode={journal}").strip() == journal
    run("sqlite3", database, "create table t (worker, n, unique (worker, n))")
    commands = [[sys.executable, "-c", INSERTS, str(database), "25", str(worker)] for worker in range(3)]
    workers = [subprocess.Popen(command) for command in commands]
    assert [worker.wait(100) for worker in workers] == [0, 0, 0]
    mounted.remount()
    assert run("sqlite3", database, "pragma integrity_check").strip() == "ok"
    assert run("sqlite3", database, "select count(*) from t").strip() == "75"


def test_a_large_transaction_is_rolled_back_whole(mounted: Mounted) -> None:
    connection = sqlite3.connect(mounted.point / "test.db", isolation_level=None)
    connection.execute("create table t (n integer primary key, text)")
    connection.execute("begin")
    connection.executemany("insert into t values (?, ?)", ((n, "x" * 500) for n in range(1000)))
    connection.execute("commit")
    connection.execute("pragma cache_size=10")  # so that dirty pages go out before the end
    connection.execute("begin")
    connection.execute("update t set text = text || 'y'")
    connection.execute("rollback")
    assert connection.execute("select count(*), max(length(text)) from t").fetchone() == (1000, 500)
    connection.execute("vacuum")
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_dump_is_the_same_on_both_sides(mounted: Mounted, scratch: Path) -> None:
    script = "create table t (n); insert into t select value from generate_series(1, 20000);"
    for folder in (scratch, mounted.point):
        run("sqlite3", folder / "same.db", script)
    assert run("sqlite3", scratch / "same.db", ".sha3sum") == run(
        "sqlite3", mounted.point / "same.db", ".sha3sum"
    )
