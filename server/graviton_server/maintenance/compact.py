"""Compaction: what is in use in wasteful packs is copied together, and those packs are given up.

Order of durable steps: copies verified and appended, the index leads to them → synced → the old pack is
condemned as in collection, under the same condition. Stopped anywhere, the copies are merely
double, and the next mark finds the old pack less in use.
"""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from graviton_server.maintenance.collect import EMBEDDED, Caution, give_up, old_enough
from graviton_server.maintenance.mark import Mark, PackMark, pack_rows
from graviton_server.maintenance.objects import object_length
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged, NoSpace, NotFound
from gravitonfs.ports.packs import PackState

log = logging.getLogger(__name__)

MIB: Final = 1 << 20


class Policy(NamedTuple):
    """Which packs are worth copying.

    Always those with less than ``live_share`` of their length in use; then, worst first, those with
    at least ``waste_share`` unused, until at most ``slack`` of all is waste; and packs under
    ``small_bytes`` (far under the size of a full pack) once there are ``small_count`` of them.
    """

    live_share: float = 0.5
    waste_share: float = 0.1
    slack: float = 0.04
    small_bytes: int = 4 * MIB
    small_count: int = 16


class Compacted(NamedTuple):
    """``kept``: packs copied from that somebody came to rely on meanwhile."""

    packs: int
    moved_bytes: int
    freed_bytes: int
    deleted: int
    kept: int
    damaged: tuple[BlockId, ...]


def candidates(mark: Mark, policy: Policy, caution: Caution = EMBEDDED) -> list[PackMark]:
    """Packs to compact, the most wasteful first. Not those that a dump pins: they could not be given up. One
    that is held by a dump which goes in time is double until then; else dumps by the clock, of which each
    needs what the one before needed, would keep all waste for ever."""
    packs = [
        pack
        for pack in mark.packs.values()
        if pack.live
        and not pack.unreadable
        and pack.row.state is PackState.LIVE
        and pack.row.number not in mark.pinned
        and old_enough(pack, mark, caution)
    ]
    packs.sort(key=_live_share)
    total = sum(pack.row.length for pack in packs)
    waste = sum(_waste(pack) for pack in packs)
    chosen: list[PackMark] = []
    for pack in packs:
        if pack.live == pack.row.blocks:
            continue  # a copy would be no smaller: what is no record is header, footer and trailer
        wasteful = _live_share(pack) <= 1 - policy.waste_share and waste > policy.slack * total
        if _live_share(pack) >= policy.live_share and not wasteful:
            break
        chosen.append(pack)
        waste -= _waste(pack)
    taken = {pack.row.number for pack in chosen}
    small = [p for p in packs if p.row.length < policy.small_bytes and p.row.number not in taken]
    if len(small) >= policy.small_count:
        chosen += small
    return chosen


def open_waste(stores: Stores, mark: Mark) -> bool:
    """Whether a pack that is still open holds more waste than anything else: sealing it frees that."""
    for row in pack_rows(stores):
        if row.length or row.state is not PackState.LIVE:
            continue
        length = object_length(stores, row)
        if length - mark.open_live.get(row.number, 0) > max(MIB, length // 2):
            return True
    return False


def _live_share(pack: PackMark) -> float:
    return pack.live_stored / max(pack.row.length, 1)


def _waste(pack: PackMark) -> int:
    return max(pack.row.length - pack.live_stored, 0)


def compact(
    stores: Stores,
    mark: Mark,
    work: Work,
    *,
    policy: Policy | None = None,
    caution: Caution = EMBEDDED,
    max_bytes: int = 1 << 62,
    group_bytes: int = 64 * MIB,
) -> Compacted:
    """Copy from the packs that ``policy`` chooses, up to ``max_bytes``; each group of copies is
    followed by giving up what it came from, so that little is double at any time."""
    chosen = candidates(mark, policy or Policy(), caution)
    total = sum(pack.live_stored for pack in chosen)
    run = _Run(stores, mark, work, caution)
    for pack in chosen:
        if run.moved >= max_bytes:
            break
        work.tell(run.moved, min(total, max_bytes), "bytes moved out of wasteful packs")
        try:
            run.move(pack)
        except NoSpace as error:
            log.warning("compaction waits for room: %s", error)
            break
        if run.pending_bytes >= group_bytes:
            run.finish_group()
    run.finish_group()
    return run.result()


class _Run:
    def __init__(self, stores: Stores, mark: Mark, work: Work, caution: Caution) -> None:
        self._stores = stores
        self._mark = mark
        self._work = work
        self._caution = caution
        self._pending: list[PackNumber] = []
        self._copies: set[PackNumber] = set()
        self.pending_bytes = 0
        self.moved = 0
        self._packs = self._freed = self._deleted = self._kept = 0
        self._damaged: list[BlockId] = []

    def move(self, pack: PackMark) -> None:
        """Copy what is in use in one pack. A damaged record keeps the pack from being given up."""
        number = pack.row.number
        try:
            relocation = self._stores.blocks.relocate(number, self._live_ids(pack))
        except (Damaged, NotFound) as error:
            log.error("pack %d is not compacted: %s", number, error)
            return
        self._copies.update(relocation.packs)
        if relocation.damaged:
            self._damaged += relocation.damaged
            log.error("pack %d has %d damaged blocks and stays", number, len(relocation.damaged))
            return
        self.moved += pack.live_stored
        self.pending_bytes += pack.live_stored
        self._pending.append(number)
        self._work.spend(pack.row.length + pack.live_stored)

    def _live_ids(self, pack: PackMark) -> set[BlockId]:
        records = self._stores.blocks.records(pack.row.number)
        return {record.id for at, record in enumerate(records) if pack.has(at)}

    def finish_group(self) -> None:
        if not self._pending:
            return
        self._stores.blocks.sync(sorted(self._copies))
        self._copies.clear()
        free = [number for number in self._pending if number not in self._mark.held]
        freed = give_up(self._stores, free, self._mark, self._work, self._caution)
        self._packs += len(self._pending)
        self._freed += freed.bytes
        self._deleted += freed.deleted
        self._kept += freed.kept
        self._pending = []
        self.pending_bytes = 0

    def result(self) -> Compacted:
        return Compacted(
            self._packs, self.moved, self._freed, self._deleted, self._kept, tuple(self._damaged)
        )
