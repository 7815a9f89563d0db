"""The client's side of exactly-once: numbers batches, sends them, hands out inode numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from gravitonfs.content.caching_namespace import CachingNamespace, NotAtHand
from gravitonfs.content.kept import Kept
from gravitonfs.content.op_log import OpLog
from gravitonfs.content.ownwrites import OwnWrites
from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import Fenced, GravitonError, Internal, Unavailable
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr, Batch, Create, LooseBlock, Op, Reply, Result, Write

_INO_GRANT = 1024


_TOGETHER = 64
"""Batches that go in one call, at most."""
_LATE = 48
"""Of those that nobody waits for, so many wait."""
_LATER = 1.0
"""Seconds until what nobody waits for goes by itself."""


class _Waiting:
    """A batch whose submitter waits until somebody, perhaps itself, has sent it."""

    __slots__ = ("durable", "error", "kept", "loose", "ops", "packs", "reply", "time_ns")

    def __init__(
        self,
        ops: tuple[Op, ...],
        packs: tuple[PackNumber, ...] = (),
        loose: tuple[LooseBlock, ...] = (),
        kept: Kept | None = None,
        *,
        durable: bool,
    ) -> None:
        self.ops = ops
        self.packs = packs
        self.loose = loose
        self.kept = kept
        self.durable = durable
        self.time_ns = time.time_ns()
        self.reply: Reply | None = None
        self.error: GravitonError | None = None

    def done(self) -> bool:
        return self.reply is not None or self.error is not None

    def outcome(self) -> Reply:
        if self.reply is None:
            raise self.error or Internal("a batch was not sent")
        return self.reply

    def batch(self, number: int) -> Batch:
        return Batch(number, self.time_ns, self.ops, self.packs, self.loose)


class Session:
    """One attached namespace. Thread-safe.

    Where a call takes long (the namespace is not ``inline``), batches that come while one is under way go
    together in the next, and those whose outcome is known are answered without a call. The numbers of a call
    that gave up mean nothing else (``settles``). ``_lock`` guards the batch number, so that batches reach the
    namespace in the order of their numbers; ``_queue_lock`` those that wait; ``_ino_lock`` the granted inode
    numbers.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._memory = namespace if isinstance(namespace, CachingNamespace) else None
        answering = None if self._memory is None else self._memory.answering
        self._own_log = None if namespace.settles or answering is not None else OpLog(namespace)
        self._log = self._own_log if answering is None else answering.log
        self.own_writes = OwnWrites()
        self._lock = threading.Lock()
        self._number = 0
        self._queue_lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._late: list[_Waiting] = []
        self._timer: threading.Timer | None = None
        self._ino_lock = threading.Lock()
        self._inos = iter(range(0))

    def submit(
        self,
        ops: tuple[Op, ...],
        *,
        packs: Sequence[PackNumber] = (),
        loose: tuple[LooseBlock, ...] = (),
        kept: Kept | None = None,
        durable: bool = False,
    ) -> tuple[Result, ...]:
        """Apply one batch and return a result an op. Raises what the batch failed with or was refused for.
        ``kept``: the blocks in ``packs``; without them, the store is waited for."""
        memory = self._memory
        if self.namespace.inline:
            with self._lock:
                batch = Batch(self._number + 1, time.time_ns(), ops, tuple(packs), loose)
                reply = self.namespace.apply((batch,), durable=durable)[0]
                self._number = batch.number
        elif memory is not None and memory.peeking:
            reply = self._submit_known(_Waiting(ops, tuple(packs), loose, kept, durable=durable), memory)
        else:
            reply = self._submit_together(_Waiting(ops, tuple(packs), loose, kept, durable=durable))
        if reply.failure is not None:
            raise reply.failure.error()
        self.own_writes.applied(ops)
        return reply.results

    def submit_later(self, *ops: Op) -> None:
        """One batch that nobody waits for: it goes with the next one, or after a second by itself, and what
        it fails with is told to nobody. Batches submitted later come after it, but for those that only make
        and fill files: what is late for many of these costs little more than for one."""
        if self.namespace.inline:
            self.submit(ops)
            return
        with self._queue_lock:
            self._late.append(_Waiting(ops, durable=False))
            if self._timer is None:
                self._timer = threading.Timer(_LATER, self.hurry)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """What nobody waits for is given up: ``commit`` before has sent it. Idempotent."""
        with self._queue_lock:
            if self._timer is not None:
                self._timer.cancel()
        if self._own_log is not None:
            self._own_log.close()

    def hurry(self) -> None:
        """Send what waits to go with others."""
        with self._queue_lock:
            self._queue[:0] = self._late
            self._late = []
            waiting = bool(self._queue)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if not waiting:
            return
        with self._lock:
            with self._queue_lock:
                together, self._queue = self._queue[:_TOGETHER], self._queue[_TOGETHER:]
            if together:
                self._send(together)

    def _late_before(self, ops: tuple[Op, ...]) -> list[_Waiting]:
        """What nobody waits for, as far as it has to go before these. Queue lock held."""
        if len(self._late) < _LATE and ops and all(isinstance(op, Create | Write) for op in ops):
            return []
        late, self._late = self._late, []
        return late

    def _submit_known(self, mine: _Waiting, memory: CachingNamespace) -> Reply:
        """Without waiting for anything: NotAtHand where the store has to be asked, or somebody else does."""
        if mine.durable or not self._lock.acquire(blocking=False):
            raise NotAtHand
        try:
            with self._queue_lock:
                together = [*self._queue, *self._late_before(mine.ops), mine]
                self._queue = []
            left = self._answered(together, memory)
            if left:
                with self._queue_lock:
                    self._queue = [*(one for one in left if one is not mine), *self._queue]
                raise NotAtHand
        finally:
            self._lock.release()
        return mine.outcome()

    def _answered(self, together: list[_Waiting], memory: CachingNamespace) -> list[_Waiting]:
        """The first of them are answered from memory, as far as that goes; the others. Lock held."""
        for at, one in enumerate(together):
            reply = None if one.durable else memory.answer(one.batch(self._number + 1), one.kept)
            if reply is None:
                return together[at:]
            one.reply = reply
            self._number += 1
        return []

    def _submit_together(self, mine: _Waiting) -> Reply:
        with self._queue_lock:
            self._queue += (*self._late_before(mine.ops), mine)
        while not mine.done():
            with self._lock:
                if not mine.done():
                    with self._queue_lock:
                        together, self._queue = self._queue[:_TOGETHER], self._queue[_TOGETHER:]
                    self._send(together)
        return mine.outcome()

    def _send(self, together: list[_Waiting]) -> None:
        """One call for all. A refusal leaves it open which batch it was for, so they are sent singly then:
        those that were applied answer as before. Lock held; never raises what is not for everybody."""
        memory = self._memory
        if memory is not None:
            together = self._answered(together, memory)
            if not together:
                return
        batches = [one.batch(self._number + 1 + index) for index, one in enumerate(together)]
        behind = self.namespace if self._own_log is None else self._own_log
        try:
            replies = behind.apply(batches, durable=any(one.durable for one in together))
        except GravitonError as error:
            used_up = self._log is not None and self._log.last >= batches[-1].number
            if used_up:
                self._number = batches[-1].number
                if self._own_log is not None:
                    self._own_log.settle_soon()
            if used_up or len(together) == 1 or isinstance(error, (Unavailable, Fenced)):
                for one in together:
                    one.error = error
                return
            for one in together:
                self._send([one])
            return
        except BaseException as error:
            for one in together:
                one.error = Internal(f"sending failed: {error!r}")
            raise
        for one, reply in zip(together, replies, strict=True):
            one.reply = reply
        self._number = batches[-1].number

    def submit_for_attr(self, op: Op, *, durable: bool = False) -> Attr:
        """One op whose answer is an Attr."""
        result = self.submit((op,), durable=durable)[0]
        if not isinstance(result, Attr):
            raise Internal(f"{type(op).__name__} was answered with {result!r}")
        return result

    def commit(self, *, own: bool = False) -> None:
        """Wait until everything applied so far survives power loss; with ``own`` what others did need not."""
        memory = self._memory
        waiting = self._queue or self._late
        if memory is None or waiting or not (memory.own_durable() if own else memory.all_durable()):
            self.submit((), durable=True)

    def new_ino(self) -> Ino:
        with self._ino_lock:
            ino = next(self._inos, None)
            if ino is None:
                if self._memory is not None:
                    self._memory.may_wait()
                self._inos = iter(self.namespace.grant(_INO_GRANT))
                ino = next(self._inos)
            return Ino(ino)
