"""PostgreSQL, the daemon and the mount die at any moment, in any order: what was acknowledged is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coherence import stores
from coherence.stores import MAIN, Store
from coherence.test_failover import check
from crash.rounds import Rounds
from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton

pytestmark = pytest.mark.mount

_AWAY = "does not answer|answers again|they are applied again|cannot be reached"


@pytest.fixture
def store(graviton: Graviton, scratch: Path, server: PostgresServer) -> Iterator[Store]:
    graviton.allow_log(_AWAY)
    made = stores.on_directory(graviton, scratch / "store", server, daemons=1)
    yield made
    made.stop()


class Victims:
    """The three, one mount of the daemon among them."""

    def __init__(self, graviton: Graviton, store: Store, server: PostgresServer, scratch: Path) -> None:
        self.graviton, self.store, self.server = graviton, store, server
        self.point, self.cache = scratch / "mnt", scratch / "cache"
        self.mount()

    def mount(self) -> None:
        source = self.store.remote(0, MAIN)
        self.running = self.graviton.mount(source, self.point, f"cache-dir={self.cache}")  # type: ignore[arg-type]

    def kill(self, names: list[str], pause: float) -> None:
        for name in names:
            {"database": self.server.kill, "daemon": self.store.daemons[0].kill}.get(
                name, self.running.kill
            )()
            time.sleep(pause)  # what is under way between them gets as far as it can

    def raise_again(self, names: list[str]) -> None:
        if "database" in names:
            self.server.start()
        if "daemon" in names:
            self.store.daemons[0].start()
        self.mount()


def crash_loop(
    graviton: Graviton, store: Store, server: PostgresServer, scratch: Path, seed: int, count: int
) -> None:
    victims = Victims(graviton, store, server, scratch)
    rounds = Rounds(victims.point, seed)
    for _ in range(count):
        names = ["mount", *(name for name in ("database", "daemon") if rounds.chance.random() < 0.6)]
        rounds.chance.shuffle(names)
        pause = rounds.chance.uniform(0, 0.05)

        def crash(names: list[str] = names, pause: float = pause) -> None:
            victims.kill(names, pause)

        rounds.write_until(crash)
        victims.raise_again(names)
        rounds.check()
    unmount(victims.point)
    assert victims.running.process.wait(60) == 0, victims.running.log_text()
    check(graviton, store)


@pytest.mark.timeout(300)
def test_killed_in_any_order(graviton: Graviton, store: Store, server: PostgresServer, scratch: Path) -> None:
    crash_loop(graviton, store, server, scratch, seed=1, count=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_killed_many_times(
    graviton: Graviton, store: Store, server: PostgresServer, scratch: Path, seed: int
) -> None:
    crash_loop(graviton, store, server, scratch, seed, count=25)
