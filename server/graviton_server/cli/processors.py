"""How many processors this process may use: numbers of threads follow it."""

from __future__ import annotations

import os
from pathlib import Path

from graviton_server.cli.groups import GROUPS, ROOT, limit_files, read


def processors(root: Path = ROOT, groups: Path = GROUPS) -> int:
    """The least of the affinity and the quotas of the control groups, at least 1."""
    count = len(os.sched_getaffinity(0))
    for path in limit_files("cpu", "cpu.max", "cpu.cfs_quota_us", root, groups):
        quota, period = _quota(path)
        if quota > 0:
            count = min(count, -(-quota // period))
    return max(count, 1)


def _quota(path: Path) -> tuple[int, int]:
    """Microseconds of each period; 0 where there is no limit."""
    words = read(path).split()
    if path.name == "cpu.max":
        return (int(words[0]), int(words[1])) if len(words) == 2 and words[0].isdecimal() else (0, 1)
    period = read(path.with_name("cpu.cfs_period_us"))
    return (int(words[0]), int(period)) if words and words[0].isdecimal() and period.isdecimal() else (0, 1)
