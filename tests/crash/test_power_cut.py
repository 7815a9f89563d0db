"""Power cuts: the data directory lies on a file system that forgets whatever was not fsynced."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.power import Machine
from crash.rounds import Rounds
from harness.programs import Graviton

pytestmark = pytest.mark.mount


def power_loop(graviton: Graviton, machine: Machine, scratch: Path, seed: int, count: int) -> None:
    data, point = machine.disk / "data", scratch / "mnt"
    # Between the cut and the kill every call into the disk fails, and is reported as it should be.
    graviton.allow_log(".*")
    machine.power_on()
    graviton.run("init", data)
    rounds = Rounds(point, seed)
    for number in range(count):
        mount = graviton.mount(data, point)

        def crash(number: int = number, mount=mount) -> None:
            # The first cut is the strictest: nothing unsynced survives.
            machine.cut_power(seed * 1000 + number if number else 0)
            mount.kill()

        rounds.write_until(crash)
        machine.power_off()
        machine.power_on()
        mount = graviton.mount(data, point)
        rounds.check()
        graviton.unmount(mount, point)
        graviton.run("fsck", data, "--read-data", timeout=300)
    machine.power_off()


@pytest.mark.timeout(300)
def test_a_power_cut_loses_nothing_acknowledged(graviton: Graviton, machine: Machine, scratch: Path) -> None:
    power_loop(graviton, machine, scratch, seed=1, count=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_power_cuts_lose_nothing_acknowledged(
    graviton: Graviton, machine: Machine, scratch: Path, seed: int
) -> None:
    power_loop(graviton, machine, scratch, seed, count=25)
