"""The trash is emptied: by age, when space runs out, and on command. The oldest goes first.

Each step erases a few; a crash between two leaves the rest for the next run. What is erased is freed by
``reap`` and given back by ``collect``, as anything removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.turns import turn
from graviton_server.maintenance.work import Work
from gravitonfs.ports.quotas import QuotaRow
from gravitonfs.ports.store import SessionStore

log = logging.getLogger(__name__)

STEP: Final = 256
_DAY_NS: Final = 86_400 * 10**9
_LOOK: Final = 60.0
_EVER: Final = 1 << 62
_PRESSED: Final = 30.0
"""Seconds between two rounds under pressure: collection has to give the space of the first back."""
_PART: Final = 8
_LEAST: Final = 1024
_TIGHT: Final = 0.95


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
            for volume in self._tight():
                erased += self._make_room(work, volume)
        return f"{erased} files and trees erased from the trash" if erased else ""

    def _make_room(self, work: Work, volume: str | None = None) -> int:
        """A part of what there is, and a little in any case."""
        there = self._stores.upkeep.trash_usage().inodes
        erased = self._erase(_EVER, max(there // _PART, _LEAST), work, volume) if there else 0
        if erased:
            why = "space is short" if volume is None else f"the quota of volume {volume} is nearly used up"
            log.warning("%s: the %d oldest files and trees are erased from the trash", why, erased)
        return erased

    def _tight(self) -> list[str]:
        """Volumes whose own quota, which the trash counts for, leaves next to nothing."""
        return [
            volume
            for volume, row in self._stores.quotas()
            if _is_tight(row.bytes, row.max_bytes) or _is_tight(row.inodes, row.max_inodes)
        ]

    def empty(self, work: Work, *, dry_run: bool) -> int:
        """All of it. How many files, links and trees; with ``dry_run`` how many inodes there are."""
        if dry_run:
            return self._stores.upkeep.trash_usage().inodes
        return self._erase(_EVER, _EVER, work)

    def _erase(self, before_ns: int, most: int, work: Work, volume: str | None = None) -> int:
        total = 0
        while total < most:
            work.check()
            count = self._stores.upkeep.erase_trash(before_ns, min(STEP, most - total), volume)
            if not count:
                break
            total += count
            work.tell(total, 0, "erased from the trash")
        return total


def quotas_of_volumes(names: SessionStore) -> Iterator[tuple[str, QuotaRow]]:
    """Of those that have one, with the name."""
    for volume in names.volume_rows():
        for row in names.quotas.rows(volume.name):
            if row.directory == volume.root:
                yield volume.name, row


def _is_tight(used: int, most: int | None) -> bool:
    return most is not None and used >= _TIGHT * most
