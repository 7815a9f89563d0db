"""The result of a mark, and the rows it begins with."""

from __future__ import annotations

from collections.abc import Iterator

from graviton_server.maintenance.stores import Stores
from graviton_server.packs.format import RECORD_HEADER
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState


class PackMark:
    """What a mark knows of one sealed pack. ``bits``: the records that files need."""

    __slots__ = ("bits", "live", "live_plain", "live_stored", "row", "unreadable")

    def __init__(self, row: PackRow) -> None:
        self.row = row
        self.bits = bytearray((row.blocks + 7) // 8)
        self.live = 0
        self.live_stored = 0
        """With the records' headers: so many bytes a copy of the live ones takes."""
        self.live_plain = 0
        self.unreadable = False
        """Its footer cannot be read, so nothing is known of it: it is never given up."""

    def set(self, record: int, stored: int, plain: int) -> None:
        byte, bit = record >> 3, 1 << (record & 7)
        if not self.bits[byte] & bit:
            self.bits[byte] |= bit
            self.live += 1
            self.live_stored += RECORD_HEADER + stored
            self.live_plain += plain

    def has(self, record: int) -> bool:
        return bool(self.bits[record >> 3] & (1 << (record & 7)))


class Mark:
    """The result. ``packs``: those that were sealed when the mark began, live or abandoned.

    ``open_*``: distinct blocks that are in packs still open, and how much of each pack is in use.
    ``loose``: blocks in the database alone.
    ``missing``: blocks that files name and that are nowhere, with the last hint. ``astray``: blocks
    that are in a pack although the index does not lead there. ``doubtful``: blocks that should be in a
    pack without a readable footer. ``short``: blocks of which files want more bytes than they have.
    ``held``: packs of kept dumps; ``pinned``: of those that stay until somebody drops them.
    """

    def __init__(self, began_ns: int, packs: dict[PackNumber, PackMark]) -> None:
        self.began_ns = began_ns
        self.packs = packs
        self.open_blocks: set[tuple[PackNumber, int]] = set()
        self.open_live: dict[PackNumber, int] = {}
        self.open_plain = 0
        self.loose: dict[BlockId, tuple[int, int]] = {}
        self.missing: dict[BlockId, PackNumber] = {}
        self.astray: dict[BlockId, PackNumber] = {}
        self.doubtful: dict[BlockId, PackNumber] = {}
        self.short: set[BlockId] = set()
        self.held: frozenset[PackNumber] = frozenset()
        self.pinned: frozenset[PackNumber] = frozenset()
        self.extents = 0
        self.rows = 0

    @property
    def live_blocks(self) -> int:
        return sum(pack.live for pack in self.packs.values()) + len(self.open_blocks) + len(self.loose)

    @property
    def live_stored(self) -> int:
        packed = sum(pack.live_stored for pack in self.packs.values())
        return packed + sum(self.open_live.values()) + sum(stored for stored, _ in self.loose.values())

    @property
    def live_plain(self) -> int:
        packed = sum(pack.live_plain for pack in self.packs.values())
        return packed + self.open_plain + sum(plain for _, plain in self.loose.values())


def sealed_packs(stores: Stores) -> Iterator[PackRow]:
    for row in pack_rows(stores):
        if row.length and row.state in (PackState.LIVE, PackState.ABANDONED):
            yield row


def pack_rows(stores: Stores) -> Iterator[PackRow]:
    return rows_of(stores.packs)


def rows_of(registry: PackRegistry) -> Iterator[PackRow]:
    after = NO_PACK
    while page := registry.rows(after):
        yield from page
        after = page[-1].number
