"""Mounts with a journal that die at any moment, while their daemon is slow, cut off or dead as well."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crash.power import Machine
from crash.rounds import Rounds
from harness.programs import Graviton
from rpc.laptop import Laptop, laptop, proxy, served
from rpc.running import Daemon
from rpc.test_faults import check

__all__ = ["laptop", "proxy", "served"]

pytestmark = pytest.mark.mount


def kill_loop(laptop: Laptop, served: Daemon, seed: int, count: int) -> None:
    """The mount dies at any moment; the wire is slow, or has been cut before, and the daemon may die too."""
    rounds = Rounds(laptop.point, seed)
    laptop.mount()
    for _ in range(count):
        laptop.proxy.delay = rounds.chance.choice([0.0, 0.002, 0.02])
        daemon_too = rounds.chance.random() < 0.5
        pause = rounds.chance.uniform(0, 0.3)

        def crash(daemon_too: bool = daemon_too, pause: float = pause) -> None:
            laptop.away()
            if daemon_too:
                served.kill()
            time.sleep(pause)  # what is synced now is in the journal alone
            laptop.kill()

        rounds.write_until(crash)
        laptop.back()
        if daemon_too:
            served.start()
        laptop.mount()
        rounds.check()
    laptop.unmount()
    assert laptop.segments() == []
    served.stop()
    assert check(served.data) == []


@pytest.mark.timeout(300)
def test_a_killed_mount_keeps_what_its_journal_answered(laptop: Laptop, served: Daemon) -> None:
    kill_loop(laptop, served, seed=1, count=4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_killed_mounts(laptop: Laptop, served: Daemon, seed: int) -> None:
    kill_loop(laptop, served, seed, count=25)


@pytest.mark.timeout(300)
def test_power_cuts_of_the_journals_disk(
    graviton: Graviton, laptop: Laptop, served: Daemon, scratch: Path
) -> None:
    home = scratch / "machine"
    home.mkdir()
    machine = Machine(home)
    # Between the cut and the kill every call into the disk fails, and is reported as it should be.
    graviton.allow_log(".*")
    laptop.local = machine.disk / "local"
    rounds = Rounds(laptop.point, 7)
    try:
        machine.power_on()
        for number in range(4):
            laptop.mount()

            def crash(number: int = number) -> None:
                laptop.away()
                time.sleep(0.1)
                machine.cut_power(number)
                laptop.kill()

            rounds.write_until(crash)
            laptop.back()
            machine.power_off()
            machine.power_on()
            laptop.mount()
            rounds.check()
            laptop.unmount()
        machine.power_off()
    finally:
        machine.close()
    served.stop()
    assert check(served.data) == []
