"""The figures of ``graviton info``."""

from __future__ import annotations

from typing import Final, NamedTuple

from graviton_server.maintenance.mark import pack_rows
from graviton_server.maintenance.reports import Figures
from graviton_server.maintenance.stores import Stores
from gravitonfs.ports.namespace import VolumeUsage

PACKS: Final = "packs/"


class Marked(NamedTuple):
    """What a mark has counted of the blocks that files name."""

    blocks: int
    plain: int
    stored: int


def stored_bytes(stores: Stores) -> tuple[int, int]:
    """What the target holds in packs, and how many there are; loose blocks not counted. By the rows where
    listing the target costs requests."""
    total = count = 0
    if stores.tended:
        for row in pack_rows(stores):
            total += row.length
            count += row.length > 0
        return total, count
    for item in stores.target.list(PACKS):
        total += item.length
        count += 1
    return total, count


def figures(stores: Stores, usage: VolumeUsage, marked: Marked) -> Figures:
    packed, packs = stored_bytes(stores)
    loose = stores.loose.loose_bytes()
    unique, live = marked.plain, marked.stored
    return Figures(
        logical_bytes=usage.logical_bytes,
        unique_bytes=unique,
        stored_bytes=packed + loose,
        live_stored_bytes=live,
        inodes=usage.inodes,
        blocks=marked.blocks,
        packs=packs,
        loose_bytes=loose,
        dedupe_ratio=round(usage.logical_bytes / unique, 4) if unique else 1.0,
        compression_ratio=round(unique / live, 4) if live and unique else 1.0,
    )
