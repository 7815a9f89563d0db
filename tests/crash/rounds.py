"""One round of a crash loop: write until a random moment, stop everything, come back, check."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from crash.history import check
from crash.power import TESTS


class Rounds:
    """What was acknowledged in each round so far; all of it is checked after every crash."""

    def __init__(self, point: Path, seed: int) -> None:
        self.point = point
        self.chance = random.Random(seed)
        self._acknowledged: dict[int, int] = {}

    def write_until(self, crash: Callable[[], None]) -> None:
        """Start a writer in a directory of its own and call ``crash`` while it writes."""
        seed = self.chance.randrange(1 << 30)
        enough = self.chance.randint(0, 40)
        pause = self.chance.uniform(0, 0.05)  # where between two acknowledgements the crash comes
        writer = subprocess.Popen(
            [sys.executable, "-m", "crash.writer", str(self.point / f"round-{seed}"), str(seed)],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        acknowledged = -1
        crashed = False
        with writer:
            for line in writer.stdout or ():
                acknowledged = int(line)
                if acknowledged >= enough and not crashed:
                    time.sleep(pause)
                    crash()
                    crashed = True
            errors = writer.stderr.read().decode() if writer.stderr else ""
        assert crashed, f"the writer ended after {acknowledged} operations:\n{errors}"
        self._acknowledged[seed] = acknowledged

    def check(self) -> None:
        for seed, acknowledged in self._acknowledged.items():
            check(self.point / f"round-{seed}", seed, acknowledged)
