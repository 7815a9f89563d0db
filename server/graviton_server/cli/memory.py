"""How much memory all budgets together may use, and that the C library adds little to it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import click

from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

_ROOT = Path("/sys/fs/cgroup")
_GROUPS = Path("/proc/self/cgroup")
_M_ARENA_MAX = -8


def share_heaps() -> None:
    """Two heaps for all threads, for a process that serves; before it starts threads.

    glibc gives threads heaps of their own, and each keeps what was freed in it: with six clients at a
    time a gateway's peak was 740 MiB, and is 560 with two heaps. mallopt(3); elsewhere nothing.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    except (AttributeError, OSError):
        return


def memory_budget(default: int) -> int:
    """``GRAVITON_MEMORY``; else half the control group's limit where that is less than ``default``."""
    asked = os.environ.get("GRAVITON_MEMORY")
    if asked:
        try:
            size = parse_size(asked)
        except Invalid as error:
            raise click.UsageError(f"GRAVITON_MEMORY: {error}") from error
        if size <= 0:
            raise click.UsageError(f"GRAVITON_MEMORY: {asked!r} is not more than nothing")
        return size
    limit = group_limit()
    return default if limit is None else min(default, limit // 2)


def group_limit(root: Path = _ROOT, groups: Path = _GROUPS) -> int | None:
    """The least limit of this process's control group and those above it."""
    limits = [limit for path in _limit_files(root, groups) if (limit := _number(path)) is not None]
    return min(limits, default=None)


def _limit_files(root: Path, groups: Path) -> Iterator[Path]:
    """Of both versions. In a container the group's own files may lie at the top."""
    yield root / "memory.max"
    yield root / "memory" / "memory.limit_in_bytes"
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = top / path.lstrip("/")
        while group != top and top in group.parents:
            yield group / name
            group = group.parent


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
