from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.programs import Graviton, Running


class Mounted:
    """A fresh volume, mounted for every user. ``remount`` shows what is really stored."""

    def __init__(self, graviton: Graviton, data: Path, point: Path) -> None:
        self._graviton = graviton
        self.data = data
        self.point = point
        self._running: Running | None = None

    def mount(self, *options: str) -> None:
        self._running = self._graviton.mount(self.data, self.point, *(options or ("allow_other",)))

    def unmount(self) -> None:
        if self._running is not None:
            self._graviton.unmount(self._running, self.point)
            self._running = None

    def remount(self) -> None:
        self.unmount()
        self.mount()

    def stored_bytes(self) -> int:
        answer = self._graviton.run("info", self.data, "--json").stdout
        return int(json.loads(answer)["stored_bytes"])


@pytest.fixture
def mounted(graviton: Graviton, scratch: Path) -> Iterator[Mounted]:
    graviton.run("init", scratch / "data")
    found = Mounted(graviton, scratch / "data", scratch / "mnt")
    found.mount()
    yield found
    found.unmount()
