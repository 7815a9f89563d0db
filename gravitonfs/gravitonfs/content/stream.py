"""A sequential run of one file's bytes, on its way into blocks while its writer goes on.

Stage one (join, cut, hash, digest) takes one segment after the other, because a segment's uncut tail
is carried into the next. Stage two (ask, compress, put) of several segments overlaps. Batches that
name the blocks are applied in order again.
"""

from __future__ import annotations

import threading
from collections import deque

from gravitonfs.content.ingest import Ingest, Piece, Stored
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import GravitonError, Internal, MissingBlocks
from gravitonfs.ports.ops import Attr, Write

SEGMENT = 8 << 20
"""Bytes gathered before the workers get them: so many that a thread hop does not count."""
QUICK = 128 << 10
"""A flush of at most this much, with nothing in flight, costs its caller microseconds."""
HOLD = 64 << 20
"""So many bytes may be stored and wait for their packs to fill up before they are named."""
_RETRIES = 8


class _Segment:
    """Pieces in stage two. After an error they are kept for another try."""

    __slots__ = ("end", "error", "held", "pieces", "stored")

    def __init__(self, pieces: list[Piece], held: int, end: int) -> None:
        self.pieces = pieces
        self.held = held
        self.end = end
        self.stored: Stored | None = None
        self.error: GravitonError | None = None


