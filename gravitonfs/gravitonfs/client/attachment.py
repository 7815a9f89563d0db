"""A session at a daemon: attached, and attached again when the daemon does not know it any more.

After a restart of the daemon or its database the batches that were answered and not durable are sent again,
under their numbers, before anything else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from gravitonfs.client.connection import Connection
from gravitonfs.client.resuming import Resumed
from gravitonfs.client.unacknowledged import Unacknowledged
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.core.processes import myself
from gravitonfs.errors import Conflict, Detached, Fenced, GravitonError, Stale, Throttled, Unavailable
from gravitonfs.journal.journal import Journal
from gravitonfs.journal.records import rewritten
from gravitonfs.ports import wire
from gravitonfs.ports.ops import Attr, Batch, Reply
from gravitonfs.ports.wire import STAMP
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

log = logging.getLogger("graviton.client")

SERVICE: Final = "/graviton.v1.NamespaceService/"
CALL: Final = 30.0
"""Seconds for one try of a call."""
_REPLAY: Final = 256
_LATER: Final = (Unavailable, Throttled, Detached, Fenced)
"""Says nothing of a batch that is sent again: it is tried at the next attachment."""
_ASK_AGAIN: Final = 8
"""Answers that every store keeps, however sure it is of their batches."""

Lost = Callable[[int, Batch, Reply, Reply | GravitonError], None]
"""A batch of a session that was answered with the first reply had, sent again, another outcome."""


class Attachment:
    """``lock`` (reentrant) is held while attaching and while batches are sent, so that nothing overtakes
    those that are sent again."""

    def __init__(
        self,
        connection: Connection,
        volume: str,
        *,
        label: str,
        read_only: bool,
        claims: bool,
        listens: bool,
        recalls: bool,
        lost: Lost,
        renewed: Callable[[], None],
        journal: Journal | None = None,
    ) -> None:
        """``renewed``: what was cached may be out of date; called with the lock held, must not call back.
        ``journal``: gets every batch before it is sent, and the daemon is asked to be patient with us."""
        self.connection = connection
        self.volume = volume
        self.label = label
        self.lock = threading.RLock()
        self.kept = Unacknowledged()
        self.handle = b""
        self.number = 0
        self.root = Ino(0)
        self.format = VolumeFormat()
        self.read_only = read_only
        self.lease = 60.0
        self.sequence = 0
        """The last of the watch that was seen; starts anew where the daemon keeps nothing for us."""
        self.ended = False
        self._claims = claims
        self._listens = listens
        self._recalls = recalls
        self._lost = lost
        self._renewed = renewed
        self.journal = journal
        self.store = b""
        """Which store the daemon serves."""
        self.max_message = 4 << 20
        """Bytes that the daemon takes in one message."""
        self._resumed: Resumed | None = None
        self._incarnation = 0
        self.last = 0
        """The last batch that was answered, as the daemon counts."""
        self._lost_it = False
        self._told_to_wait = False

    def attach(self, timeout: float) -> None:
        """The first time, and whenever ``detached`` has been called since."""
        if self.handle and not self._lost_it and not self.ended:
            return  # nearly always; reads do not wait for a batch that is under way
        with self.lock:
            if self.ended:
                raise Fenced("the session has ended")
            if self.handle and not self._lost_it:
                return
            try:
                self._attach(self.handle, timeout)
            except Fenced:
                if not self.handle:
                    raise
                self._start_over(timeout)

    def detached(self, handle: bytes) -> None:
        """The daemon said that it does not know this session."""
        with self.lock:
            if handle == self.handle:
                self._lost_it = True

    def _attach(self, resume: bytes, timeout: float) -> int:
        """The last batch that the daemon had."""
        request = pb.AttachRequest(
            volume=self.volume,
            label=self.label,
            read_only=self.read_only,
            claims=self._claims,
            listens=self._listens,
            resume=resume,
            recalls=self._recalls,
            process=myself(),
            journals=self.journal is not None,
        )
        try:
            reply = self.connection.call(
                SERVICE + "Attach", request, pb.AttachReply, timeout=min(timeout, CALL)
            )
        except Throttled as busy:
            if not self._told_to_wait:
                self._told_to_wait = True
                log.warning("waiting: %s", busy)
            raise
        self.handle, self.number = reply.session, reply.number
        self.root, self.read_only = Ino(reply.root), reply.read_only
        self.format = VolumeFormat.from_json(reply.format)
        self.lease = reply.lease
        self.store = reply.store
        self.max_message = reply.max_message or self.max_message
        if reply.fresh:
            self.sequence = 0
            if resume:
                self._renewed()
        if resume:
            log.info("session %d is attached again; the daemon has seen batch %d", reply.number, reply.last)
            self._send_again(reply.last, timeout)
        if self.journal is not None:
            last = max(reply.last, self.last)
            self.journal.attached(reply.store, self.volume, reply.session, reply.number, last)
        self._incarnation = reply.incarnation
        self._lost_it = False
        return int(reply.last)

    def resume(self, resumed: Resumed, timeout: float) -> int:
        """In place of the first ``attach``: a session that a dead process had, with the batches that it has
        sent, of which some were answered. The last batch that the daemon has now. Fenced where the session
        has ended."""
        with self.lock:
            self._resumed = resumed
            self.kept.clear()
            for batch, reply in resumed.answered:
                self.kept.add(batch, reply, b"")
                self.last = batch.number
            last = self._attach(resumed.handle, timeout)
            applied = [batch for batch in resumed.unanswered if batch.number <= last]
            for batch in applied[:-_ASK_AGAIN]:
                self.kept.add(batch, Reply(batch.number, (), None, 0), b"")
            if asked := applied[-_ASK_AGAIN:]:
                replies = self._apply(asked, durable=False, timeout=timeout)
                for batch, reply in zip(asked, replies, strict=True):
                    self.kept.add(batch, reply, b"")
                self._answers(replies)
            self.last = max(self.last, last)
            return self.last

    def _start_over(self, timeout: float) -> None:
        """The session has expired or was evicted: a new one takes over. What was answered before was applied
        while the old one lived; whether a crash took some of it cannot be told any more."""
        if count := self.kept.clear():
            log.warning("session %d has ended with %d batches not known to be durable", self.number, count)
        self.last = 0
        self._renewed()
        self._attach(b"", timeout)
        log.warning("session %d takes over", self.number)

    def _send_again(self, last: int, timeout: float) -> None:
        """The batches that the database has lost, in order; each must end as it did before."""
        pending = list(self.kept.after(last))
        if pending:
            log.info("%d batches that a crash had undone are sent again", len(pending))
            self._renewed()
            if self._resumed is not None:
                pending = self._without_foreign(self._resumed, pending, timeout)
        for at in range(0, len(pending), _REPLAY):
            part = pending[at : at + _REPLAY]
            try:
                replies = self._apply([batch for batch, _ in part], durable=False, timeout=timeout)
            except _LATER:
                raise
            except GravitonError as error:
                self._send_singly(part, error, timeout)
                continue
            self._answers(replies)
            for (batch, before), after in zip(part, replies, strict=True):
                if differs(before, after):
                    self._lost(self.number, batch, before, after)

    def _without_foreign(
        self, resumed: Resumed, pending: list[tuple[Batch, Reply]], timeout: float
    ) -> list[tuple[Batch, Reply]]:
        """An empty batch in place of each that would overwrite what others have written since."""

        def attr_of(ino: Ino) -> Attr | None:
            request = pb.GetAttrRequest(session=self.handle, ino=ino)
            try:
                reply = self.connection.call(
                    SERVICE + "GetAttr", request, pb.AttrReply, timeout=min(timeout, CALL)
                )
            except Stale:
                return None
            return wire.decode_attr(reply.attr)

        foreign = resumed.foreign([batch for batch, _ in pending], attr_of)
        result = []
        for batch, before in pending:
            if not foreign & rewritten(batch):
                result.append((batch, before))
                continue
            self._lost(self.number, batch, before, Conflict("others have changed the file since"))
            result.append((Batch(batch.number, batch.time_ns, ()), before))
        return result

    def _send_singly(self, part: Sequence[tuple[Batch, Reply]], error: GravitonError, timeout: float) -> None:
        """One of them is refused: an empty batch takes its number, so that those behind it can follow."""
        for batch, before in part:
            try:
                [after] = self._apply([batch], durable=False, timeout=timeout)
            except _LATER:
                raise
            except GravitonError as refusal:
                self._apply([Batch(batch.number, batch.time_ns, ())], durable=False, timeout=timeout)
                self._lost(self.number, batch, before, refusal)
            else:
                self._answers([after])
                if differs(before, after):
                    self._lost(self.number, batch, before, after)

    def _apply(self, batches: Sequence[Batch], *, durable: bool, timeout: float) -> list[Reply]:
        request = pb.ApplyRequest(
            session=self.handle,
            batches=wire.encode_batches(batches),
            durable=durable,
            stamps=self.kept.stamps_of(batches),
        )
        reply = self.connection.call(SERVICE + "Apply", request, pb.ApplyReply, timeout=min(timeout, CALL))
        return wire.decode_replies(reply.replies)

    def request_of(self, batches: Sequence[Batch], *, durable: bool) -> pb.ApplyRequest:
        return pb.ApplyRequest(
            session=self.handle,
            batches=wire.encode_batches(batches),
            durable=durable or self.kept.too_much,
        )

    def applied(
        self, batches: Sequence[Batch], replies: Sequence[Reply], incarnation: int, stamps: bytes
    ) -> None:
        """Lock held. Keep what may be lost."""
        for at, (batch, reply) in enumerate(zip(batches, replies, strict=True)):
            if batch.number > self.last:
                self.last = batch.number
                self.kept.add(batch, reply, stamps[at * STAMP : (at + 1) * STAMP])
        self._answers(replies)
        if replies:
            self._durable(replies[-1].durable_through)
        self.told_incarnation(incarnation)

    def durable_through(self, number: int, incarnation: int) -> None:
        """From a heartbeat."""
        with self.lock:
            if incarnation == self._incarnation:
                self._durable(number)
            self.told_incarnation(incarnation)

    def _answers(self, replies: Sequence[Reply]) -> None:
        if self.journal is not None:
            self.journal.answered(replies)
        if self._resumed is not None:
            self._resumed.heard(replies)

    def _durable(self, number: int) -> None:
        self.kept.durable_through(number)
        if self.journal is not None:
            self.journal.durable_through(number)

    def told_incarnation(self, incarnation: int) -> None:
        if incarnation != self._incarnation:
            self._lost_it = True  # attach again before the next call, and send again what was lost

    def close(self) -> None:
        with self.lock:
            self.ended = True


def differs(before: Reply, after: Reply) -> bool:
    """Whether a batch ended otherwise: contents have other numbers after a replay, and that is all right."""
    return (before.failure is None) != (after.failure is None)
