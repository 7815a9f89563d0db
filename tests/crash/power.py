"""A machine whose power can be cut: forgetfs mounted on a directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from crash.forgetfs.operations import CUT
from harness.places import is_mounted, unmount
from harness.waiting import wait_until

TESTS = Path(__file__).resolve().parents[1]


class Machine:
    """``disk`` is where programs keep their data while the machine is on."""

    def __init__(self, home: Path) -> None:
        self.backing = home / "backing"
        self.disk = home / "disk"
        self.log = home / "forgetfs.log"
        self.disk.mkdir()
        self.backing.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def power_on(self) -> None:
        with self.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "crash.forgetfs", str(self.backing), str(self.disk)],
                cwd=TESTS,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
                stdout=log,
                stderr=log,
            )

        def mounted() -> bool:
            assert process.poll() is None, self.log.read_text()
            return is_mounted(self.disk)

        wait_until(mounted, "forgetfs is mounted")

    def cut_power(self, seed: int) -> None:
        """At once: every call into the disk fails from here. End its users, then ``power_off``."""
        os.setxattr(self.disk, CUT, b"%d" % seed)

    def power_off(self) -> None:
        """After a cut, or cleanly: then nothing is forgotten."""
        assert self._process is not None
        wait_until(self._unmounted, "nothing uses the disk any more")
        status = self._process.wait(60)
        assert status == 0, self.log.read_text()
        self._process = None

    def _unmounted(self) -> bool:
        try:
            unmount(self.disk)
        except subprocess.CalledProcessError:
            return False  # a process that was killed just now has not let go yet
        return True

    def close(self) -> None:
        if self._process is not None:
            if is_mounted(self.disk):
                unmount(self.disk, lazy=True)
            self._process.terminate()
            self._process.wait(30)
