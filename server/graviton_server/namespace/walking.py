"""Paths below the directories that are made when they are looked at: a look-up for each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gravitonfs.core.ids import Ino
from gravitonfs.errors import NotADirectory, NotFound, Stale
from gravitonfs.ports.ops import Attr


def walked(lookup: Callable[[Ino, bytes], Attr | None], path: Sequence[bytes], start: Ino) -> list[Attr]:
    """As far as there is something."""
    steps: list[Attr] = []
    for name in path:
        try:
            found = lookup(steps[-1].ino if steps else start, name)
        except (NotADirectory, NotFound, Stale):
            break
        if found is None:
            break
        steps.append(found)
    return steps
