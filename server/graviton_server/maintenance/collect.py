"""Collection: packs that no file needs are condemned and deleted.

Order of durable steps for one pack: condemned (conditional: still live, relied on before the mark) →
the index forgets it → deleting → the target has confirmed → the row goes. A crash between any two is
made good by the next run, which begins with what is condemned or deleting already.

Where one process owns the store, margin and grace are zero (docs/adr/0007-collection-without-margin.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from graviton_server.maintenance.mark import Mark, PackMark, pack_rows
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.objects import object_length
from graviton_server.maintenance.reports import Collected
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Unavailable
from gravitonfs.ports.packs import PackRow, PackState

log = logging.getLogger(__name__)

_AT_ONCE: Final = 64
"""Packs condemned in one transaction."""

SHARED_MARGIN_NS: Final = 20 * 60 * 10**9
SHARED_GRACE_NS: Final = 3600 * 10**9


class Caution(NamedTuple):
    """How much earlier than the mark a pack must last have been relied on, and how long a condemned one
    stays. Zero where one process owns the store and knows every reliance exactly. Packs younger than
    ``keep_ns`` are left alone."""

    margin_ns: int = 0
    grace_ns: int = 0
    keep_ns: int = 0


EMBEDDED: Final = Caution()
SHARED: Final = Caution(SHARED_MARGIN_NS, SHARED_GRACE_NS)


class Freed(NamedTuple):
    condemned: int
    deleted: int
    bytes: int
    kept: int


def collect(
    stores: Stores,
    work: Work,
    *,
    dry_run: bool = False,
    caution: Caution = EMBEDDED,
    more_roots: Iterable[Iterable[BlockId]] = (),
) -> tuple[Collected, Mark]:
    """One mark and sweep. The caller sees to it that only one runs. The mark is good for compaction."""
    began = time.monotonic()
    mark = mark_live(stores, work, more_roots)
    mark.held, mark.pinned = stores.housekeeping.held_packs(), stores.housekeeping.pinned_packs()
    if mark.missing:
        log.error("%d blocks that files name are in no pack: run graviton fsck", len(mark.missing))
    dead = [pack for pack in dead_packs(mark) if old_enough(pack, mark, caution)]
    if dry_run:
        waiting = [row for row in unfinished(stores, caution) if row.state is not PackState.LIVE]
        going = [pack.row for pack in dead] + waiting
        freed = Freed(len(dead), 0, sum(object_length(stores, row) for row in going), 0)
    else:
        freed = give_up(stores, [pack.row.number for pack in dead], mark, work, caution)
    report = Collected(
        dry_run=dry_run,
        packs=len(mark.packs),
        condemned=freed.condemned,
        deleted=freed.deleted,
        freed_bytes=freed.bytes,
        live_blocks=mark.live_blocks,
        live_bytes=mark.live_stored,
        missing=len(mark.missing),
        kept=freed.kept,
        seconds=time.monotonic() - began,
    )
    return report, mark


def together(first: Collected, second: Collected) -> Collected:
    """Two runs, one after the other, as one."""
    return msgspec.structs.replace(
        second,
        condemned=first.condemned + second.condemned,
        deleted=first.deleted + second.deleted,
        freed_bytes=first.freed_bytes + second.freed_bytes,
        kept=first.kept + second.kept,
        seconds=first.seconds + second.seconds,
    )


def dead_packs(mark: Mark) -> list[PackMark]:
    """Sealed packs, readable, in which the mark has found nothing in use and no kept dump anything."""
    return [
        pack
        for pack in mark.packs.values()
        if not pack.live
        and not pack.unreadable
        and pack.row.state is PackState.LIVE
        and pack.row.number not in mark.held
    ]


def old_enough(pack: PackMark, mark: Mark, caution: Caution) -> bool:
    return pack.row.created_ns <= mark.began_ns - caution.keep_ns


def due_in(stores: Stores, caution: Caution) -> float | None:
    """Seconds until the grace of a condemned pack is over, the next one's; None where none waits."""
    waiting = [
        row.changed_ns for row in pack_rows(stores) if row.state in (PackState.CONDEMNED, PackState.ABANDONED)
    ]
    if not waiting:
        return None
    return max(0.0, (min(waiting) + caution.grace_ns - stores.packs.clock_ns()) / 1e9)


def give_up(
    stores: Stores, numbers: Sequence[PackNumber], mark: Mark, work: Work, caution: Caution = EMBEDDED
) -> Freed:
    """Condemn these packs, as far as nobody relied on them since the mark, and delete what is due."""
    condemned = 0
    before = mark.began_ns - caution.margin_ns
    for start in range(0, len(numbers), _AT_ONCE):
        work.check()
        done = stores.packs.condemn(numbers[start : start + _AT_ONCE], before)
        stores.blocks.forget_packs(done)
        condemned += len(done)
    deleted, size = finish_deletions(stores, mark, work, caution)
    return Freed(condemned, deleted, size, len(numbers) - condemned)


def finish_deletions(stores: Stores, mark: Mark, work: Work, caution: Caution = EMBEDDED) -> tuple[int, int]:
    """Delete what is condemned, given up while it was written, or half deleted; how many, and bytes."""
    deleted = size = 0
    for row in unfinished(stores, caution):
        marked = mark.packs.get(row.number)
        if marked is not None and (marked.live or marked.unreadable) and row.state is PackState.ABANDONED:
            continue
        work.tell(deleted, 0, "packs deleted")
        try:
            size += delete_pack(stores, row)
        except Unavailable as error:
            if stores.copies is None:
                raise
            log.warning("pack %d waits for a target that is away: %s", row.number, error)
            continue
        deleted += 1
    return deleted, size


def unfinished(stores: Stores, caution: Caution) -> list[PackRow]:
    """Rows on their way out, whose grace is over."""
    due = stores.packs.clock_ns() - caution.grace_ns
    going = (PackState.CONDEMNED, PackState.DELETING, PackState.ABANDONED)
    return [
        row
        for row in pack_rows(stores)
        if row.state in going and (row.changed_ns <= due or row.state is PackState.DELETING)
    ]


def delete_pack(stores: Stores, row: PackRow) -> int:
    """Returns how many bytes that has given back. Repeating any part of it is harmless."""
    if row.state is not PackState.DELETING and not stores.packs.deleting(row.number):
        return 0
    size = object_length(stores, row)
    stores.blocks.delete_pack(row.number)
    stores.packs.deleted(row.number)
    log.debug("pack %d is deleted, %d bytes", row.number, size)
    return size
