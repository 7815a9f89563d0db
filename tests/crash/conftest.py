from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.power import Machine


@pytest.fixture
def machine(scratch: Path) -> Iterator[Machine]:
    """A machine that is off, with an empty disk."""
    home = scratch / "machine"
    home.mkdir()
    made = Machine(home)
    yield made
    made.close()
