"""A daemon with a volume, and both ways to a mounted one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.programs import Graviton
from quotas.sources import Daemon, Mounted


@pytest.fixture
def daemon(graviton: Graviton, scratch: Path) -> Iterator[Daemon]:
    made = Daemon(graviton, scratch)
    yield made
    assert made.running.stop() == 0


@pytest.fixture(params=["directory", "daemon"])
def mounted(request: pytest.FixtureRequest, graviton: Graviton, scratch: Path) -> Iterator[Mounted]:
    made = Mounted(graviton, scratch, request.param)
    yield made
    made.close()
