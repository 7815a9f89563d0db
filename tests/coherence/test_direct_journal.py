"""Direct mounts with durability=local: fsync is answered without PostgreSQL, and what it answered stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from coherence import stores
from coherence.stores import Store
from crash.rounds import Rounds
from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running
from rpc.laptop import Writer, opened

__all__ = ["opened"]

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]

_AWAY = (
    "database server (does not answer|answers again)|does not answer|they are applied again|cannot be reached"
)


class Mounted:
    """The one mount of a store, again and again."""

    def __init__(self, graviton: Graviton, store: Store, scratch: Path) -> None:
        self._graviton = graviton
        self.store = store
        self.point = scratch / "mnt"
        self.local = scratch / "local"
        self.running: Running | None = None

    def mount(self, timeout: str = "3s") -> Running:
        options = ("durability=local", f"cache-dir={self.local},cache-reserve=0,timeout={timeout}")
        self.running = self._graviton.mount(self.store.file, self.point, *options)
        return self.running

    def kill(self) -> None:
        assert self.running is not None
        self.running.kill()

    def unmount(self) -> int:
        assert self.running is not None
        unmount(self.point)
        return self.running.process.wait(60)

    def check(self) -> None:
        told = json.loads(self._graviton.run("fsck", "--read-data", self.store.file, "--json").stdout)
        assert told["findings"] == []

    def segments(self) -> list[Path]:
        return sorted(self.local.rglob("*.journal"))


@pytest.fixture
def mounted(graviton: Graviton, scratch: Path, server: PostgresServer) -> Mounted:
    graviton.allow_log(_AWAY)
    store = stores.on_directory(graviton, scratch / "store", server, daemons=0)
    return Mounted(graviton, store, scratch)


def test_fsync_is_answered_while_the_database_is_away(
    graviton: Graviton, mounted: Mounted, server: PostgresServer, opened: list[Writer]
) -> None:
    running = mounted.mount()
    assert "durability=local: fsync returns when the journal in" in running.log_text()
    writer = Writer(mounted.point / "f")
    opened.append(writer)
    writer.write(0, b"first ", 100)
    writer.sync()
    server.kill()
    for turn in range(20):
        writer.write(turn * 1000, b"%04d" % turn, 100)
        assert writer.sync() < 2
    mounted.kill()
    writer.end()
    server.start()
    mounted.mount()
    found = (mounted.point / "f").read_bytes()
    for turn in range(20):
        assert found[turn * 1000 : turn * 1000 + 400] == b"%04d" % turn * 100
    assert mounted.unmount() == 0
    assert mounted.segments() == []
    mounted.check()


def test_a_stop_without_the_database_keeps_the_journal(
    graviton: Graviton, mounted: Mounted, server: PostgresServer, opened: list[Writer]
) -> None:
    running = mounted.mount("1s")
    writer = Writer(mounted.point / "f")
    opened.append(writer)
    writer.write(0, b"kept", 1000)
    writer.sync()
    server.kill()
    writer.write(4000, b"too", 1000)
    writer.sync()
    running.process.terminate()
    assert running.process.wait(120) == 1, running.log_text()
    writer.end()
    assert "the next mount of" in running.log_text()
    server.start()
    mounted.mount()
    assert (mounted.point / "f").read_bytes() == b"kept" * 1000 + b"too" * 1000
    assert mounted.unmount() == 0
    mounted.check()


def kill_loop(mounted: Mounted, server: PostgresServer, seed: int, count: int) -> None:
    """The mount dies at any moment; the database, too, every other time."""
    rounds = Rounds(mounted.point, seed)
    mounted.mount()
    for _ in range(count):
        database_too = rounds.chance.random() < 0.5
        pause = rounds.chance.uniform(0, 0.3)

        def crash(database_too: bool = database_too, pause: float = pause) -> None:
            if database_too:
                server.kill()
                time.sleep(pause)  # what is synced now is in the journal alone
            mounted.kill()

        rounds.write_until(crash)
        if database_too:
            server.start()
        mounted.mount()
        rounds.check()
    assert mounted.unmount() == 0
    assert mounted.segments() == []
    mounted.check()


def test_a_killed_mount_keeps_what_its_journal_answered(
    graviton: Graviton, mounted: Mounted, server: PostgresServer
) -> None:
    kill_loop(mounted, server, seed=1, count=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_killed_mounts(graviton: Graviton, mounted: Mounted, server: PostgresServer, seed: int) -> None:
    kill_loop(mounted, server, seed, count=25)