class Stream:
    """One run of inode ``ino`` from ``start`` on. ``append``, ``flush``: one thread at a time.

    ``_state`` (a condition) guards the queue, the segments and ``_cutting``; ``_applying`` makes
    batches go out in order. Neither is held while the other is taken by a worker that holds it.
    """

    def __init__(self, ingest: Ingest, ino: Ino, start: int, version: int, *, whole: bool) -> None:
        """``whole``: the file is empty and the run starts at 0, so its digest can be streamed."""
        self._ingest = ingest
        self._ino = ino
        self.end = start
        self.version = version
        self.attr: Attr | None = None
        self.new_bytes = 0
        """Of what is named by now: the bytes that the store did not have."""
        self._mtime_ns = 0
        self._chunker = ingest.chunker()
        self._hasher = content_hasher() if whole else None
        self._parts: list[bytes] = []
        self._gathered = 0
        self._carry = b""
        self._carry_held = 0
        self._cut_to = start
        self._named_to = start  # segments cover the file up to here; the carry may reach further
        self._queue: deque[tuple[list[bytes], int]] = deque()
        self._segments: deque[_Segment] = deque()
        self._cutting = False
        self._failed: GravitonError | None = None
        self._state = threading.Condition()
        self._applying = threading.Lock()

    @property
    def quick(self) -> bool:
        """A flush costs microseconds: little gathered, nothing in flight."""
        return self._gathered <= QUICK and not self._segments and not self._cutting

    @property
    def pending(self) -> bool:
        """Some bytes are not named in the namespace yet."""
        busy = self._gathered or self._queue or self._cutting  # before the segments: they follow from it
        return bool(busy or self._segments or self._carry_waits)

    @property
    def _carry_waits(self) -> bool:
        """No segment has named the end of the carry yet."""
        return self._cut_to + len(self._carry) > self._named_to

    @property
    def gathered_from(self) -> int:
        """Where the bytes start that no worker has yet."""
        return self.end - self._gathered

    @property
    def error(self) -> GravitonError | None:
        """What the oldest segment failed with, if it did; a flush tries it again."""
        if self._failed is not None:
            return self._failed
        with self._state:
            return self._segments[0].error if self._segments else None

    def preload(self, tail: bytes, *, digested: bool = True) -> None:
        """Stored bytes right before the run, to be cut again with what follows."""
        if not digested and self._hasher is not None:
            self._hasher.update(tail)
        self._carry = tail
        self._cut_to -= len(tail)

    def append(self, data: bytes, mtime_ns: int) -> None:
        self._parts.append(data)
        size = len(data)
        self._gathered += size
        self.end += size
        self._mtime_ns = mtime_ns
        self._ingest.budget.add(size)
        if self._gathered >= SEGMENT:
            self._hand_over()

    def overwrite(self, offset: int, data: bytes, mtime_ns: int) -> bool:
        """Replace gathered bytes; False, and nothing done, when some of the range is not among them."""
        start = self.gathered_from
        if offset < start or offset + len(data) > self.end:
            return False
        gathered = bytearray(b"".join(self._parts))
        gathered[offset - start : offset - start + len(data)] = data
        self._parts = [bytes(gathered)]
        self._mtime_ns = mtime_ns
        return True

    def flush(self, *, seal: bool = False, durable: bool = False) -> None:
        """Name every byte in the namespace, and seal the file too if it was written front to back.

        Blocks while workers are at it. After an error the bytes are kept and the next flush tries
        again.
        """
        with self._state:
            self._state.wait_for(lambda: not self._cutting)
        if self._failed is not None:
            raise self._failed
        parts, held = self._take()
        if held or self._carry_waits:
            own = self._stage_one(parts, held, forced=True)
            if own is not None:
                self._store(own, durable=durable)
        with self._state:
            self._state.wait_for(self._all_tried)
        for segment in self._segments:
            if segment.error is not None:
                self._store(segment, durable=False)
                if segment.error is not None:
                    raise segment.error
        digest = self._hasher.digest() if seal and self._hasher is not None else None
        with self._applying:
            ready = self._ready()
            if ready or digest is not None:
                self._apply(ready, seal=digest, durable=durable)
            elif durable:
                self._ingest.session.commit()

    def push(self) -> None:
        """Give the workers what is gathered, however little; and what waits for its packs is looked at."""
        if self._gathered:
            self._hand_over()
        elif self._segments and self._ingest.waits:
            self._ingest.workers.submit(self._apply_ready)

    def discard(self) -> None:
        """Wait for the workers, then forget what is not named yet."""
        with self._state:
            self._state.wait_for(lambda: not self._cutting)
            self._state.wait_for(self._all_tried)
            held = sum(segment.held for segment in self._segments)
            self._segments.clear()
        self._ingest.budget.release(held + self._take()[1] + self._carry_held)
        self._carry, self._carry_held = b"", 0

    def _take(self) -> tuple[list[bytes], int]:
        taken = self._parts, self._gathered
        self._parts, self._gathered = [], 0
        return taken

    def _hand_over(self) -> None:
        with self._state:
            self._queue.append(self._take())
            if self._cutting:
                return
            self._cutting = True
        self._ingest.workers.submit(self._cut_queued)

    def _cut_queued(self) -> None:
        """Stage one of all that is queued, on a worker."""
        while True:
            with self._state:
                if not self._queue or self._failed is not None:
                    self._cutting = False
                    self._state.notify_all()
                    return
                parts, held = self._queue.popleft()
            try:
                segment = self._stage_one(parts, held, forced=False)
            except Exception as error:  # noqa: BLE001  # a worker's error belongs to the next flush
                self._failed = Internal(f"cutting failed: {error!r}")
                continue
            if segment is not None:
                self._ingest.workers.submit(self._stage_two, segment)

    def _stage_one(self, parts: list[bytes], held: int, *, forced: bool) -> _Segment | None:
        carried = len(self._carry)
        data = parts[0] if len(parts) == 1 and not carried else b"".join((self._carry, *parts))
        view = memoryview(data)
        if self._hasher is not None:
            self._hasher.update(view[carried:])
        if forced and len(data) <= self._chunker.minimum:
            lengths = [len(data)]
        else:
            lengths = self._chunker.cut(view, final=forced)
        held += self._carry_held
        if not lengths:
            self._carry, self._carry_held = data, held
            return None
        pieces = self._ingest.hash_pieces(self._cut_to, view, lengths)
        cut = sum(lengths)
        segment = _Segment(pieces, held, self._cut_to + cut)
        # A tail under the minimum is named now and cut again with what follows, so that boundaries
        # do not depend on when somebody called fsync.
        if forced and lengths[-1] < self._chunker.minimum:
            cut -= lengths[-1]
        self._carry, self._carry_held = bytes(view[cut:]), 0
        self._cut_to += cut
        self._named_to = segment.end
        with self._state:
            self._segments.append(segment)
        return segment

    def _stage_two(self, segment: _Segment) -> None:
        self._store(segment, durable=False)
        self._apply_ready()
        with self._state:
            self._state.notify_all()

    def _store(self, segment: _Segment, *, durable: bool) -> None:
        """Never raises: what goes wrong is the segment's ``error``."""
        try:
            segment.stored = self._ingest.store_pieces(segment.pieces, durable=durable)
            segment.error = None
        except GravitonError as error:
            segment.error = error
        except Exception as error:  # noqa: BLE001  # as above: the flush reports it
            segment.error = Internal(f"storing failed: {error!r}")

    def _all_tried(self) -> bool:
        return all(s.stored is not None or s.error is not None for s in self._segments)

    def _apply_ready(self) -> None:
        """Apply the leading segments that are stored.

        Who finds another thread doing so leaves it to that one, which looks again afterwards: bytes
        that are stored must not keep the budget.
        """
        if self._segments and self._ingest.waits:
            self._ingest.held.add(self._apply_ready)  # before looking: what is stored meanwhile counts
        while (ready := self._ripe()) and self._applying.acquire(blocking=False):
            try:
                ready = self._ripe()
                if ready:
                    self._apply(ready, seal=None, durable=False)
            except GravitonError as error:
                ready[0].error = error
            finally:
                self._applying.release()

    def _ripe(self) -> list[_Segment]:
        """As ``_ready``, but only those whose packs are stored: to name the others would mean to store
        packs that are not full. When too much is held up by that, the older half of it."""
        ready = self._ready()
        for at, segment in enumerate(ready):
            if segment.stored is not None and self._ingest.must_wait(segment.stored.packs):
                held = sum(one.held for one in ready)
                crowded = held >= HOLD or (held and self._ingest.budget.exceeded())
                return ready[: max(at, (len(ready) + 1) // 2)] if crowded else ready[:at]
        return ready

    def _ready(self) -> list[_Segment]:
        ready: list[_Segment] = []
        with self._state:
            for segment in self._segments:
                if segment.stored is None or segment.error is not None:
                    break
                ready.append(segment)
        return ready

    def _apply(self, ready: list[_Segment], *, seal: bytes | None, durable: bool) -> None:
        """One batch for these segments; blocks whose packs went away meanwhile are put again."""
        for attempt in range(_RETRIES):
            stored = [s.stored for s in ready if s.stored is not None]
            together = Stored(
                tuple(e for s in stored for e in s.extents),
                tuple({p for s in stored for p in s.packs}),
                tuple(b for s in stored for b in s.loose),
                sum(s.new_bytes for s in stored),
            )
            op = Write(
                self._ino,
                together.extents,
                ready[-1].end if ready else self.end,
                self.version,
                seal,
                self._mtime_ns if ready else 0,
            )
            try:
                pieces = [piece for segment in ready for piece in segment.pieces]
                attr = self._ingest.apply(together, (op,), pieces, durable=durable)[0]
                break
            except MissingBlocks as refusal:
                if attempt == _RETRIES - 1:
                    raise
                self._ingest.store.forget_packs([PackNumber(p) for p in refusal.packs])
                for segment in ready:
                    segment.stored = self._ingest.store_pieces(segment.pieces)
        if not isinstance(attr, Attr):
            raise Internal(f"a Write was answered with {attr!r}")
        if ready and attr.version != self.version + 1:
            self._hasher = None  # somebody else wrote too: what was streamed is not the file
        self.version = attr.version
        self.attr = attr
        self.new_bytes += together.new_bytes
        with self._state:
            for _ in ready:
                self._ingest.budget.release(self._segments.popleft().held)
