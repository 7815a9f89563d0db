"""A block store that keeps to a rate, for mounts that shall leave room for others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Throttled
from gravitonfs.ports.blocks import Block, BlockStore, StoreCounters

_BURST = 0.25
"""Seconds' worth of bytes that may go at once after a pause."""


class Pace:
    """So many bytes a second, shared by all threads. ``_lock`` guards ``_free_at``."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def charge(self, count: int) -> float:
        """Take the room that ``count`` bytes need; returns in how many seconds it is there."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST) + count / self._rate
            return self._free_at - now

    def spend(self, count: int) -> None:
        """As ``charge``, and wait."""
        wait = self.charge(count)
        if wait > 0:
            time.sleep(wait)

    @property
    def exhausted(self) -> bool:
        return self._free_at > time.monotonic()


class LimitedBlockStore:
    """Wraps a store: ``put`` keeps to ``upload``, everything that reads to ``download`` bytes a second."""

    def __init__(self, store: BlockStore, *, upload: Pace | None, download: Pace | None) -> None:
        self._store = store
        self._upload = upload
        self._download = download

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        return self._store.missing(ids)

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        if self._upload is not None:
            self._upload.spend(sum(memoryview(block.payload).nbytes for block in blocks))
        return self._store.put(blocks)

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        for data in self._store.get(wanted):
            if self._download is not None:
                self._download.spend(memoryview(data).nbytes)
            yield data

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        for block in self._store.stored(wanted):
            if self._download is not None:
                self._download.spend(memoryview(block.payload).nbytes)
            yield block

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        """None also where the rate is used up: the caller then asks again where waiting is allowed."""
        if self._download is not None and self._download.exhausted:
            return None
        data = self._store.get_cached(block, hint)
        if data is not None and self._download is not None:
            self._download.charge(memoryview(data).nbytes)  # not waited for: an event loop asks
        return data

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        found = self._store.near(block, hint, span)
        if self._download is not None:
            self._download.spend(sum(memoryview(data).nbytes for _, data in found))
        return found

    def sync(self, packs: Sequence[PackNumber]) -> None:
        self._store.sync(packs)

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        self._store.forget_packs(packs)

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        return self._store.stored_bytes(ids)

    def counters(self) -> StoreCounters:
        return self._store.counters()


class ByteRate:
    """So many bytes a second with a burst, shared by a server's front ends. ``_lock`` guards the rest."""

    def __init__(self, bytes_per_second: int, burst: int) -> None:
        self._rate = bytes_per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._room = float(burst)
        self._at = time.monotonic()

    def spend(self, count: int, patience: float) -> None:
        """Take ``count`` bytes and wait until the rate allows them; ``Throttled``, and nothing taken, where
        that would take longer than ``patience`` seconds."""
        with self._lock:
            now = time.monotonic()
            self._room = min(self._burst, self._room + (now - self._at) * self._rate)
            self._at = now
            wait = (count - self._room) / self._rate
            if wait > patience:
                raise Throttled("the server's byte rate is used up: try again later", wait - patience)
            self._room -= count
        if wait > 0:
            time.sleep(wait)

    def pace(self, count: int, patience: float) -> None:
        """As ``spend``, in steps: a large piece of one that is alone is slow, and not refused."""
        step = max(1, int(min(patience, 60.0) * self._rate / 2))
        while count > 0:
            self.spend(min(count, step), patience)
            count -= step


class UploadSlots:
    """So many uploads at a time, in all front ends together; one more is told to come back."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def one(self) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise Throttled(f"{self._count} uploads are running already: try again later")
        try:
            yield
        finally:
            self._free.release()
