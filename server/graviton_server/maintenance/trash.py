"""The trash is emptied: by age, when space runs out, and on command. The oldest goes first.

Each step erases a few; a crash between two leaves the rest for the next run. What is erased is freed by
``reap`` and given back by ``collect``, as anything removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.turns import turn
from graviton_server.maintenance.work import Work

log = logging.getLogger(__name__)

STEP: Final = 256
_DAY_NS: Final = 86_400 * 10**9
_LOOK: Final = 60.0
_EVER: Final = 1 << 62
_PRESSED: Final = 30.0
"""Seconds between two rounds under pressure: collection has to give the space of the first back."""
_PART: Final = 8
_LEAST: Final = 1024


class Emptier:
    """One thread at a time."""

    def __init__(self, stores: Stores, days: int, nearly_full: Callable[[], bool]) -> None:
        """``days`` 0: whatever is in the trash goes."""
        self._stores = stores
        self._days = days
        self._nearly_full = nearly_full

    def due(self) -> object:
        now = time.monotonic()
        return int(now / _LOOK), int(now / _PRESSED) if self._nearly_full() else 0

    def run(self, work: Work) -> str:
        """A sentence on what was done, or nothing."""
        with turn(self._stores.housekeeping, "trash", work) as ours:
            if not ours:
                return ""
            erased = self._erase(self._stores.packs.clock_ns() - self._days * _DAY_NS, _EVER, work)
            if self._nearly_full():
                erased += self._make_room(work)
        return f"{erased} files and trees erased from the trash" if erased else ""

    def _make_room(self, work: Work) -> int:
        """A part of what there is, and a little in any case."""
        there = self._stores.upkeep.trash_usage().inodes
        erased = self._erase(_EVER, max(there // _PART, _LEAST), work) if there else 0
        if erased:
            log.warning("space is short: the %d oldest files and trees are erased from the trash", erased)
        return erased

    def empty(self, work: Work, *, dry_run: bool) -> int:
        """All of it. How many files, links and trees; with ``dry_run`` how many inodes there are."""
        if dry_run:
            return self._stores.upkeep.trash_usage().inodes
        return self._erase(_EVER, _EVER, work)

    def _erase(self, before_ns: int, most: int, work: Work) -> int:
        total = 0
        while total < most:
            work.check()
            count = self._stores.upkeep.erase_trash(before_ns, min(STEP, most - total))
            if not count:
                break
            total += count
            work.tell(total, 0, "erased from the trash")
        return total
