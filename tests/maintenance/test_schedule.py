"""Maintenance that runs by itself: space comes back without a command, and users go first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.maintenance.chores import Settings
from graviton_server.maintenance.schedule import Supervisor, Task, Timing
from graviton_server.maintenance.work import Stopped, Work
from gravitonfs.errors import Unavailable
from harness.waiting import wait_until
from maintenance.rig import AT_ONCE, MIB, Rig, noise


@pytest.fixture
def alive(scratch: Path) -> Iterator[Rig]:
    """A volume whose maintenance runs by itself."""
    made = Rig(scratch / "data", background=True, settings=AT_ONCE)
    yield made
    made.close()


def test_space_comes_back_without_a_command(alive: Rig) -> None:
    alive.put("kept", noise(4 * MIB, 1))
    alive.put("gone", noise(20 * MIB, 2))
    alive.unlink("gone")
    wait_until(lambda: alive.stored() < 8 * MIB, "the space of a removed file is free again")
    assert alive.read_cold("kept") == noise(4 * MIB, 1)

    def told() -> bool:
        results = {task.name: task.last_result for task in alive.maintenance.status()}
        return "given back" in results["collect"]

    wait_until(told, "the status says so")


def test_default_settings_give_space_back_within_a_minute(scratch: Path) -> None:
    made = Rig(scratch / "data", background=True, settings=Settings())
    try:
        made.put("gone", noise(20 * MIB, 2))
        made.unlink("gone")
        wait_until(lambda: made.stored() < 4 * MIB, "the space of a removed file is free again", timeout=60)
    finally:
        made.close()


def test_truncated_and_overwritten_bytes_come_back(alive: Rig) -> None:
    data = noise(12 * MIB, 3)
    alive.create("file")
    alive.patch("file", 0, data)
    alive.patch("file", 0, noise(12 * MIB, 4))
    wait_until(lambda: alive.stored() < 15 * MIB, "overwritten bytes are free again")
    assert alive.read_cold("file") == noise(12 * MIB, 4)


def test_loose_blocks_are_drained(alive: Rig) -> None:
    alive.maintenance.settle(30)
    alive.create("file")
    alive.patch("file", 0, b"a few bytes", durable=True)
    assert alive.engine.namespace_store.loose.loose_bytes() > 0
    assert alive.maintenance.settle(30)
    assert alive.engine.namespace_store.loose.loose_bytes() == 0
    assert alive.read_cold("file") == b"a few bytes"


def test_idle_volume_is_left_alone(alive: Rig) -> None:
    """Once there is nothing to do, nothing runs."""
    alive.put("file", noise(MIB, 5))
    assert alive.maintenance.settle(30)

    def runs() -> dict[str, int]:
        return {task.name: task.runs for task in alive.maintenance.status()}

    def quiet() -> bool:
        before = runs()
        return not alive.maintenance._supervisor._stop.wait(2.5) and runs() == before

    wait_until(quiet, "nothing runs on an idle volume")


def test_closing_stops_what_runs(scratch: Path) -> None:
    made = Rig(scratch / "data", background=True, settings=AT_ONCE._replace(bytes_per_second=MIB))
    made.put("file", noise(20 * MIB, 6))
    made.patch("file", 3, b"now without a digest")
    wait_until(
        lambda: any(task.name == "digest" and task.state == "running" for task in made.maintenance.status()),
        "the digest is being made, slowly",
    )
    made.close()
    made.open()
    expected = noise(20 * MIB, 6)[:3] + b"now without a digest" + noise(20 * MIB, 6)[23:]
    assert made.read_cold("file") == expected
    made.close()


class Clockwork:
    """A supervisor of one task that counts its runs."""

    def __init__(self, run: object = None, timing: Timing | None = None) -> None:
        self.version = 0
        self.used = 0
        self.full = False
        self.runs = 0
        self.ran = threading.Condition()
        self._run = run
        self.task = Task("job", self.run, lambda: self.version, timing or Timing(rest=0.0))
        self.supervisor = Supervisor(
            [self.task], activity=lambda: self.used, urgent=lambda: self.full, bytes_per_second=0
        )

    def run(self, work: Work) -> str:
        with self.ran:
            self.runs += 1
            self.ran.notify_all()
        if callable(self._run):
            self._run(work)
        return ""

    def __enter__(self) -> Clockwork:
        self.supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()


def test_work_runs_once_for_each_change() -> None:
    with Clockwork() as clockwork:
        wait_until(lambda: clockwork.runs == 1, "it looks once at the start")
        clockwork.version = 1
        wait_until(lambda: clockwork.runs == 2, "it runs after a change")
        assert clockwork.supervisor.settle(10)
        assert clockwork.runs == 3


def test_volume_in_use_is_left_alone_until_patience_ends() -> None:
    with Clockwork(timing=Timing(idle=30.0, patience=2.0, rest=0.0)) as clockwork:
        busy = threading.Event()

        def use() -> None:
            while not busy.wait(0.01):
                clockwork.used += 1

        user = threading.Thread(target=use)
        user.start()
        try:
            wait_until(lambda: clockwork.runs, "patience ends", timeout=20)
        finally:
            busy.set()
            user.join()


def test_nearly_full_disk_waits_for_nothing() -> None:
    clockwork = Clockwork(timing=Timing(idle=1e9, patience=1e9, rest=0.0))
    clockwork.full = True
    with clockwork:
        wait_until(lambda: clockwork.runs, "it runs although the volume is in use")


def test_failure_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    failing = [True]

    def run(work: Work) -> None:
        if failing:
            raise Unavailable("the target does not answer")

    with Clockwork(run) as clockwork:
        wait_until(lambda: clockwork.supervisor.status()[0].state == "failed", "the failure is told")
        assert clockwork.supervisor.status()[0].error == "the target does not answer"
        failing.clear()
        assert clockwork.supervisor.settle(10)
        assert clockwork.supervisor.status()[0].state == "waiting"
        assert clockwork.supervisor.status()[0].error == ""
    assert "does not answer" in caplog.text


def test_stop_interrupts_work_that_waits() -> None:
    def run(work: Work) -> None:
        work.bytes_per_second = 1
        try:
            while True:
                work.spend(1000)
        except Stopped:
            stopped.set()

    stopped = threading.Event()
    with Clockwork(run) as clockwork:
        wait_until(lambda: clockwork.runs, "it runs")
    assert stopped.is_set()
