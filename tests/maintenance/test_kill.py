"""``kill -9`` at any moment of collection, compaction and draining loses nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from graviton_server.maintenance.reports import Finding
from harness.programs import ROOT, environment
from maintenance.rig import Rig, noise


def run_and_kill(path: Path, log: Path, seed: int, after: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "maintenance.busybody", str(path), str(seed)],
        stdout=subprocess.PIPE,
        env={**environment(), "PYTHONPATH": environment()["PYTHONPATH"] + os.pathsep + str(ROOT / "tests")},
    )
    assert process.stdout is not None
    with process, open(log, "ab") as output:
        assert process.stdout.readline() == b"ready\n"
        timer = threading.Timer(after, process.send_signal, [signal.SIGKILL])
        timer.start()
        for line in process.stdout:
            if line.endswith(b"\n"):
                output.write(line)
        timer.join()
    assert process.wait() == -signal.SIGKILL


def acknowledged(log: Path) -> tuple[dict[str, bytes], set[str]]:
    """What must be there, and the names whose last change was under way."""
    files: dict[str, bytes] = {}
    open_names: set[str] = set()
    for line in log.read_text().splitlines():
        sign, name, *rest = line.split()
        if sign == "?":
            open_names.add(name)
            continue
        open_names.discard(name)
        if sign == "+":
            files[name] = noise(int(rest[1]), int(rest[0]))
        else:
            files.pop(name, None)
    return files, open_names


def check(rig: Rig, log: Path) -> None:
    files, open_names = acknowledged(log)
    names = set(rig.names())
    for name, data in files.items():
        if name not in open_names:
            assert rig.read_cold(name) == data
    assert names - open_names == set(files) - open_names
    findings: list[Finding] = list(rig.maintenance.check(read_data=True).findings)
    assert not [finding for finding in findings if finding.is_damage], findings
    # What was under way is now settled one way or the other.
    with open(log, "a") as output:
        for name in open_names:
            if name in names:
                rig.unlink(name)
            output.write(f"- {name}\n")
    rig.volume.commit()


def kill_loop(scratch: Path, rounds: int, seed: int) -> None:
    choice = random.Random(seed)
    path, log = scratch / "data", scratch / "log"
    for number in range(rounds):
        run_and_kill(path, log, seed * 1000 + number, choice.uniform(0.05, 1.5))
        rig = Rig(path)
        try:
            check(rig, log)
        finally:
            rig.close()


def test_killed_maintenance_loses_nothing(scratch: Path) -> None:
    kill_loop(scratch, 4, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 6))
def test_killed_maintenance_loses_nothing_for_long(scratch: Path, seed: int) -> None:
    kill_loop(scratch, 60, seed)
