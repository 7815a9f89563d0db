"""Plain blocks in memory, least recently used out first."""

from __future__ import annotations

import threading
from collections import OrderedDict

from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId


class BlockCache:
    """Verified plain bytes by block id, within a byte budget. Thread-safe.

    ``_lock`` guards the map and its size. Counters are plain integers: a lost increment is harmless.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[BlockId, Buffer] = OrderedDict()
        self._bytes = 0

    @property
    def used(self) -> int:
        return self._bytes

    def get(self, block: BlockId) -> Buffer | None:
        with self._lock:
            found = self._blocks.get(block)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._blocks.move_to_end(block)
            return found

    def __contains__(self, block: BlockId) -> bool:
        return block in self._blocks

    def put(self, block: BlockId, data: Buffer) -> None:
        """Keep a block; a copy of it where ``data`` may be part of something larger."""
        size = memoryview(data).nbytes
        if block in self._blocks or size > self.limit:
            return
        kept = data if isinstance(data, bytes) else bytes(data)
        with self._lock:
            if block in self._blocks:
                return
            self._blocks[block] = kept
            self._bytes += size
            while self._bytes > self.limit:
                _, old = self._blocks.popitem(last=False)
                self._bytes -= memoryview(old).nbytes

    def clear(self) -> None:
        with self._lock:
            self._blocks.clear()
            self._bytes = 0
