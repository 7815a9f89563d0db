"""Running ``graviton`` as its users do: as processes, with what they log watched."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.places import unmount, unmount_below
from harness.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "gravitonfs", ROOT / "server", ROOT / "webdav"]

_TROUBLE = re.compile(
    r"\b(ERROR|WARNING|CRITICAL)\b|^Traceback|\"level\": ?\"(error|warning|critical)\"|never awaited",
    re.IGNORECASE,
)


def environment(**extra: str) -> dict[str, str]:
    """The environment of a graviton process under test: these sources, nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRAVITON_", "COV_"))}
    path = os.pathsep.join(map(str, SOURCES))
    return {**kept, "PYTHONPATH": path, "PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1", **extra}


class Running:
    """A graviton process that stays: its output goes to files, so that it never blocks on a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, log: Path) -> None:
        self.process = process
        self.output = output
        self.log = log
        self.expected_signal = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready_line(self, timeout: float = 60.0) -> str:
        """Wait for the line that says that everything answers."""

        def found() -> str | None:
            lines = self.output.read_text(errors="replace").splitlines(keepends=True)
            for line in lines:
                if line.startswith("ready") and line.endswith("\n"):
                    return line
            if self.process.poll() is not None:
                raise AssertionError(f"ended ({self.process.returncode}) before ready:\n{self.log_text()}")
            return None

        return wait_until(found, f"a ready line of {self.process.args!r}", timeout) or ""

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, timeout: float = 60.0) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        self.expected_signal = True
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)


class Graviton:
    """Starts graviton processes in one test's scratch directory and ends every one of them."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.running: list[Running] = []
        self._allowed: list[re.Pattern[str]] = []
        self._count = 0

    def allow_log(self, pattern: str) -> None:
        """This test provokes log lines that match ``pattern``; any other error or warning fails it."""
        self._allowed.append(re.compile(pattern))

    def _environment(self, extra: dict[str, str]) -> dict[str, str]:
        """What mounts cache on disk goes with the test."""
        return environment(**{"XDG_CACHE_HOME": str(self.scratch / "cache-home"), **extra})

    def run(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        status: int | None = None,
        stdin: bytes | None = None,
        timeout: float = 60.0,
        **extra: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end. ``status``: the exit status that it must have."""
        command = [sys.executable, "-m", "graviton_server", *map(os.fspath, arguments)]
        result = subprocess.run(
            command,
            cwd=self.scratch,
            env=self._environment(extra),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        wanted = status if status is not None else (0 if check else result.returncode)
        if result.returncode != wanted or b"Traceback" in result.stderr:
            shown = (result.stdout + result.stderr).decode(errors="replace")
            raise AssertionError(
                f"{' '.join(command[2:])} ended with {result.returncode}, not {wanted}:\n{shown}"
            )
        return result

    def start(self, *arguments: str | os.PathLike[str], **extra: str) -> Running:
        """Start a command that stays. See ``Running.ready_line``."""
        self._count += 1
        output = self.scratch / f"process-{self._count}.out"
        log = self.scratch / f"process-{self._count}.log"
        with output.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "graviton_server", *map(os.fspath, arguments)],
                cwd=self.scratch,
                env=self._environment(extra),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        running = Running(process, output, log)
        self.running.append(running)
        return running

    def mount(self, source: Path, point: Path, *options: str, **extra: str) -> Running:
        """Mount in the foreground and wait until it answers; ``options`` as in ``-o``."""
        with contextlib.suppress(FileExistsError):  # a dead mount is there, but cannot be looked at
            point.mkdir()
        more = ["-o", ",".join(options)] if options else []
        running = self.start("mount", source, point, "-f", *more, **extra)
        running.ready_line()
        return running

    def unmount(self, running: Running, point: Path, timeout: float = 60.0) -> None:
        """Unmount and wait for the process: then everything is stored."""
        unmount(point)
        status = running.process.wait(timeout)
        if status:
            raise AssertionError(f"the mount ended with {status}:\n{running.log_text()}")

    def close(self) -> None:
        for running in reversed(self.running):
            if running.process.poll() is None:
                running.process.terminate()
                try:
                    running.process.wait(30)
                except subprocess.TimeoutExpired:
                    running.process.kill()
                    running.process.wait(30)
                    with running.log.open("a") as log:
                        log.write("ERROR did not end on SIGTERM within 30 s\n")
        unmount_below(self.scratch)

    def troubles(self) -> list[str]:
        """Lines of any log that report an error or a warning nobody announced."""
        return [
            line for running in self.running for line in self._unexpected(running.log_text().splitlines())
        ]

    def _unexpected(self, lines: Iterable[str]) -> Iterable[str]:
        for line in lines:
            if _TROUBLE.search(line) and not any(pattern.search(line) for pattern in self._allowed):
                yield line
