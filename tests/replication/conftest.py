"""Stores on several targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.replication.settings import Settings
from replication.rig import TWO, Make, Store


@pytest.fixture
def make(scratch: Path) -> Iterator[Make]:
    made: list[Store] = []

    def new(settings: Settings = TWO, zones: dict[str, str] | None = None) -> Store:
        made.append(Store(scratch / f"store{len(made)}", settings, zones))
        return made[-1]

    yield new
    for store in made:
        for faults in store.faults.values():
            faults.heal()
        store.close()
