from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maintenance.rig import Rig


@pytest.fixture
def rig(scratch: Path) -> Iterator[Rig]:
    made = Rig(scratch / "data")
    yield made
    made.close()
