"""Stores with one target get a second one while they are used, and lose it again; no process restarts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cli.test_backends import Daemon, address, bucket_lines
from harness.buckets import new_bucket
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until
from replication.test_daemon import clean, configure, healthy, packs, targets

MIB = 1 << 20
TWO = "replication { factor = 2, min-zones = 2, repair.interval = 1s, move-bytes-per-second = 1GB }"


class Load:
    """Writes files, large and small, until it is told to stop; ``acknowledged`` is what was stored."""

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        self._put = put
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: dict[str, bytes] = {}
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                name = f"load-{len(self.acknowledged)}"
                body = os.urandom(3 * MIB if len(self.acknowledged) % 2 else 2000)
                self._put(name, body)
                self.acknowledged[name] = body
        except BaseException as error:  # noqa: BLE001  # for the test to tell
            self.error = error

    def more(self, count: int = 6) -> None:
        """Until so many further files are stored."""
        goal = len(self.acknowledged) + count
        wait_until(lambda: self.error is not None or len(self.acknowledged) >= goal, "files", 60)
        assert self.error is None, self.error

    @contextmanager
    def running(self) -> Iterator[Load]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
        assert self.error is None, self.error


def add(graviton: Graviton, source: Path, folder: Path) -> None:
    graviton.run("target", "add", source, "two", "--path", folder, "--zone", "zone-two")


def come_and_go(graviton: Graviton, source: Path, folder: Path, load: Load, copies: int) -> None:
    """Added, used for ``copies`` of each pack, drained and removed, all under load."""
    with load.running():
        load.more()
        add(graviton, source, folder)
        assert targets(graviton, source)["two"]["in_use"]
        before = len(packs(folder))
        load.more()
        wait_until(lambda: len(packs(folder)) > before, "new packs come to it")
        wait_until(lambda: sum(t["missing"] for t in targets(graviton, source).values()) == 0, "copies", 60)
        load.more()
        graviton.run("target", "drain", source, "two", *(["--force"] if copies == 2 else []))
        load.more()
    wait_until(lambda: not packs(folder) and healthy(targets(graviton, source)), "draining", 60)
    graviton.run("target", "remove", source, "two")


@pytest.mark.parametrize("backend", ["directory", pytest.param("bucket", marks=pytest.mark.soak)])
def test_a_daemon(graviton: Graviton, scratch: Path, s3_server: S3Server, backend: str) -> None:
    data = scratch / "data"
    graviton.allow_log("2 copies in 2 zones are asked for|one bucket has all packs")
    bucket = "" if backend == "directory" else bucket_lines(s3_server, new_bucket(s3_server))
    daemon = Daemon(graviton, configure(scratch, f"{bucket}\n{TWO}"), data)
    load = Load(daemon.put)
    copies = 2 if backend == "directory" else 1
    come_and_go(graviton, data, scratch / "two", load, copies)
    assert {name: daemon.get(name) for name in load.acknowledged} == load.acknowledged
    clean(graviton, data)
    daemon.running.kill()
    daemon.restart()
    assert {name: daemon.get(name) for name in load.acknowledged} == load.acknowledged
    daemon.running.stop()


@pytest.mark.soak
def test_copies_are_made_at_once_and_outlive_a_kill(graviton: Graviton, scratch: Path) -> None:
    """What was acknowledged after the command has both copies: the process is killed, the first is lost."""
    data = scratch / "data"
    graviton.allow_log("2 copies in 2 zones are asked for|is lost: it will be made anew")
    daemon = Daemon(graviton, configure(scratch, TWO), data)
    load = Load(daemon.put)
    with load.running():
        load.more()
        add(graviton, data, scratch / "two")
        before = set(load.acknowledged)
        load.more()
    daemon.running.kill()
    both = {path.name for path in packs(data)} & {path.name for path in packs(scratch / "two")}
    assert both
    for path in packs(data):
        if path.name in both:
            path.unlink()
    daemon.restart()
    assert len(set(load.acknowledged) - before) >= 6
    assert {name: daemon.get(name) for name in load.acknowledged} == load.acknowledged
    daemon.running.stop()


@pytest.mark.mount
def test_a_mount(graviton: Graviton, scratch: Path) -> None:
    data, mounted = scratch / "data", scratch / "mounted"
    graviton.run("init", data)
    graviton.mount(data, mounted)

    def put(name: str, body: bytes) -> None:
        with (mounted / name).open("wb") as out:
            out.write(body)
            if len(body) > MIB:
                out.flush()
                os.fsync(out.fileno())

    kept_open = (mounted / "open").open("wb")
    kept_open.write(b"before")
    load = Load(put)
    with load.running():
        load.more(10)
        add(graviton, data, scratch / "two")
        kept_open.write(os.urandom(5 * MIB))
        load.more(10)
        wait_until(lambda: packs(scratch / "two"), "packs on the second target")
    kept_open.close()
    assert (mounted / "open").stat().st_size == 5 * MIB + 6
    assert {name: (mounted / name).read_bytes() for name in load.acknowledged} == load.acknowledged
    graviton.run("umount", mounted)
    clean(graviton, data)


def test_other_daemons_of_the_store(postgres: PostgresServer, graviton: Graviton, scratch: Path) -> None:
    """One is told of the target; the other one finds what lies there, and uses it with its next pack."""
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    data = scratch / "data"
    graviton.allow_log("2 copies in 2 zones are asked for")
    database = f'database {{ jdbc-url = "{url}", username = graviton }}\nstorage.backend = directory'
    file = configure(scratch, f"{database}\n{TWO}")
    first, second = Daemon(graviton, file, data), Daemon(graviton, file, data)
    body = os.urandom(5 * MIB)
    first.put("before", body)
    assert second.get("before") == body
    load = Load(second.put)
    with load.running():
        load.more()
        graviton.run("target", "add", data / "engine-0", "two", "--path", scratch / "two", "--zone", "z2")
        load.more()
    first.put("alone", body[::-1])
    assert second.get("alone") == body[::-1]
    found = targets(graviton, data / "engine-1")
    assert found["two"]["in_use"]
    wait_until(lambda: healthy(targets(graviton, data / "engine-0")), "copies", 60)
    assert {path.name for path in packs(data)} == {path.name for path in packs(scratch / "two")}
    assert {name: first.get(name) for name in load.acknowledged} == load.acknowledged
    for daemon in (first, second):
        daemon.running.stop()


def test_through_a_daemon_by_its_address(graviton: Graviton, scratch: Path) -> None:
    """Every command over ``graviton://``; only with the scope admin."""
    data, file = scratch / "data", scratch / "graviton.conf"
    file.write_text("graviton { auth { enabled = true } }")
    daemon = graviton.start(
        "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
    )
    source = f"graviton://{address(daemon.ready_line(), 'grpc')}/main"
    for scope in ("admin", "write"):
        made = graviton.run("token", "create", data, "--name", scope, "--scope", scope, "--json")
        (scratch / scope).write_text(json.loads(made.stdout)["token"])

    def run(*arguments: str | Path, scope: str = "admin", status: int = 0) -> Any:
        done = graviton.run("target", *arguments, "--token-file", scratch / scope, "--json", status=status)
        return json.loads(done.stdout) if status == 0 else done.stderr

    assert [one["name"] for one in run("list", source)] == ["local"]
    assert b"admin" in run("list", source, scope="write", status=1)
    assert b"admin" in run("add", source, "x", "--path", scratch / "x", scope="write", status=1)
    assert b"admin" in run("drain", source, "x", scope="write", status=1)
    assert not (scratch / "x").exists()
    assert b"machine" in run("add", source, "two", "--path", "two", status=1)
    made = run("add", source, "two", "--path", scratch / "two", "--zone", "z", "--weight", "2")
    assert (made["zone"], made["weight"], made["state"], made["in_use"]) == ("z", 2.0, "active", True)
    assert b"already" in run("add", source, "two", "--path", scratch / "three", status=1)
    assert run("set", source, "two", "--weight", "3", "--capacity", "1GB")["capacity"] == 10**9
    assert run("drain", source, "two")["state"] == "draining"
    assert run("remove", source, "two")["state"] == "removed"
    assert run("set", source, "two", "--active")["state"] == "active"
    assert b"no target" in run("drain", source, "none", status=1)
    assert daemon.stop() == 0
