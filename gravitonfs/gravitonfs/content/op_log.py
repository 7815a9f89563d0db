"""Batches that a session has answered itself, or of which it does not know whether they were applied, until
the store has them in their order.

They go to the store in the background, many in one call, a moment after the first one came, and before
anything else that is asked of the store or sent to it. Their ops and bytes are bounded: who comes when there
is no room waits. A call of which it is not known whether it was applied is made again exactly as it was,
before any other: its numbers never mean anything else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gravitonfs.content.kept import Kept
from gravitonfs.content.predicting import agrees
from gravitonfs.errors import (
    AccessDenied,
    Detached,
    Fenced,
    GravitonError,
    Internal,
    MissingBlocks,
    NoSpace,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Batch, Disclaim, Reply

log = logging.getLogger("graviton.oplog")

OPS_MAX: Final = 1000
BYTES_MAX: Final = 16 << 20
_CALL_BATCHES: Final = 256
_CALL_BYTES: Final = 2 << 20
"""At most so much in one call."""
GATHER: Final = 0.02
"""Seconds from the first batch to the call: those that come meanwhile go along."""
_AGAIN: Final = 1.0
"""Seconds until a store that was away is tried again."""
_ROOM: Final = 60.0
_RETRIES: Final = 4
UNKNOWN: Final = (Unavailable, Throttled, Detached)
"""After these a call may have been applied, or may yet be."""
_LATER: Final = (*UNKNOWN, NoSpace, Unauthenticated, AccessDenied)
"""Nothing is wrong with the batches: they stay."""

Gone = Callable[[Sequence[int]], None]
"""Called of packs that a batch was refused for, with ``_sending`` held."""
Surprised = Callable[[Batch, Reply, Reply | GravitonError], None]
"""Called of a batch that ended otherwise than it was answered, with ``_sending`` held: must not wait."""


class _Entry:
    """``reply``: what it was answered; None: nobody was answered, or nothing is left of it. ``sent``: bytes
    that travel with it; ``size``: that are held for it."""

    __slots__ = ("_kept", "batch", "ops", "reply", "sent", "size")

    def __init__(self, batch: Batch, reply: Reply | None, kept: Kept | None = None) -> None:
        self.batch = batch
        self.reply = reply
        self.ops = max(len(batch.ops), 1)
        self._kept = kept
        self.sent = sum(len(block.payload) for block in batch.loose)
        self.size = self.sent + (0 if kept is None else kept.size)

    def avoid(self) -> None:
        """Its number is used up by nothing."""
        self.batch = Batch(self.batch.number, self.batch.time_ns, ())
        self.reply = self._kept = None

    def carry(self) -> bool:
        """Have it travel with all its blocks. False: it does already, or nobody has kept them."""
        if self._kept is None:
            return False
        self.batch = self._kept.inside(self.batch)
        self._kept = None
        return True


class OpLog:
    """Thread-safe. ``_lock`` (a condition) guards the queue and its sizes, for moments; ``_sending`` is held
    while a call is under way, so that batches reach the store in order. The first may be taken inside the
    second, never the other way round."""

    def __init__(
        self,
        namespace: Namespace,
        surprised: Surprised = lambda batch, expected, told: None,
        gone: Gone = lambda packs: None,
        *,
        gather: float = GATHER,
    ) -> None:
        self._namespace = namespace
        self._surprised = surprised
        self._gone = gone
        self._gather = gather
        self._lock = threading.Condition()
        self._sending = threading.RLock()
        self._queue: deque[_Entry] = deque()
        self._attempt: list[_Entry] = []
        """The first of the queue, of which it is not known whether they were applied."""
        self._ops = 0
        self._bytes = 0
        self._since = 0.0
        """When the first of the queue came, or later."""
        self._closed = False
        self._closing = threading.Event()
        self._away = False
        self._failed: GravitonError | None = None
        """How the last call ended, if that leaves its outcome open."""
        self._thread: threading.Thread | None = None
        self.last = 0
        """The highest number that was used up."""
        self._durable = 0
        """What ``last`` was when all of it survived power loss."""
        self._changed = 0
        """The last number of a batch that changes what survives the session."""
        self.answered = self.calls = 0
        """Batches answered here, and calls that took them to the store. For people."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def all_durable(self) -> bool:
        """All that was answered survives power loss: nothing has changed since the last durable call."""
        return self._changed <= self._durable

    @property
    def has_room(self) -> bool:
        return self._ops < OPS_MAX and self._bytes < BYTES_MAX and not self._closed

    def wait_for_room(self) -> None:
        """While the store takes what is here; not where it is away."""
        with self._lock:
            self._lock.wait_for(lambda: self.has_room or self._away or self._closed, _ROOM)

    def add(self, batch: Batch, reply: Reply, kept: Kept | None = None) -> None:
        """Behind those that are here. The caller has seen that there is room, and keeps their order.
        ``kept``: the blocks in its packs."""
        with self._lock:
            if not self._queue:
                self._since = time.monotonic()
            self._append(_Entry(batch, reply, kept))
            self.answered += 1
            if self._thread is None or len(self._queue) == 1:
                self._begin()

    def settle_soon(self) -> None:
        """Send what is here by itself, although nobody was answered: who gave up may come again elsewhere,
        and is not to be overtaken by it much later."""
        with self._lock:
            if self._queue and not self._closed:
                self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="op-log", daemon=True)
            self._thread.start()
        self._lock.notify_all()

    def _append(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._ops += entry.ops
        self._bytes += entry.size
        self._used(entry.batch)

    def _used(self, batch: Batch) -> None:
        self.last = batch.number
        if any(not isinstance(op, Disclaim) for op in batch.ops):
            self._changed = batch.number

    # --- to the store --------------------------------------------------------------------------------

    def drain(self) -> None:
        """All that was here is applied when this returns. Raises what the store is away with."""
        if not self._queue:
            return
        with self._sending:
            while self._queue:
                self._send_some()

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        """As the namespace does, behind all that is here; in one call where that is little.

        Where it raises one of ``UNKNOWN``, ``last`` tells whether the numbers are used up: then the batches
        are among those here.
        """
        with self._sending:
            before: list[_Entry] = []
            while self._queue:
                before = self._some()
                if not self._attempt and len(before) == len(self._queue):
                    break
                self._send_some()
                before = []
            try:
                replies = self._namespace.apply([*(e.batch for e in before), *batches], durable=durable)
            except UNKNOWN as error:
                self._adopt(before, batches)
                self._failed = error
                raise
            except Fenced as error:
                self._avoid_all(error)
                raise
            except GravitonError:
                if not before:
                    raise
                # A refusal, perhaps of one of those before: they are sent first, and answered as recorded.
                self.drain()
                return self.apply(batches, durable=durable)
            self._settle(before, replies[: len(before)])
            for batch in batches:
                self._used(batch)
            if durable:
                self._durable = self.last
            return replies[len(before) :]

    def _adopt(self, before: list[_Entry], batches: Sequence[Batch]) -> None:
        entries = [_Entry(batch, None) for batch in batches]
        with self._lock:
            for entry in entries:
                self._append(entry)
            self._attempt = [*before, *entries]

    def _some(self) -> list[_Entry]:
        """The first of them, as many as go in one call."""
        if self._attempt:
            return self._attempt
        some: list[_Entry] = []
        size = 0
        with self._lock:
            for entry in self._queue:
                size += entry.sent
                if some and (len(some) >= _CALL_BATCHES or size > _CALL_BYTES):
                    break
                some.append(entry)
        return some

    def _send_some(self) -> None:
        some = self._attempt = self._some()
        try:
            replies = self._namespace.apply([entry.batch for entry in some], durable=False)
        except UNKNOWN as error:
            self._failed = error
            raise
        except Fenced as error:
            self._attempt = []
            self._avoid_all(error)
            raise
        except _LATER:
            self._attempt = []
            raise
        except GravitonError:
            self._attempt = []
            self._send_singly(some)
            return
        self._settle(some, replies)

    def _send_singly(self, some: list[_Entry]) -> None:
        """One of them is refused: nothing takes its number, so that those behind it can follow."""
        for entry in some:
            self._attempt = [entry]
            try:
                replies = self._send_one(entry)
            except UNKNOWN:
                raise
            except (*_LATER, Fenced):
                self._attempt = []
                raise
            except GravitonError as refusal:
                self._avoid(entry, refusal)
                replies = self._namespace.apply([entry.batch], durable=False)
            self._settle([entry], replies)

    def _send_one(self, entry: _Entry) -> list[Reply]:
        """Where its packs were collected while it waited, with the blocks that were kept."""
        for _ in range(_RETRIES):
            try:
                return self._namespace.apply([entry.batch], durable=False)
            except MissingBlocks as refusal:
                if not entry.carry() and (entry.batch.packs or not entry.batch.loose):
                    raise
                self._gone(refusal.packs)
        return self._namespace.apply([entry.batch], durable=False)

    def _avoid(self, entry: _Entry, error: GravitonError) -> None:
        entry.carry()  # whoever keeps what is lost needs no pack
        batch, reply = entry.batch, entry.reply
        entry.avoid()
        if reply is not None:
            self._surprised(batch, reply, error)

    def _avoid_all(self, error: GravitonError) -> None:
        """The session has ended: whether they were applied is not known. Another one may take over, in which
        they must not come as if nothing had happened; their numbers go on."""
        self._attempt = []
        for entry in list(self._queue):
            self._avoid(entry, error)

    def _settle(self, some: list[_Entry], replies: Sequence[Reply]) -> None:
        for entry, reply in zip(some, replies, strict=True):
            expected = entry.reply
            if expected is not None and not (
                reply.failure is None and agrees(expected.results, reply.results)
            ):
                self._surprised(entry.batch, expected, reply)
        self._attempt = []
        self._failed = None
        if some:
            self.calls += 1
        with self._lock:
            for entry in some:
                if self._queue.popleft() is not entry:
                    raise Internal("the order of batches was lost")
                self._ops -= entry.ops
                self._bytes -= entry.size
            self._since = time.monotonic()
            self._away = False
            self._lock.notify_all()

    # --- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._queue or self._closed)
            pause = self._gather
            while pause > 0:
                if self._closing.wait(pause):
                    return
                # What came only now may be about to go with a call that somebody waits for.
                pause = self._since + self._gather - time.monotonic() if self._queue else 0.0
            try:
                with self._sending:
                    if self._queue:
                        self._send_some()
            except GravitonError as error:
                self._put_off(error)

    def _put_off(self, error: GravitonError) -> None:
        with self._lock:
            told, self._away = self._away, True
            self._lock.notify_all()
            if not told and self._promised():
                log.warning("%d changes wait for the store: %s", len(self._queue), error)
        self._closing.wait(_AGAIN)

    def _promised(self) -> int:
        return sum(entry.reply is not None for entry in list(self._queue))

    def close(self) -> None:
        """No more of them. What could not be sent is lost, and told; a store that was away a moment ago is
        not waited for once more. Idempotent."""
        failed = self._failed
        try:
            if failed is None and self._promised() and not self.all_durable:
                self.drain()
        except GravitonError as error:
            failed = error
        if failed is not None and (lost := self._promised()):
            log.error("%d changes that were answered are lost: %s", lost, failed)
        with self._lock:
            self._closed = True
            self._closing.set()
            self._lock.notify_all()
