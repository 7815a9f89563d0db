"""How much memory all budgets together may use, and that the C library adds little to it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import click

from graviton_server.cli.groups import GROUPS, ROOT, limit_files, read
from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

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


def group_limit(root: Path = ROOT, groups: Path = GROUPS) -> int | None:
    """The least limit of this process's control group and those above it."""
    files = limit_files("memory", "memory.max", "memory.limit_in_bytes", root, groups)
    limits = [int(text) for path in files if (text := read(path)).isdecimal()]
    return min(limits, default=None)
