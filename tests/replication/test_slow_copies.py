"""A copy that is slow to read holds nobody up for long, and is not asked first again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typing_extensions import Buffer

from graviton_server.replication import hedging
from graviton_server.replication.latency import FLOOR
from gravitonfs.ports.replicas import TargetRow
from gravitonfs.ports.target import Target
from harness.contents import noise, read
from replication.rig import MIB, TWO, Store, write


class Slow:
    """The target of a store, of which reads wait: ``delay`` seconds, or until ``go`` is set."""

    def __init__(self, inner: Target) -> None:
        self._inner = inner
        self.go = threading.Event()
        self.go.set()
        self.delay = 0.0
        self.reads = 0

    def _wait(self) -> None:
        self.reads += 1
        if not self.go.wait(60):
            raise AssertionError("nobody lets this read go on")
        threading.Event().wait(self.delay)

    def get(self, key: str, start: int, length: int) -> Buffer:
        self._wait()
        return self._inner.get(key, start, length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        self._wait()
        return self._inner.get_ranges(key, ranges)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class SlowStore(Store):
    def _opened(self, row: TargetRow) -> Target:
        self.slow: dict[str, Slow] = getattr(self, "slow", {})
        self.slow[row.name] = made = Slow(super()._opened(row))
        return made  # type: ignore[return-value]


@pytest.fixture
def store(scratch: Path) -> Iterator[SlowStore]:
    made = SlowStore(scratch / "store", TWO, {"a": "north", "c": "south"})
    yield made
    for slow in made.slow.values():
        slow.go.set()
    made.close()


def filled(store: SlowStore) -> bytes:
    volume = store.open(pack_size=16 * MIB).volume("test")
    data = noise(12 * MIB)
    write(volume, "file", data)
    volume.close()
    return data


def key(store: SlowStore) -> str:
    return str(store.packs("a")[0].relative_to(store.path("a")))


def test_a_copy_that_hangs_holds_nobody_up(store: SlowStore) -> None:
    data = filled(store)
    assert store.engine is not None
    volume = store.engine.volume("test")
    for number in range(40):
        store.slow["a"].delay = 2 * FLOOR if number == 20 else 0.0  # from now on it is known for that
        store.target.get(key(store), number, 1000)
    store.slow["a"].go.clear()
    for _ in range(3):
        store.engine.content.cache.clear()
        assert read(volume, "file") == data
    assert store.watch.target.hedging.won > 0
    assert store.target.hedging.hedged >= store.target.hedging.won
    store.slow["a"].go.set()
    volume.close()


def test_the_quicker_copy_is_asked_first(store: SlowStore) -> None:
    data = filled(store)
    assert store.engine is not None
    volume = store.engine.volume("test")
    store.slow["a"].delay = 3 * FLOOR
    for _ in range(8):
        store.engine.content.cache.clear()
        assert read(volume, "file") == data
    asked = store.slow["a"].reads
    store.engine.content.cache.clear()
    assert read(volume, "file") == data
    assert store.slow["a"].reads == asked
    assert store.slow["c"].reads > 0
    volume.close()


def test_few_reads_are_made_twice(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are slow now and then, as when all are busy."""
    data = filled(store)
    assert store.engine is not None
    for slow in store.slow.values():
        slow.delay = 2 * FLOOR
    store.target.get(key(store), 0, 1000)
    for number in range(300):
        for slow in store.slow.values():
            slow.delay = 2 * FLOOR if number % 3 == 0 else 0.0
        store.target.get(key(store), number, 1000)
    assert store.target.hedging.hedged <= hedging.BURST + 301 * hedging.SHARE
    volume = store.engine.volume("test")
    assert read(volume, "file") == data
    volume.close()
