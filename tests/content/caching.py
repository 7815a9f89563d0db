"""A pack store that counts what it is asked for, and disk caches in front of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from gravitonfs.content.diskcache.cache import CacheSettings, DiskCache
from gravitonfs.content.diskcache.store import CachedBlockStore
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.testing.blockstore_suite import raw
from gravitonfs.testing.faulty import Faults, FaultyBlockStore
from harness.waiting import wait_until
from packs.rig import Rig

MIB = 1 << 20
STORE = bytes(range(16))


class Bench:
    """A pack store that counts what it is asked for, and caches in front of it."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "cache"
        self.rig = Rig(place / "rig", pack_size=32 * MIB)
        self.faults = Faults()
        self.store: BlockStore = FaultyBlockStore(self.rig.store, self.faults)
        self.opened: list[DiskCache] = []

    def open(
        self, budget: int = 64 * MIB, memory: int = 64 * MIB, store: bytes = STORE, key: bytes = b""
    ) -> DiskCache:
        made = DiskCache(CacheSettings(self.folder, budget, memory, reserve=0), store, key)
        self.opened.append(made)
        return made

    @property
    def asked(self) -> int:
        return self.faults.calls["get"] + self.faults.calls["near"]

    def put(self, count: int, size: int = 200_000) -> tuple[list[bytes], list[tuple[BlockId, PackNumber]]]:
        plain = [random.randbytes(size) for _ in range(count)]
        return plain, self.put_all([raw(data) for data in plain])

    def put_all(self, blocks: Sequence[Block]) -> list[tuple[BlockId, PackNumber]]:
        packs = self.rig.store.put(blocks)
        return [(block.id, pack) for block, pack in zip(blocks, packs, strict=True)]

    def size(self) -> int:
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        return total

    def segments(self) -> list[Path]:
        return sorted(self.folder.rglob("*.segment"))

    def close(self) -> None:
        for cache in self.opened:
            cache.close()
        self.rig.close()


Wanted = Sequence[tuple[BlockId, PackNumber]]


def read(store: BlockStore, wanted: Wanted) -> list[bytes]:
    return [bytes(data) for data in store.get(wanted)]


def kept(cache: DiskCache, wanted: Wanted) -> list[bool]:
    return [place is not None for place in cache.find([block for block, _ in wanted])]


def fill(bench: Bench, cache: DiskCache, wanted: Wanted, step: int = 16) -> None:
    """Read, and wait until all of it is kept; slowly enough that nothing is dropped."""
    store = CachedBlockStore(bench.store, cache)
    for at in range(0, len(wanted), step):
        part = wanted[at : at + step]
        read(store, part)
        wait_until(lambda part=part: all(kept(cache, part)), "the blocks to be kept")  # type: ignore[misc]
