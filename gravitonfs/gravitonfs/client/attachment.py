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
from gravitonfs.client.unacknowledged import Unacknowledged
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.core.processes import myself
from gravitonfs.errors import Detached, Fenced, GravitonError, Throttled, Unavailable
from gravitonfs.ports import wire
from gravitonfs.ports.ops import Batch, Reply
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

log = logging.getLogger("graviton.client")

SERVICE: Final = "/graviton.v1.NamespaceService/"
CALL: Final = 30.0
"""Seconds for one try of a call."""
_REPLAY: Final = 256
_LATER: Final = (Unavailable, Throttled, Detached, Fenced)
"""Says nothing of a batch that is sent again: it is tried at the next attachment."""

Lost = Callable[[Batch, Reply, Reply | GravitonError], None]
"""A batch that was answered with the first reply had, sent again, another outcome."""


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
    ) -> None:
        """``renewed``: what was cached may be out of date; called with the lock held, must not call back."""
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
        self._incarnation = 0
        self._last = 0
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

    def _attach(self, resume: bytes, timeout: float) -> None:
        request = pb.AttachRequest(
            volume=self.volume,
            label=self.label,
            read_only=self.read_only,
            claims=self._claims,
            listens=self._listens,
            resume=resume,
            recalls=self._recalls,
            process=myself(),
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
        if reply.fresh:
            self.sequence = 0
            if resume:
                self._renewed()
        if resume:
            log.info("session %d is attached again; the daemon has seen batch %d", reply.number, reply.last)
            self._send_again(reply.last, timeout)
        self._incarnation = reply.incarnation
        self._lost_it = False

    def _start_over(self, timeout: float) -> None:
        """The session has expired or was evicted: a new one takes over. What was answered before was applied
        while the old one lived; whether a crash took some of it cannot be told any more."""
        if count := self.kept.clear():
            log.warning("session %d has ended with %d batches not known to be durable", self.number, count)
        self._last = 0
        self._renewed()
        self._attach(b"", timeout)
        log.warning("session %d takes over", self.number)

    def _send_again(self, last: int, timeout: float) -> None:
        """The batches that the database has lost, in order; each must end as it did before."""
        pending = list(self.kept.after(last))
        if pending:
            log.info("%d batches that a crash had undone are sent again", len(pending))
            self._renewed()
        for at in range(0, len(pending), _REPLAY):
            part = pending[at : at + _REPLAY]
            try:
                replies = self._apply([batch for batch, _ in part], durable=False, timeout=timeout)
            except _LATER:
                raise
            except GravitonError as error:
                self._send_singly(part, error, timeout)
                continue
            for (batch, before), after in zip(part, replies, strict=True):
                if differs(before, after):
                    self._lost(batch, before, after)

    def _send_singly(self, part: Sequence[tuple[Batch, Reply]], error: GravitonError, timeout: float) -> None:
        """One of them is refused: an empty batch takes its number, so that those behind it can follow."""
        for batch, before in part:
            try:
                [after] = self._apply([batch], durable=False, timeout=timeout)
            except _LATER:
                raise
            except GravitonError as refusal:
                self._apply([Batch(batch.number, batch.time_ns, ())], durable=False, timeout=timeout)
                self._lost(batch, before, refusal)
            else:
                if differs(before, after):
                    self._lost(batch, before, after)

    def _apply(self, batches: Sequence[Batch], *, durable: bool, timeout: float) -> list[Reply]:
        request = pb.ApplyRequest(session=self.handle, batches=wire.encode_batches(batches), durable=durable)
        reply = self.connection.call(SERVICE + "Apply", request, pb.ApplyReply, timeout=min(timeout, CALL))
        return wire.decode_replies(reply.replies)

    def request_of(self, batches: Sequence[Batch], *, durable: bool) -> pb.ApplyRequest:
        return pb.ApplyRequest(
            session=self.handle,
            batches=wire.encode_batches(batches),
            durable=durable or self.kept.too_much,
        )

    def applied(self, batches: Sequence[Batch], replies: Sequence[Reply], incarnation: int) -> None:
        """Lock held. Keep what may be lost."""
        for batch, reply in zip(batches, replies, strict=True):
            if batch.number > self._last:
                self._last = batch.number
                self.kept.add(batch, reply)
        if replies:
            self.kept.durable_through(replies[-1].durable_through)
        self.told_incarnation(incarnation)

    def durable_through(self, number: int, incarnation: int) -> None:
        """From a heartbeat."""
        with self.lock:
            if incarnation == self._incarnation:
                self.kept.durable_through(number)
            self.told_incarnation(incarnation)

    def told_incarnation(self, incarnation: int) -> None:
        if incarnation != self._incarnation:
            self._lost_it = True  # attach again before the next call, and send again what was lost

    def close(self) -> None:
        with self.lock:
            self.ended = True


def differs(before: Reply, after: Reply) -> bool:
    """Whether a batch ended otherwise: contents have other numbers after a replay, and that is all right."""
    return (before.failure is None) != (after.failure is None)
