"""Snapshots by the clock, and how long they stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graviton_server.maintenance.snapshotting import Kept, Snapshotter
from graviton_server.maintenance.work import Work
from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores

START = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return int(self.now.timestamp()) * 10**9


@pytest.fixture
def store(scratch: Path) -> Iterator[NamespaceStore]:
    path = scratch / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    made = NamespaceStore.open(path)
    yield made
    made.close()


def names(store: NamespaceStore | PostgresStore, volume: str = "main") -> list[str]:
    return [row.name for row in store.snapshot_rows(volume)]


def test_so_many_of_each_kind_stay(store: NamespaceStore) -> None:
    store.create_volume("other")
    store.create_snapshot("main", "by hand")
    store.create_snapshot("main", "hourly-by-hand")
    clock = Clock()
    snapshotter = Snapshotter(store, Kept(hourly=3, daily=2, weekly=2), clock)
    assert "6 snapshots made" in snapshotter.run(Work())
    assert snapshotter.run(Work()) == ""
    clock.now += timedelta(minutes=40)
    assert "2 snapshots made" in snapshotter.run(Work())
    for _ in range(24 * 20):
        clock.now += timedelta(hours=1)
        snapshotter.run(Work())
    expected = [
        "daily-2026-12-14", "daily-2026-12-15",
        "hourly-2026-12-15T13", "hourly-2026-12-15T14", "hourly-2026-12-15T15",
        "weekly-2026-W50", "weekly-2026-W51",
    ]  # fmt: skip
    assert sorted(names(store, "other")) == expected
    assert sorted(names(store)) == ["by hand", *expected[:2], *expected[2:5], "hourly-by-hand", *expected[5:]]
    rows = store.snapshot_rows("main")
    assert {row.name for row in rows if not row.scheduled} == {"by hand", "hourly-by-hand"}


def test_of_a_kind_that_is_not_wanted_none_are_deleted(store: NamespaceStore) -> None:
    clock = Clock()
    Snapshotter(store, Kept(hourly=3), clock).run(Work())
    clock.now += timedelta(days=9)
    Snapshotter(store, Kept(daily=1), clock).run(Work())
    assert names(store) == ["hourly-2026-11-25T14", "daily-2026-12-04"]


def test_daemons_make_one_together(postgres: PostgresServer) -> None:
    stores = PostgresStores(postgres)
    first = stores.open()
    second = PostgresStore.open(stores.settings)
    clock = Clock()
    for _ in range(4):
        for store in (first, second):
            Snapshotter(store, Kept(hourly=2), clock).run(Work())
        clock.now += timedelta(hours=1)
    assert names(first) == names(second) == ["hourly-2026-11-25T16", "hourly-2026-11-25T17"]
    second.close()
    stores.close()


def test_the_configuration_says_how_many(graviton: Graviton, scratch: Path) -> None:
    file = scratch / "graviton.conf"
    data = scratch / "data"
    file.write_text(f'graviton {{ data-dir = "{data}", snapshots {{ hourly = 2, daily = 1, weekly = 1 }} }}')
    running = graviton.start("serve", "--config", file, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    running.ready_line()

    def made() -> list[str]:
        listed = json.loads(graviton.run("snapshot", "list", data, "--json").stdout)
        assert all(one["scheduled"] for one in listed)
        return [one["name"] for one in listed]

    wait_until(lambda: len(made()) >= 3, "one of each kind", 30)
    assert {re.sub(r"-2.*", "", name) for name in made()} == {"hourly", "daily", "weekly"}
    assert running.stop() == 0
