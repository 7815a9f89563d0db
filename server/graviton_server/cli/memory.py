"""How much memory all budgets together may use, and that the C library adds little to it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import click

from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
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
            return parse_size(asked)
        except Invalid as error:
            raise click.UsageError(f"GRAVITON_MEMORY: {error}") from error
    limit = _group_limit()
    return default if limit is None else min(default, limit // 2)


def _group_limit() -> int | None:
    for path in _LIMIT_FILES:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None
