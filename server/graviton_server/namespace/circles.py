"""Directories that lie in themselves: which to take out, so that something leads to all of them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

Ask = Callable[[str, Sequence[Any]], list[Sequence[Any]]]
_PARENT: Final = "SELECT parent FROM names WHERE ino = ? ORDER BY parent, name LIMIT 1"


def circles_of(ask: Ask, unreachable: Sequence[int]) -> list[int]:
    """One directory of each circle among these, the one with the lowest number. What hangs below a circle, or
    below a directory that has no name, is in none."""
    found: list[int] = []
    seen: set[int] = set()
    for start in sorted(unreachable):
        way: list[int] = []
        at: int | None = start
        while at is not None and at not in seen:
            seen.add(at)
            way.append(at)
            rows = ask(_PARENT, (at,))
            at = rows[0][0] if rows else None
        if at in way:
            found.append(min(way[way.index(at) :]))
    return found
