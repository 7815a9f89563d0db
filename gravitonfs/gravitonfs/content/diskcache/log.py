"""The segments of a cache as a log: what comes in is appended, and whole segments go when room is needed.

Order: a record is written, then found by readers; a segment is forgotten, then removed.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

from gravitonfs.content.diskcache import format as fmt
from gravitonfs.content.diskcache.chains import PROBATION, PROTECTED, Chains
from gravitonfs.content.diskcache.folder import Folder
from gravitonfs.content.diskcache.format import RECORD
from gravitonfs.content.diskcache.index import RECORDS_MAX, Index
from gravitonfs.content.diskcache.segment import WINDOW, Segment, SegmentWriter, name_of
from gravitonfs.core.codec import RAW
from gravitonfs.core.ids import BlockId

log = logging.getLogger("graviton.cache")

_SEGMENTS: Final = 128
"""The budget in so many: eviction takes away one at a time, and each is a file open for reading."""
_SEGMENTS_MAX: Final = 3 * _SEGMENTS
"""That are loaded: those that mounts left which did not run alone may be small."""
_LARGEST_SEGMENT: Final = 1 << 31
_SHARE_OF_INDEX: Final = 16
"""A segment of tiny blocks is at an end when it takes so much of the index."""
_RESERVE: Final = 16 << 30
_SHARE_LEFT: Final = 20


def _default_reserve(path: Path) -> int:
    found = os.statvfs(path)
    return min(_RESERVE, found.f_blocks * found.f_frsize // _SHARE_LEFT)


class SegmentLog:
    """For one thread, after ``load``; any method may raise ``OSError``, and ``give_up`` is to be called then.
    ``lock``, which others share, guards the index and the columns of segments."""

    def __init__(
        self,
        folder: Folder,
        scope: bytes,
        budget: int,
        index: Index,
        lock: threading.Condition,
        reserve: int | None = None,
    ) -> None:
        """``reserve``: bytes left free on the disk, whatever the budget; None: by its size."""
        self._folder = folder
        self._scope = scope
        self._budget = budget
        self.reserve = _default_reserve(folder.path) if reserve is None else reserve
        self._index = index
        self._lock = lock
        self._segment_size = min(max(2 * WINDOW, budget // _SEGMENTS), _LARGEST_SEGMENT)
        self._chains = Chains()
        self._writers: dict[int, SegmentWriter] = {}
        self._number = 0
        self._evicting = False
        self.filled = self.filled_bytes = self.evicted = self.evicted_bytes = 0

    @property
    def used(self) -> int:
        """Bytes on disk. From any thread."""
        return self._chains.bytes + sum(writer.segment.size for writer in tuple(self._writers.values()))

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return sum(writer.waiting for writer in self._writers.values())

    def load(self) -> None:
        """What processes before this one left, the newest first as far as budget and index go."""
        found: list[Segment] = []
        room, records = self._budget - 2 * self._segment_size, self._index.limit
        for number, path in reversed(self._folder.segments()):
            self._number = max(self._number, number)
            fits = len(found) < _SEGMENTS_MAX and os.stat(path).st_size <= room
            segment = self._loaded(number, path) if fits else None
            if segment is None or len(segment.columns) > records:
                path.unlink()
                continue
            found.append(segment)
            room -= segment.size
            records -= len(segment.columns)
        for segment in reversed(found):
            self._index.add(segment)
            self._chains.add(segment)

    def _loaded(self, number: int, path: Path) -> Segment | None:
        try:
            segment = Segment(path, number, PROBATION)
            return segment if segment.load(self._scope) else None
        except OSError as error:
            log.warning("%s of the disk cache cannot be read, and goes: %s", path, error.strerror)
            return None

    # --- in ---

    def append(self, block: BlockId, data: bytes) -> bool:
        """False: there is no room for it."""
        with self._lock:
            chain = PROTECTED if self._index.remembered(fmt.key_of(block)) else PROBATION
            records = self._index.records
        if records + self.waiting >= self._index.limit and not self._evict():
            return False
        return self._append(chain, block, RAW, len(data), data)

    def _append(
        self, chain: int, block: BlockId, codec: int, plain: int, payload: bytes, hits: int = 0
    ) -> bool:
        stored = len(payload)
        writer = self._writers.get(chain)
        if writer is not None and not writer.fits(stored):
            self._flush(chain)
        if writer is not None and not writer.takes(stored):
            self._end(chain)
            writer = None
        writer = writer or self._begin(chain)
        if writer is None:
            return False
        writer.append(block, codec, plain, payload, hits)
        return True

    def _begin(self, chain: int) -> SegmentWriter | None:
        """A new segment has all of its room from the start, and room for another is kept: for what is saved
        from an old one that goes."""
        if not self._evicting and not self._make_room():
            return None
        if self._reserved + self._segment_size > self._budget:
            return None
        limit = self._segment_size, min(RECORDS_MAX, self._index.limit // _SHARE_OF_INDEX)
        last = None if self._evicting else self._chains.newest(chain)
        if last is not None and SegmentWriter.resumable(last, *limit):
            self._chains.remove(last)
            try:
                writer = SegmentWriter(last, *limit)
            except OSError:
                self._chains.add(last)
                raise
        else:
            self._number += 1
            path = self._folder.path / name_of(self._number)
            writer = SegmentWriter.begin(path, self._number, chain, self._scope, *limit)
        self._writers[chain] = writer
        return writer

    def flush(self) -> None:
        """All that was appended is found by readers."""
        for chain in list(self._writers):
            self._flush(chain)

    def _flush(self, chain: int) -> None:
        writer = self._writers.get(chain)
        if writer is None or not writer.waiting:
            return
        fresh = writer.flush()
        with self._lock:
            self._index.extend(writer.segment, fresh)
            if chain == PROBATION or not self._evicting:
                self.filled += len(fresh)
                self.filled_bytes += sum(fresh.stored)

    def _end(self, chain: int) -> None:
        self._flush(chain)
        writer = self._writers.pop(chain)
        try:
            writer.end()
        finally:
            writer.give_up()
            self._chains.add(writer.segment)

    # --- room ---

    @property
    def _reserved(self) -> int:
        return self._chains.bytes + len(self._writers) * self._segment_size

    def _make_room(self) -> bool:
        while self._reserved + 2 * self._segment_size > self._budget or self._disk_is_full():
            if not self._evict():
                return False
        return True

    def _disk_is_full(self) -> bool:
        found = os.statvfs(self._folder.path)
        return found.f_bavail * found.f_frsize < self.reserve + self._segment_size

    def _evict(self) -> bool:
        """Give up one segment, after its blocks that were asked for again are in another."""
        segment = self._chains.oldest()
        if segment is None and PROBATION in self._writers:
            self._end(PROBATION)
            segment = self._chains.oldest()
        if segment is None:
            return False
        self._evicting = True
        try:
            self._save(segment)
            self._flush(PROTECTED)
        finally:
            self._evicting = False
            with self._lock:
                self.evicted += self._index.forget(segment)
                self.evicted_bytes += segment.size
            segment.remove()
            self._chains.remove(segment)
        return True

    def _save(self, segment: Segment) -> None:
        columns = segment.columns
        for record, key in enumerate(columns.keys):
            hits = columns.hits[record]
            with self._lock:
                current = self._index.is_at(key, segment, record)
                if current and not hits and segment.chain == PROBATION:
                    self._index.remember(key)
            if not current or not hits:
                continue
            data = segment.read(columns.offsets[record], RECORD + columns.stored[record])
            head = fmt.decode_record(data)
            if head is None or fmt.key_of(head.id) != key:
                continue
            left = hits - 1 if segment.chain == PROTECTED else 0
            if not self._append(PROTECTED, head.id, head.codec, head.plain, data[RECORD:], left):
                return

    # --- the end ---

    def give_up(self) -> None:
        """What is open for writing is only read from now on."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.give_up()
            self._chains.add(writer.segment)

    def close(self) -> None:
        """All that was appended is there when it is opened again."""
        for chain in list(self._writers):
            self._end(chain)
