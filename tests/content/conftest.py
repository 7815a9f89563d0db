"""What the suites of the disk cache share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from content.caching import Bench
from gravitonfs.content.diskcache import cache as module


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "_IDLE", 0.01)  # what is not a window full is kept at once
    (tmp_path / "rig").mkdir()
    made = Bench(tmp_path)
    yield made
    made.close()
