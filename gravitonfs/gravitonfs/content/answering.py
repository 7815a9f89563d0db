"""A sole session answers its own changes, and the store applies them a moment later.

Under the volume's lease nobody else changes anything, so what a change does is known where all that it
depends on is known. Only then is it answered here; everything else goes to the store, behind what waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from gravitonfs.content.headroom import Headroom
from gravitonfs.content.kept import KEPT_MAX, Kept
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.op_log import GATHER, OpLog
from gravitonfs.content.own_changes import follow, touches
from gravitonfs.content.predicting import Claims, predict
from gravitonfs.core.ids import ContentId, Ino, PackNumber
from gravitonfs.errors import GravitonError, Invalid
from gravitonfs.ports.namespace import EVERYTHING, Change, Listener, Namespace, Touched
from gravitonfs.ports.ops import Attr, Batch, Reply, Write

log = logging.getLogger("graviton.oplog")

_GRANT: Final = 4096
_LOW: Final = 1024
"""Content ids that are there when more are asked for."""
_RELIED: Final = 300.0
"""Seconds after a batch that named a pack in which it cannot be condemned: the store notes at most 10 minutes
late that it is relied on, and leaves alone what was relied on in the last 20 (invariants 2 and 3). Where the
store is away a batch may wait longer: its blocks are kept."""
_PACKS: Final = 4096

Forget = Callable[[Sequence[PackNumber]], None]
"""As of a block store."""
Lost = Callable[[int, Batch, str], None]
"""Keeps what a batch would have written: session, batch, why. Called on a thread of its own."""


class Answering:
    """``answer`` with the cache's lock held, by one thread at a time; the rest from any thread."""

    def __init__(
        self,
        namespace: Namespace,
        cache: NamesCache,
        claims: Claims,
        listener: Listener | None,
        *,
        gather: float = GATHER,
    ) -> None:
        self._namespace = namespace
        self._cache = cache
        self._claims = claims
        self._listener = listener
        self._headroom = Headroom(partial(namespace.room, None))
        self._granted: Iterator[int] = iter(range(0))
        self._left = 0
        self._relied: dict[PackNumber, float] = {}
        self.log = OpLog(namespace, self._surprised, self._gone, gather=gather)
        self.lost: Lost | None = None
        self.forget: Forget = lambda packs: None
        self.void: set[ContentId] = set()
        """Content ids that were foreseen and have not come to be."""
        self.surprises = 0

    def answer(self, batch: Batch, kept: Kept | None = None) -> Reply | None:
        """None: the store has to be asked."""
        known, fresh = self._cache.known, self._cache.fresh
        if not self.log.has_room or fresh.applying or batch.number != self.log.last + 1:
            return None
        if batch.packs and (kept is None or kept.size > KEPT_MAX or not self._may_rely(batch.packs)):
            return None
        predicted = predict(known, batch, self._take, self._claims)
        if predicted is None or not self._headroom.admits(known, predicted):
            return None
        reply = Reply(batch.number, predicted.results, None, 0)
        touched = touches(known, (predicted.batch,))
        fresh.begin(touched)
        follow(known, predicted.batch, reply)
        fresh.end(touched, (reply,))
        known.trim()
        self.log.add(predicted.batch, reply, kept.alone() if kept is not None and batch.packs else None)
        return reply

    def _take(self) -> ContentId | None:
        content = next(self._granted, None)
        if content is None:
            return None
        self._left -= 1
        return ContentId(content)

    def _may_rely(self, packs: Sequence[PackNumber]) -> bool:
        since = time.monotonic() - _RELIED
        return all(self._relied.get(pack, 0.0) > since for pack in packs)

    # --- on the way to the store ---------------------------------------------------------------------

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Before a call that waits anyway, with these."""
        self._headroom.refresh(self._cache.known, self.log.drain)
        self._headroom.spend(self._cache.known, batches)
        if self._left < _LOW:
            try:
                granted = self._namespace.grant_contents(_GRANT)
            except Invalid:
                granted = range(0)  # a daemon of an older version
            self._granted, self._left = iter(granted), len(granted)

    def applied(self, batches: Sequence[Batch], replies: Sequence[Reply]) -> None:
        """By the store. One that has failed makes it rely on nothing."""
        done = (batch for batch, reply in zip(batches, replies, strict=True) if reply.failure is None)
        packs = {pack for batch in done for pack in batch.packs}
        if packs:
            if len(self._relied) > _PACKS:
                self._relied = {}
            now = time.monotonic()
            self._relied.update(dict.fromkeys(packs, now))

    def _gone(self, packs: Sequence[int]) -> None:
        """They were collected although batches that wait rely on them: nothing new is found there."""
        gone = [PackNumber(pack) for pack in packs]
        for pack in gone:
            self._relied.pop(pack, None)
        try:
            self.forget(gone)
        except GravitonError:
            pass  # whoever names them next is told

    def _surprised(self, batch: Batch, expected: Reply, told: Reply | GravitonError) -> None:
        """The store has another answer than we gave."""
        self.surprises += 1
        if isinstance(told, Reply) and told.failure is None:
            self._differs(batch, expected, told)
            return
        why = str(told) if isinstance(told, GravitonError) else told.failure.message if told.failure else ""
        names = ", ".join(type(op).__name__ for op in batch.ops)
        log.error("batch %d (%s) was answered and cannot be applied: %s", batch.number, names, why)
        with self._cache.lock:
            self._cache.known.clear()
        self._tell((EVERYTHING,))
        if self.lost is not None:
            arguments = (self._namespace.session, batch, why)
            threading.Thread(target=self.lost, args=arguments, name="lost", daemon=True).start()

    def _differs(self, batch: Batch, expected: Reply, told: Reply) -> None:
        """It is applied, to what background work had changed a moment before."""
        log.info("batch %d was applied otherwise than it was foreseen", batch.number)
        inos: set[Ino] = set()
        for op, before, after in zip(batch.ops, expected.results, told.results, strict=True):
            if before != after:
                inos.update(result.ino for result in (before, after) if result is not None)
            if not isinstance(op, Write) or not isinstance(before, Attr) or not isinstance(after, Attr):
                continue
            if before.content != after.content:
                self.void.add(before.content)
        with self._cache.lock:
            for ino in inos:
                self._cache.known.drop(ino)
        self._tell([Change(Touched.ATTR | Touched.DATA, ino, Ino(0), b"") for ino in inos])

    def _tell(self, changes: Sequence[Change]) -> None:
        if self._listener is not None:
            threading.Thread(target=self._listener, args=(changes,), name="surprise", daemon=True).start()
