"""A mount's journal: every write and every batch, as they come; one flush of the disk answers ``fsync``.

A record is needed until the store has what it says for sure: written bytes until a batch that names them is
durable, a batch until it is durable itself. A segment goes when none of its records is needed, the oldest
first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gravitonfs.core.durable import sync_directory
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Unavailable
from gravitonfs.journal import records
from gravitonfs.journal.records import DATA, Applied, Kind, Segment, answer_of
from gravitonfs.journal.segment import SegmentFile
from gravitonfs.ports import wire
from gravitonfs.ports.ops import Attr, Batch, Reply

log = logging.getLogger("graviton.journal")

DEFAULT_LIMIT: Final = 1 << 30
SEGMENT: Final = 32 << 20
"""A segment this long is followed by another."""
_SMALL: Final = 1 << 20
"""A segment that nothing needs any more is not worth replacing below this."""


Position = tuple[int, int]
"""The number of a segment, and the sequence of a record."""


class Journal:
    """Thread-safe. ``_lock`` guards everything but the flush of the disk; ``_syncing`` lets one do that for
    all who wait. ``_lock`` is not taken for longer than a write into the page cache.

    When the disk fails, ``failure`` says so, and nothing more is promised: whoever syncs then waits for the
    store.
    """

    def __init__(
        self, directory: Path, *, source: str, limit: int = DEFAULT_LIMIT, after: Position = (0, 0)
    ) -> None:
        """``after``: the last segment and the last record that are there already."""
        self.directory = directory
        self.limit = limit
        self.source = source
        self.failure: OSError | None = None
        self._segment_size = max(1 << 20, min(SEGMENT, limit // 8))
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._next = after[0] + 1
        self._sequence = self._synced = after[1]
        self._segments: deque[SegmentFile] = deque()
        self._unsynced: list[SegmentFile] = []
        self._new_names = False
        self._head: Segment | None = None
        self._last: dict[Ino, int] = {}
        self._before: dict[Ino, Attr] = {}
        self._applied: deque[Applied] = deque()
        self._answered = 0
        self._durable = 0

    # --- the session ---------------------------------------------------------------------------------

    def attached(self, store: bytes, volume: str, handle: bytes, session: int, last: int) -> None:
        """What is recorded from now on belongs to this session, whose last batch is ``last``. On disk when
        this returns: without it nothing could be replayed."""
        head = Segment(records.VERSION, store, volume, self.source, handle, session)
        with self._lock:
            if head == self._head:
                return
            first = self._head is None
            if self._head is not None and session != self._head.session:
                for one in self._applied:  # in the namespace, as far as anybody will ever know
                    self._release(one)
                self._applied.clear()
            self._head = head
            self._answered = max(last, self._answered if self._is_of(session) else 0)
            self._durable = 0
            self._begin_segment()
        try:
            self.sync()
        except Unavailable:
            if first:
                raise

    def _is_of(self, session: int) -> bool:
        return bool(self._segments) and self._segments[-1].session == session

    def resizing(self, attr: Attr) -> None:
        """The next batch that sets the size of this file follows on ``attr``. Without it a recovery could not
        tell what the file was before from what somebody else has made of it since."""
        with self._lock:
            self._before[attr.ino] = attr

    def sending(self, batches: Sequence[Batch]) -> None:
        """Before they are sent."""
        with self._lock:
            for batch in batches:
                self._append(Kind.BATCH, wire.encode_batches([batch]))
                if self._segments:
                    current = self._segments[-1]
                    current.last_batch = max(current.last_batch, batch.number)
                # Behind the batch, so that its segment is not older than the batch's.
                before = [self._before.pop(ino) for ino in records.truncated(batch) if ino in self._before]
                if before:
                    seen = Reply(0, tuple(before), None, 0)
                    self._append(Kind.ANSWERS, records.encode([answer_of(seen)]))

    def answered(self, replies: Sequence[Reply]) -> None:
        with self._lock:
            if replies:
                self._append(Kind.ANSWERS, records.encode([answer_of(reply) for reply in replies]))
                self._answered = max(self._answered, replies[-1].number)

    def durable_through(self, number: int) -> None:
        """Batches up to here survive whatever happens to the store's processes."""
        with self._lock:
            if number <= self._durable:
                return
            self._durable = number
            released = False
            while self._applied and self._applied[0].number <= number:
                self._release(self._applied.popleft())
                released = True
            if released:
                self._append(Kind.DURABLE, records.encode(number))
        self.trim()

    # --- bytes ---------------------------------------------------------------------------------------

    def write(self, attr: Attr, offset: int, data: bytes, time_ns: int) -> None:
        """Bytes that a program has written to a file, before they are taken over. Never waits for the disk's
        flush."""
        prefix = DATA.pack(attr.ino, offset, attr.content, attr.version, time_ns)
        with self._lock:
            self._append(Kind.DATA, prefix, data)
            if self._segments:
                self._segments[-1].hold(attr.ino, self._sequence, len(data))
                self._last[attr.ino] = self._sequence

    def last_of(self, ino: Ino) -> int:
        """The sequence of the last bytes of an inode: 0 where the store has all of them for sure."""
        return self._last.get(ino, 0)

    def applied(self, ino: Ino, sequence: int) -> None:
        """The namespace has the bytes of an inode up to here; soon it will have them for sure."""
        if not sequence:
            return
        with self._lock:
            mark = Applied(ino, sequence, self._answered)
            self._append(Kind.APPLIED, records.encode(mark))
            if self._answered <= self._durable:
                self._release(mark)
            else:
                self._applied.append(mark)

    def _release(self, mark: Applied) -> None:
        ino = Ino(mark.ino)
        for segment in self._segments:
            segment.release(ino, mark.sequence)
        if self._last.get(ino, 0) <= mark.sequence:
            self._last.pop(ino, None)

    # --- the disk ------------------------------------------------------------------------------------

    def _append(self, kind: Kind, *parts: bytes) -> None:
        if self.failure is not None or self._head is None:
            return
        if self._segments[-1].size >= self._segment_size:
            self._begin_segment()
        try:
            self._put(kind, parts)
        except OSError as error:
            self._failed(error)

    def _put(self, kind: Kind, parts: Sequence[bytes]) -> None:
        sequence = self._sequence + 1
        self._segments[-1].append([records.head(kind, parts, sequence, self._synced), *parts])
        self._sequence = sequence

    def _begin_segment(self) -> None:
        assert self._head is not None
        try:
            segment = SegmentFile(self.directory, self._next, self._head.session)
            self._next += 1
            self._segments.append(segment)
            self._unsynced.append(segment)
            self._new_names = True
            self._put(Kind.SEGMENT, [records.encode(self._head)])
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
            log.error(
                "the journal in %s cannot be written (%s): from now on fsync waits for the store;"
                " mount again when the disk is well",
                self.directory,
                error,
            )

    def sync(self) -> None:
        """Everything recorded so far is on disk when this returns. Unavailable where the disk has failed."""
        with self._lock:
            wanted = self._sequence
        with self._syncing:
            if self._synced < wanted and self.failure is None:
                self._flush()
        if self.failure is not None:
            raise Unavailable(f"the journal cannot be written: {self.failure}")

    def _flush(self) -> None:
        with self._lock:
            through = self._sequence
            segments, self._unsynced = self._unsynced, []
            if self._segments and self._segments[-1] not in segments:
                segments.append(self._segments[-1])
            names, self._new_names = self._new_names, False
        try:
            for segment in segments:
                os.fdatasync(segment.fd)
            if names:
                sync_directory(self.directory)
        except OSError as error:
            self._failed(error)
            return
        with self._lock:
            self._synced = through
            for segment in segments:
                if segment is not self._segments[-1]:
                    segment.close()

    def trim(self) -> None:
        """Delete what nothing needs any more, the oldest first, each for good before the next."""
        with self._syncing:
            while (gone := self._removable()) is not None:
                try:
                    gone.path.unlink(missing_ok=True)
                    sync_directory(self.directory)
                except OSError as error:
                    log.warning("a segment of the journal stays behind: %s", error)
                gone.close()

    def _removable(self) -> SegmentFile | None:
        with self._lock:
            if self._head is None:
                return None
            session = self._head.session
            if not self._segments[0].is_done(session, self._durable):
                return None
            if len(self._segments) == 1:
                if self._segments[0].size <= _SMALL:
                    return None
                self._begin_segment()
                if len(self._segments) == 1:
                    return None  # the disk has failed
            gone = self._segments.popleft()
            if gone in self._unsynced:
                self._unsynced.remove(gone)
            return gone

    # --- how much ------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes on the local disk."""
        with self._lock:
            return sum(segment.size for segment in self._segments)

    @property
    def full(self) -> bool:
        """Whoever writes should wait until the store has more of what is here."""
        return self.size > self.limit

    @property
    def crowded(self) -> bool:
        """Time to give the store what nobody has asked to have stored yet."""
        return self.size > self.limit // 2

    def oldest(self) -> list[Ino]:
        """The inodes whose bytes keep the first segment, and with it the others."""
        with self._lock:
            for segment in self._segments:
                if segment.held:
                    return list(segment.held)
        return []

    @property
    def held_bytes(self) -> int:
        """Written bytes that the store does not have for sure."""
        with self._lock:
            return sum(size for segment in self._segments for _, size in segment.held.values())

    @property
    def idle(self) -> bool:
        """The store has everything for sure."""
        with self._lock:
            head = self._head
            if head is None:
                return True
            return all(one.is_done(head.session, self._durable) for one in self._segments)

    # --- the end -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop writing. Where the store has everything nothing is left behind; else all is on disk."""
        if self._head is None:
            return
        idle = self.idle
        if not idle:
            with contextlib.suppress(Unavailable):
                self.sync()
        with self._syncing, self._lock:
            self._head = None
            for segment in self._segments:
                segment.close()
                if idle:
                    segment.path.unlink(missing_ok=True)
            self._segments.clear()
            self._unsynced.clear()
