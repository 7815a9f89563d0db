"""Both ways to a mounted volume."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.programs import Graviton
from snapshots.trees import Served


@pytest.fixture(params=["directory", "daemon"])
def served(request: pytest.FixtureRequest, graviton: Graviton, scratch: Path) -> Served:
    return Served(graviton, scratch, request.param)
