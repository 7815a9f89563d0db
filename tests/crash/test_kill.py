"""kill -9 at random moments loses nothing that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.rounds import Rounds
from harness.programs import Graviton

pytestmark = pytest.mark.mount


def kill_loop(graviton: Graviton, scratch: Path, seed: int, count: int) -> None:
    data, point = scratch / "data", scratch / "mnt"
    graviton.run("init", data)
    rounds = Rounds(point, seed)
    mount = graviton.mount(data, point)
    for _ in range(count):
        rounds.write_until(mount.kill)
        # No manual step: mounting again takes over the dead mount point and what the dead left behind.
        mount = graviton.mount(data, point)
        rounds.check()
    graviton.unmount(mount, point)
    graviton.run("fsck", data, "--read-data", timeout=300)


@pytest.mark.timeout(300)
def test_a_killed_mount_keeps_what_it_acknowledged(graviton: Graviton, scratch: Path) -> None:
    kill_loop(graviton, scratch, seed=1, count=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_a_mount_killed_many_times_keeps_what_it_acknowledged(
    graviton: Graviton, scratch: Path, seed: int
) -> None:
    kill_loop(graviton, scratch, seed, count=25)
