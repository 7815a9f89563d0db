"""Memory of a dump and a load does not grow with the namespace (``backup.generated`` prints figures)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backup.generated import generate, in_a_process

GROWTH_MIB = 64
"""Caches of SQLite and of the allocator fill up at first; a hundred bytes an inode would be as much."""


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_memory_of_dump_and_load(scratch: Path) -> None:
    peaks: dict[str, list[int]] = {"dump": [], "load": []}
    for count in (300_000, 1_200_000):
        home = scratch / "data"
        generate(home, count)
        first = in_a_process("dump", home)
        peaks["dump"].append(first["peak_mib"])
        second = in_a_process("touch", home)
        assert second["new_bytes"] < first["new_bytes"] / 20
        peaks["load"].append(in_a_process("load", home)["peak_mib"])
        shutil.rmtree(home)
    for step, (small, large) in peaks.items():
        assert large - small < GROWTH_MIB, (step, peaks)
