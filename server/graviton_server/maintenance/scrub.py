"""Scrubbing: all stored bytes are read again and compared with their hashes, at a set rate; dumps last.

Where it was is remembered in the volume's records, so that a run that is stopped goes on later.
"""

from __future__ import annotations

import time
from typing import Final

from graviton_server.maintenance.damage import damaged_files
from graviton_server.maintenance.dump_scrub import scrub_dumps
from graviton_server.maintenance.mark import pack_rows
from graviton_server.maintenance.reports import UNUSED, Finding, Scrubbed
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from graviton_server.replication.repair import Repair
from gravitonfs.content.volume import Volume
from gravitonfs.core.codec import decode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.ops import SetRecord
from gravitonfs.ports.packs import PackRow, PackState

SPACE: Final = "maintenance"
POSITION: Final = b"scrub"
_SAVE_EVERY: Final = 8
_LOOSE_PAGE: Final = 1024


def scrub(stores: Stores, volume: Volume, work: Work) -> Scrubbed:
    """Go on where the last run was stopped, to the end of the packs there are now."""
    began = time.monotonic()
    position = saved_position(volume)
    rows = [row for row in pack_rows(stores) if row.state is PackState.LIVE and row.number > position]
    total = sum(row.length for row in rows)
    findings: list[Finding] = []
    bad: set[BlockId] = set()
    done = blocks = 0
    try:
        for count, row in enumerate(rows):
            work.tell(done, total, "bytes verified")
            check_pack(stores, row, findings, bad)
            done += row.length
            blocks += row.blocks
            position = row.number
            if count % _SAVE_EVERY == _SAVE_EVERY - 1:
                save_position(volume, position)
            work.spend(row.length)
    finally:
        save_position(volume, position)
    blocks += check_loose(stores, bad)
    findings.extend(damaged_files(stores.upkeep, volume, bad, work))
    if stores.archive is not None:
        dumps = scrub_dumps(stores.archive, work)
        findings.extend(dumps.findings)
        done += dumps.bytes_read
    save_position(volume, PackNumber(0))
    return Scrubbed(
        findings=tuple(findings),
        packs=len(rows),
        blocks=blocks,
        bytes_read=done,
        complete=True,
        position=0,
        seconds=time.monotonic() - began,
    )


def check_pack(stores: Stores, row: PackRow, findings: list[Finding], bad: set[BlockId]) -> None:
    """Verify a pack; what is wrong with it goes to ``findings``, the blocks meant to ``bad``."""
    if stores.copies is not None and row.length and _check_copies(stores, stores.copies, row, findings):
        return
    for problem in stores.blocks.verify_pack(row.number):
        if stores.packs.get(row.number) is None:
            return  # collected meanwhile
        block = problem.block.hex() if problem.block is not None else ""
        kind, what = "pack-damaged", problem.what
        if problem.block is not None and _is_elsewhere(stores, problem.block, row.number):
            kind, what = UNUSED, f"{what}; it has been stored again, and this record goes with its pack"
        elif problem.block is not None:
            kind = "block-damaged"
            bad.add(problem.block)
        findings.append(Finding(kind=kind, what=what, pack=row.number, block=block))


def _is_elsewhere(stores: Stores, block: BlockId, pack: PackNumber) -> bool:
    """The block is read from another pack, whose own record is verified with that one."""
    [found] = stores.blocks.locate([block])
    return found is not None and found.pack != pack


def _check_copies(stores: Stores, copies: Repair, row: PackRow, findings: list[Finding]) -> bool:
    """Read every copy; whether every block is in one of them. What is wrong with one alone loses nothing."""
    checked = copies.check_copies(row.uuid, row.length)
    found = stores.packs.get(row.number)
    if found is None or found.state is not PackState.LIVE:
        return True  # collected meanwhile
    findings.extend(
        Finding(kind="copy-damaged", what=f"the copy of a pack on the target {name}: {why}", pack=row.number)
        for name, why in checked.faults
    )
    return checked.good > 0 or copies.can_be_made(row.uuid, row.length)


def check_loose(stores: Stores, bad: set[BlockId]) -> int:
    """Verify the blocks that are in the database; returns how many."""
    ids = stores.upkeep.loose_ids()
    for start in range(0, len(ids), _LOOSE_PAGE):
        for block, found in stores.loose.loose_get(ids[start : start + _LOOSE_PAGE]).items():
            try:
                plain = decode(found.codec, found.payload, found.plain_length)
                good = block_id(plain, stores.block_key) == block
            except Damaged:
                good = False
            if not good:
                bad.add(block)
    return len(ids)


def saved_position(volume: Volume) -> PackNumber:
    for key, value in volume.namespace.records(SPACE):
        if key == POSITION and value.isdigit():
            return PackNumber(int(value))
    return PackNumber(0)


def save_position(volume: Volume, position: PackNumber) -> None:
    value = b"%d" % position if position else None
    volume.submit(SetRecord(SPACE, POSITION, value))
