"""A volume, reached both ways: opened by the command itself, and through a process that has it open."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.preloaded import Preloaded
from graviton_server.control.service import Service
from graviton_server.wiring import EngineOptions, open_embedded
from harness.programs import Graviton


class Shell:
    """Runs commands on one volume."""

    def __init__(self, graviton: Graviton, data: Path, preloaded: Preloaded) -> None:
        self.graviton = graviton
        self.data = data
        self._preloaded = preloaded

    def at(self, path: str = "/") -> str:
        return f"{self.data}:{path}"

    def result(
        self, *arguments: str, status: int = 0, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        done = self._preloaded.run(arguments, self.graviton.scratch, stdin)
        shown = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == status, f"{' '.join(arguments)} ended with {done.returncode}:\n{shown}"
        assert b"Traceback" not in done.stderr, shown
        return done

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Standard output of a command that must succeed."""
        return self.result(*arguments, stdin=stdin).stdout.decode(errors="surrogateescape")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def fails(self, *arguments: str, status: int = 1, stdin: bytes | None = None) -> str:
        """The sentence a command fails with."""
        error = self.result(*arguments, status=status, stdin=stdin).stderr.decode()
        return error.strip().splitlines()[-1]

    def write(self, path: str, body: bytes) -> None:
        self.run("put", "-", self.at(path), stdin=body)

    def read(self, path: str) -> bytes:
        return self.result("cat", self.at(path)).stdout


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    runner = Preloaded(tmp_path_factory.mktemp("preloaded"))
    yield runner
    runner.close()


@pytest.fixture
def volume(graviton: Graviton, preloaded: Preloaded) -> Shell:
    """A volume that no process has open."""
    shell = Shell(graviton, graviton.scratch / "data", preloaded)
    shell.run("init", str(shell.data))
    return shell


@pytest.fixture(params=["direct", "through the owner"])
def reached(request: pytest.FixtureRequest, volume: Shell) -> Iterator[Shell]:
    """Both ways to a volume, for tests that must not see a difference. The owner is this process."""
    if request.param == "direct":
        yield volume
        return
    options = EngineOptions(background=False)
    owner = Service(open_embedded(volume.data, options=options), "test")
    owner.listen()
    yield volume
    owner.close(wait=10)
