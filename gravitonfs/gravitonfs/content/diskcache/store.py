"""A block store with a cache on a local disk in front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from typing_extensions import Buffer

from gravitonfs.content.diskcache.cache import DiskCache
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.blocks import Block, BlockStore, StoreCounters

_NEAR: Final = 128 << 10
"""Read together from a local disk: more would cost more than it saves where files are not read in order."""


class CachedBlockStore:
    """Wraps a store: what is read is looked for in the cache first, and kept there. What is written is not:
    the kernel has it, and it would push out what somebody reads. The owner of the cache closes it."""

    def __init__(self, store: BlockStore, cache: DiskCache) -> None:
        self._store = store
        self._cache = cache

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        places = self._cache.find([block for block, _ in wanted])
        absent = [pair for pair, place in zip(wanted, places, strict=True) if place is None]
        fetched = self._fetch(absent) if absent else iter(())
        for pair, place in zip(wanted, places, strict=True):
            if place is None:
                yield next(fetched)
                continue
            data = self._cache.read(pair[0], place)
            if data is None:
                [data] = self._fetch((pair,))
            yield data
        for _ in fetched:
            pass  # none is left; the store comes to its end, too

    def _fetch(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        for (block, _), data in zip(wanted, self._store.get(wanted), strict=True):
            self._cache.offer(((block, data),), missed=1)
            yield data

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        """Not from here, where they are as they came."""
        return self._store.stored(wanted)

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        found = self._cache.read_cached(block)
        return self._store.get_cached(block, hint) if found is None else found

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        """From the cache: those that came in behind it."""
        place = self._cache.find((block,))[0]
        if place is not None:
            found = self._cache.read_near(block, place, min(span, _NEAR))
            if found:
                return found
        found = self._store.near(block, hint, span)
        self._cache.offer(found, missed=1)
        return found

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        return self._store.missing(ids)

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        return self._store.put(blocks)

    def sync(self, packs: Sequence[PackNumber]) -> None:
        self._store.sync(packs)

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        self._store.forget_packs(packs)

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        return self._store.stored_bytes(ids)

    def counters(self) -> StoreCounters:
        return self._store.counters()
