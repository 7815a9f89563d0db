"""How much memory all budgets together may use, and that the C library adds little to it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import click

from graviton_server.cli.groups import GROUPS, ROOT, limit_files, read
from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def share_heaps() -> None:
    """Two heaps for all threads, for a process that serves, and buffers of megabytes come from them; before
    it starts threads.

    glibc gives threads heaps of their own, and each keeps what was freed in it: with six clients at a
    time a gateway's peak was 740 MiB, and is 560 with two heaps. Large buffers it gets from the kernel
    each time, which cost a daemon 1.1 s of processor time a GiB that was read. mallopt(3); elsewhere
    nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_ARENA_MAX, 2)
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, 128 << 20)


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
