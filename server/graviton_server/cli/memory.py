"""How much memory all budgets together may use."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


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
