"""Blocks on a local disk, within a budget of bytes; read by many threads, written by one of its own.

Nothing here is relied on: a block that cannot be read, or is not what its id says, is a miss. Nothing is
synced either; after a power cut some of it is gone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from typing_extensions import Buffer

from gravitonfs.content.diskcache import format as fmt
from gravitonfs.content.diskcache.chains import HITS
from gravitonfs.content.diskcache.folder import Folder
from gravitonfs.content.diskcache.format import RECORD, key_of
from gravitonfs.content.diskcache.index import BYTES_EACH, Index
from gravitonfs.content.diskcache.log import SegmentLog
from gravitonfs.content.diskcache.segment import LARGEST, Segment
from gravitonfs.core.codec import RAW, decode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId
from gravitonfs.core.units import format_size
from gravitonfs.errors import Damaged, Invalid

log = logging.getLogger("graviton.cache")

SMALLEST: Final = 64 << 20
"""A budget under this is refused: it would be a handful of segments."""
_IDLE: Final = 1.0
"""Seconds after which what waits in a window is written."""
_PAUSE: Final = 60.0
"""Seconds for which nothing is written after the disk failed."""


class CacheSettings(NamedTuple):
    """``budget``: bytes on disk. ``memory``: bytes for the index and for what waits to be written.
    ``required``: somebody has asked for just this one. ``reserve``: bytes that stay free on that disk; None:
    a twentieth of it, at most 16 GiB."""

    directory: Path
    budget: int
    memory: int = 64 << 20
    required: bool = True
    reserve: int | None = None


class CacheCounters(NamedTuple):
    """Since the process started; ``bytes``, ``blocks`` and ``limit`` are levels. ``dropped``: blocks that
    came faster than the disk took them, and were not kept."""

    hits: int
    hit_bytes: int
    misses: int
    filled: int
    filled_bytes: int
    dropped: int
    evicted: int
    evicted_bytes: int
    damaged: int
    bytes: int
    blocks: int
    limit: int


class Place(NamedTuple):
    segment: Segment
    record: int
    key: int


class _Waiting(NamedTuple):
    block: BlockId
    data: bytes


class DiskCache:
    """Thread-safe. ``_lock`` (a condition) guards the index, the columns of segments, the queue, ``_told``
    and the counters; the log is the writing thread's own."""

    def __init__(self, settings: CacheSettings, store: bytes, block_key: bytes = b"") -> None:
        """``store``: the store's UUID, or what else tells it from others. Raises ``Invalid``, ``OSError``."""
        if settings.budget < SMALLEST:
            raise Invalid(f"a disk cache has at least {format_size(SMALLEST)}")
        self.limit = settings.budget
        self._required = settings.required
        self._block_key = block_key
        self._queue_limit = min(32 << 20, max(4 << 20, settings.memory // 2))
        self._lock = threading.Condition()
        self._index = Index(max(4096, settings.memory // 2 // BYTES_EACH))
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._coming: set[int] = set()
        self._closing = False
        self._hits = self._hit_bytes = self._misses = self._dropped = self._damaged = 0
        self._paused_until = 0.0
        self._told: set[str] = set()
        scope = store[:16].ljust(16, b"\0") + (block_id(block_key)[:8] if block_key else bytes(8))
        self._folder = Folder(settings.directory, scope)
        try:
            self._log = SegmentLog(
                self._folder, scope, settings.budget, self._index, self._lock, settings.reserve
            )
            self._log.load()
        except BaseException:
            self._folder.release()
            raise
        self._thread = threading.Thread(target=self._run, name="disk-cache", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        return self._folder.path

    # --- out ---

    def find(self, blocks: Iterable[BlockId]) -> list[Place | None]:
        """Where each is, without a look at the disk."""
        result: list[Place | None] = []
        with self._lock:
            for block in blocks:
                key = key_of(block)
                found = self._index.find(key)
                result.append(None if found is None else Place(*found, key))
        return result

    def read(self, block: BlockId, place: Place) -> Buffer | None:
        """The plain bytes, verified; None where they are not there, and not looked for there again."""
        segment, record, _ = place
        columns = segment.columns
        stored = columns.stored[record]
        try:
            payload: Buffer = segment.read(columns.offsets[record] + RECORD, stored)
        except OSError as error:
            self._tell("read", "the disk cache %s cannot be read: %s", self.path, error.strerror)
            payload = b""
        plain = self._plain(block, columns.codecs[record], payload, columns.plain[record])
        self._count(place, plain is not None, stored)
        return plain

    def read_cached(self, block: BlockId) -> Buffer | None:
        """As ``read``, but None also where the disk would be waited for."""
        place = self.find((block,))[0]
        if place is None:
            return None
        segment, record, _ = place
        columns = segment.columns
        stored = columns.stored[record]
        payload = segment.read_cached(columns.offsets[record] + RECORD, stored)
        if payload is None:
            return None
        plain = self._plain(block, columns.codecs[record], payload, columns.plain[record])
        self._count(place, plain is not None, stored)
        return plain

    def read_near(self, block: BlockId, place: Place, span: int) -> list[tuple[BlockId, Buffer]]:
        """The block, first, and those that came in behind it, as far as they verify; nothing where ``read``
        would return None."""
        segment, record, _ = place
        offset, stored = segment.columns.offsets[record], segment.columns.stored[record]
        try:
            data = memoryview(segment.read(offset, max(RECORD + stored, span)))
        except OSError:
            data = memoryview(b"")
        found: list[tuple[BlockId, Buffer]] = []
        at = 0
        while (head := fmt.decode_record(data, at)) is not None:
            payload = data[at + RECORD : at + RECORD + head.stored]
            at += RECORD + head.stored
            if head.codec == fmt.PADDING or at > len(data):
                continue
            plain = self._plain(head.id, head.codec, payload, head.plain)
            if plain is not None and (found or head.id == block):
                found.append((head.id, bytes(plain) if head.codec == RAW else plain))
            elif not found:
                break
        self._count(place, bool(found), stored)
        return found

    def _plain(self, block: BlockId, codec: int, payload: Buffer, length: int) -> Buffer | None:
        try:
            plain = decode(codec, payload, length)
        except Damaged:
            return None
        return plain if block_id(plain, self._block_key) == block else None

    def _count(self, place: Place, good: bool, stored: int) -> None:
        segment, record, key = place
        with self._lock:
            if good:
                self._hits += 1
                self._hit_bytes += stored
                hits = segment.columns.hits
                hits[record] = min(HITS, hits[record] + 1)
                return
            self._damaged += 1
            self._index.drop(key, segment, record)
        self._tell("damaged", "a block in the disk cache %s was damaged: the store is asked", self.path)

    # --- in ---

    def offer(self, blocks: Sequence[tuple[BlockId, Buffer]], *, missed: int) -> None:
        """Blocks that were fetched and verified, ``missed`` of them asked for: kept where there is time.
        Returns at once; the bytes are copied, where they are no ``bytes`` of their own."""
        with self._lock:
            self._misses += missed
            if self._closing or self._paused_until > time.monotonic():
                return
            wanted = [pair for pair in blocks if self._admits(*pair)]
        if not wanted:
            return
        own = [_Waiting(block, data if isinstance(data, bytes) else bytes(data)) for block, data in wanted]
        with self._lock:
            self._queue += own
            self._lock.notify()

    def _admits(self, block: BlockId, data: Buffer) -> bool:
        key, size = key_of(block), memoryview(data).nbytes
        if key in self._index or key in self._coming or not 0 < size <= LARGEST:
            return False
        if self._queued + size > self._queue_limit:
            self._dropped += 1
            return False
        self._coming.add(key)
        self._queued += size
        return True

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                if not batch:
                    self._log.flush()
                elif self._paused_until <= time.monotonic():
                    for one in batch:
                        if not self._log.append(one.block, one.data):
                            self._no_room()
            except OSError as error:
                self._failed(error)
            except Exception:
                log.exception("the disk cache %s is off", self.path)
                self._paused_until = float("inf")
            with self._lock:
                self._queued -= sum(len(one.data) for one in batch)
                self._coming.difference_update(key_of(one.block) for one in batch)
        with contextlib.suppress(OSError):
            self._log.close()

    def _next(self) -> list[_Waiting] | None:
        """What has come; nothing where nothing came for a while, and some is not written; None: the end."""
        with self._lock:
            if not self._queue and not self._closing:
                self._lock.wait(_IDLE if self._log.waiting else None)
            batch = list(self._queue)
            self._queue.clear()
            return None if self._closing and not batch else batch

    # --- trouble ---

    def _failed(self, error: OSError) -> None:
        """The disk is full, or fails: what is kept stays readable, and it is tried again later."""
        self._tell(
            "write",
            "nothing more is kept in the disk cache %s for now, as writing failed: %s",
            self.path,
            error.strerror,
        )
        self._log.give_up()
        self._paused_until = time.monotonic() + _PAUSE

    def _no_room(self) -> None:
        """The disk is so full that not even one segment has a place."""
        self._tell(
            "room",
            "the disk cache %s keeps nothing more for now: its disk has too little free beside the %s that"
            " are left to others (cache-reserve=)",
            self.path,
            format_size(self._log.reserve),
            level=logging.WARNING if self._required else logging.INFO,
        )

    def _tell(self, what: str, message: str, *values: object, level: int = logging.WARNING) -> None:
        """Once for each kind of trouble."""
        with self._lock:
            if what in self._told:
                return
            self._told.add(what)
        log.log(level, message, *values)

    def counters(self) -> CacheCounters:
        with self._lock:
            return CacheCounters(
                self._hits,
                self._hit_bytes,
                self._misses,
                self._log.filled,
                self._log.filled_bytes,
                self._dropped,
                self._log.evicted,
                self._log.evicted_bytes,
                self._damaged,
                self._log.used,
                len(self._index),
                self.limit,
            )

    def close(self) -> None:
        """Write what waits, and let go of the directory. Idempotent."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()
        self._log.give_up()
        self._folder.release()


def open_cache(settings: CacheSettings, store: bytes, block_key: bytes) -> DiskCache | None:
    """As ``DiskCache``. Raises ``Invalid`` where the directory cannot be used; None, and a warning, where
    nobody has asked for it."""
    try:
        try:
            return DiskCache(settings, store, block_key)
        except OSError as error:
            raise Invalid(
                f"the disk cache in {settings.directory} cannot be used: {error.strerror};"
                " choose another cache-dir, or none with cache-size=0"
            ) from error
    except Invalid as error:
        if settings.required:
            raise
        log.warning("%s; going on without one", error)
        return None
