"""A holder of a lease in a process of its own, seen from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.programs import ROOT, environment
from harness.waiting import wait_until
from rpc.lease_holder import RECORD


class HolderProcess:
    def __init__(self, file: Path, *arguments: str) -> None:
        self._file = file
        self.log = file.with_suffix(".log")
        extra = {"PYTHONPATH": environment()["PYTHONPATH"] + f":{ROOT / 'tests'}"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rpc.lease_holder", *arguments, str(file)],
                env=environment(**extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _told(self) -> tuple[int, float]:
        data = self._file.read_bytes() if self._file.exists() else b""
        if len(data) < RECORD.size:
            assert self.process.poll() is None, self.log.read_text()
            return 0, 0.0
        looked, trusted = RECORD.unpack(data)
        return looked, trusted

    def gets_it(self) -> None:
        """Trusts the lease at a moment after now."""
        now = time.monotonic()
        wait_until(lambda: self._told()[1] > now, "the lease", 60)

    def last_trusted(self) -> float:
        """As it is known once the process has looked again, and again."""
        before = self._told()[0]
        wait_until(lambda: self._told()[0] > before + 3, "the holder to look", 60)
        return self._told()[1]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@contextmanager
def holding(file: Path, *arguments: str) -> Iterator[HolderProcess]:
    made = HolderProcess(file, *arguments)
    try:
        made.gets_it()
        yield made
    finally:
        if made.process.poll() is None:
            made.kill()
