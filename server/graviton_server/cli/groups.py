"""The control groups of this process, where limits are read from; both versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")


def limit_files(
    controller: str, name: str, old_name: str, root: Path = ROOT, groups: Path = GROUPS
) -> Iterator[Path]:
    """Of the process's own group and those above it. In a container the group's own may lie at the top."""
    yield root / name
    yield root / controller / old_name
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top, file = (root / controller, old_name) if controllers else (root, name)
        group = top / path.lstrip("/")
        while group != top and top in group.parents:
            yield group / file
            group = group.parent


def read(path: Path) -> str:
    """What it says, or nothing."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
