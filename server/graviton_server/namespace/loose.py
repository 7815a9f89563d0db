"""Loose blocks: kept in the database until they are put into packs.

Their ids are kept in memory too, under the store's lock: nearly every question about one is answered
"no" without a query, and a batch that brings one writes no index. Their number is bounded by the byte
budget that whoever drains them keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import LooseBlock

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_ADD: Final = "INSERT INTO loose (n, id, codec, plain_length, payload) VALUES (?, ?, ?, ?, ?)"
_GET: Final = "SELECT id, codec, plain_length, payload FROM loose WHERE n = ?"
_DROP: Final = "DELETE FROM loose WHERE n = ?"
_ALL: Final = "SELECT n, id, length(payload) FROM loose ORDER BY n"


class _Place(NamedTuple):
    n: int
    length: int


class SqlLoose:
    """Implements ``LooseBlocks``."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._places: dict[BlockId, _Place] = {}
        self._next = 1
        self.bytes = 0

    def load(self) -> None:
        rows = self._store.execute(_ALL).fetchall()
        self._places = {BlockId(block): _Place(n, length) for n, block, length in rows}
        self.bytes = sum(length for _, _, length in rows)
        self._next = rows[-1][0] + 1 if rows else 1

    def insert(self, blocks: Sequence[LooseBlock]) -> dict[BlockId, _Place]:
        """Inside a batch: write those that are not here yet. They count once ``inserted`` says so."""
        fresh: dict[BlockId, _Place] = {}
        n = self._next
        for block in blocks:
            if block.id not in self._places and block.id not in fresh:
                self._store.execute(_ADD, (n, block.id, block.codec, block.plain_length, block.payload))
                fresh[block.id] = _Place(n, len(block.payload))
                n += 1
        return fresh

    def inserted(self, fresh: dict[BlockId, _Place]) -> int:
        """Their batch is applied; returns the bytes they added."""
        self._places.update(fresh)
        self._next += len(fresh)
        size = sum(place.length for place in fresh.values())
        self.bytes += size
        return size

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        places = self._places
        if not any(block in places for block in ids):
            return {}
        found: dict[BlockId, Block] = {}
        with self._store.reading() as execute:
            for block in ids:
                place = self._places.get(block)
                if place is not None and block not in found:
                    found[block] = Block._make(execute(_GET, (place.n,)).fetchone())
        return found

    def loose_page(self, limit_bytes: int) -> list[Block]:
        page: list[Block] = []
        size = 0
        with self._store.reading() as execute:
            for place in self._places.values():
                size += place.length
                if page and size > limit_bytes:
                    break
                page.append(Block._make(execute(_GET, (place.n,)).fetchone()))
        return page

    def loose_drop(self, ids: Sequence[BlockId], packs: Sequence[PackNumber] = ()) -> None:
        store = self._store
        with store.lock:
            if packs:
                store.packs.refused(packs)
                store.packs.rely(packs, store.clock_ns())
            store.change(self._drop, tuple(ids))

    def _drop(self, ids: Sequence[BlockId]) -> None:
        for block in ids:
            place = self._places.pop(block, None)
            if place is not None:
                self.bytes -= place.length
                self._store.execute(_DROP, (place.n,))

    def loose_bytes(self) -> int:
        return self.bytes

    def ids(self) -> list[BlockId]:
        with self._store.lock:
            return list(self._places)
