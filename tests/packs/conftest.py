"""A pack store on a directory, with rows and loose blocks that outlive it so that it can be reopened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from packs.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()
