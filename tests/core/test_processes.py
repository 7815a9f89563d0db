"""Whether a process is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gravitonfs.core import processes


def test_one_that_lives_and_one_that_does_not() -> None:
    assert not processes.is_gone(processes.myself())
    code = "import sys; from gravitonfs.core.processes import myself; print(myself(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert name != processes.myself()
        assert not processes.is_gone(name)
        child.kill()
        child.stdout.read()
        assert child.wait(30) != 0
    assert processes.is_gone(name)


def test_a_number_that_was_given_again_is_another() -> None:
    machine, _, _ = processes.myself().rpartition("/")
    assert processes.is_gone(f"{machine}/1")


@pytest.mark.parametrize("name", ["", "x", "/1/2", "other-machine/4026531836/1/1", "a/b/c/d"])
def test_nothing_is_known_of_others(name: str) -> None:
    assert not processes.is_gone(name)
