"""The two threads of a session: one says that it lives, one hears what others change.

The first asks for the volume's lease too, while the second can hear when it is recalled.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from gravitonfs.client.attachment import SERVICE, Attachment
from gravitonfs.client.connection import Stream
from gravitonfs.client.holding import Holding
from gravitonfs.client.questions import Questions
from gravitonfs.core.trust import instant
from gravitonfs.errors import Detached, Fenced, GravitonError
from gravitonfs.ports import wire
from gravitonfs.ports.namespace import EVERYTHING, Listener
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

log = logging.getLogger("graviton.client")

_BEAT: Final = 4.0
"""Heartbeats in the time of a lease."""
_BEAT_TIMEOUT: Final = 10.0
_GATHER: Final = 0.2
"""Answers are gathered for so long before a heartbeat of their own carries them."""
_PAUSE: Final = 0.2
_LOOK: Final = 1.0
"""Whether the machine has slept is looked at so often while a lease is held."""


class _Away:
    """Says once that the daemon is away, and once that it is back."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._said = False

    def because(self, error: GravitonError) -> None:
        if not self._said:
            self._said = True
            log.info("session %d: %s", self._session, error)

    def over(self) -> None:
        if self._said:
            self._said = False
            log.info("session %d: the daemon answers again", self._session)


class Lifeline:
    def __init__(
        self,
        attachment: Attachment,
        questions: Questions,
        listener: Listener | None,
        holding: Holding | None,
    ) -> None:
        self._attachment = attachment
        self._questions = questions
        self._listener = listener
        self._holding = holding
        self._stop = threading.Event()
        self._stream: Stream[pb.WatchReply] | None = None
        self._away = _Away(attachment.number)
        name = f"session-{attachment.number}"
        self._threads = [threading.Thread(target=self._beat, name=f"{name}-heartbeat", daemon=True)]
        if listener is not None:
            self._threads.append(threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._questions.waiting.set()
        stream = self._stream
        if stream is not None:
            stream.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)

    def _beat(self) -> None:
        while not self._stop.is_set():
            if self._rest() and not self._urgent:
                self._stop.wait(_GATHER)
            if self._stop.is_set():
                return
            try:
                self._attachment.attach(_BEAT_TIMEOUT)
                self._heartbeat()
                self._away.over()
            except GravitonError as error:
                if isinstance(error, Fenced) and self._attachment.ended:
                    return
                self._away.because(error)
                self._stop.wait(_PAUSE)

    def _rest(self) -> bool:
        """Until it is time for the next heartbeat; True when there is something to say before."""
        interval = self._attachment.lease / _BEAT
        if self._holding is None:
            return self._questions.waiting.wait(interval)
        until = time.monotonic() + min(interval, self._holding.interval)
        woken = False
        while not (woken or self._urgent) and time.monotonic() < until:
            woken = self._questions.waiting.wait(_LOOK)
            self._holding.look()
        return woken

    @property
    def _urgent(self) -> bool:
        return self._holding is not None and self._holding.urgent

    def _heartbeat(self) -> None:
        attachment = self._attachment
        handle = attachment.handle
        self._questions.waiting.clear()
        answers = self._questions.take()
        request = pb.HeartbeatRequest(session=handle, seen=attachment.sequence, answers=answers)
        asked = instant()
        if self._holding is not None:
            self._holding.urgent = False
            request.ask_lease, request.let_go = self._holding.listening, self._holding.let_go
        try:
            reply = attachment.connection.call(
                SERVICE + "Heartbeat", request, pb.HeartbeatReply, timeout=_BEAT_TIMEOUT
            )
        except GravitonError as error:
            self._questions.give_back(answers)
            if isinstance(error, Detached):
                attachment.detached(handle)
            raise
        attachment.durable_through(reply.durable_through, reply.incarnation)
        self._questions.asked(reply.asked)
        if self._holding is not None:
            self._holding.told(request.let_go, reply.volume_lease, asked)

    def _watch(self) -> None:
        assert self._listener is not None
        while not self._stop.is_set():
            handle = self._attachment.handle
            try:
                self._attachment.attach(_BEAT_TIMEOUT)
                handle = self._attachment.handle
                request = pb.WatchRequest(session=handle, after=self._attachment.sequence)
                self._stream = self._attachment.connection.stream(SERVICE + "Watch", request, pb.WatchReply)
                try:
                    for news in self._stream:
                        self._hear(handle, news)
                finally:
                    if self._holding is not None:
                        self._holding.deaf()
            except Detached:
                self._attachment.detached(handle)
            except Fenced:
                if self._attachment.ended:
                    return
            except GravitonError as error:
                if self._stop.is_set():
                    return
                self._away.because(error)
            self._stop.wait(_PAUSE)

    def _hear(self, handle: bytes, news: pb.WatchReply) -> None:
        assert self._listener is not None
        if news.lost:
            self._listener([EVERYTHING])
        if news.changes:
            self._listener(wire.decode_changes(news.changes))
        if handle == self._attachment.handle:
            if news.changes or news.lost:
                self._attachment.sequence = news.sequence
            if self._holding is not None:
                self._holding.heard(news.recalled)
        self._questions.asked(news.asked)
