"""The volume's lease as a client holds it: asked for with heartbeats, recalled by the change stream.

A lease is trusted only while the stream is open. One that broke (a daemon that ended, a cut network,
another daemon) ends the trust at once; when it is open again the lease is asked for anew, and where the
daemon has not let anybody in meanwhile it is the same.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from gravitonfs.core.trust import Trust
from gravitonfs.ports.namespace import EVERYTHING, Listener, Recall
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb

log = logging.getLogger("graviton.client")

_INTERVAL: Final = 10.0
_RENEWALS: Final = 5.0
"""In the time of a lease."""


class Holding:
    """``_lock`` guards which recall is being answered. ``_wake`` is set when a heartbeat is ``urgent``."""

    def __init__(self, listener: Listener, recall: Recall, wake: threading.Event) -> None:
        self._listener = listener
        self._recall = recall
        self._wake = wake
        self._trust = Trust(self._drop)
        self._lock = threading.Lock()
        self._recalled = 0
        self._answered = 0
        self.until = self._trust.until
        self.interval = _INTERVAL
        """Seconds between heartbeats."""
        self.urgent = False
        """The next heartbeat has something to say, or to ask."""
        self.listening = False
        self.let_go = 0
        """The lease that the daemon is to be told has been let go of."""

    def _drop(self) -> None:
        log.info("others may have changed the volume meanwhile: what is cached is dropped")
        self._listener([EVERYTHING])

    def heard(self, recalled: int) -> None:
        """Something came by the stream."""
        if not self.listening:
            self.listening = True
            self._hurry()
        if recalled:
            self._give_up(recalled)

    def _hurry(self) -> None:
        self.urgent = True
        self._wake.set()

    def deaf(self) -> None:
        """The stream is lost."""
        if self.listening:
            log.debug("the change stream is lost: nothing is trusted until it is back")
        self.listening = False
        self._trust.suspend()

    def renewed(self) -> None:
        """Answers given before may no longer hold."""
        self._trust.doubt()
        self._hurry()

    def told(self, let_go: int, lease: pb.VolumeLease, asked: float) -> None:
        """The answer to a heartbeat that was sent at ``asked``."""
        if let_go == self.let_go:
            self.let_go = 0
        if not lease.number:
            self._trust.suspend()
            return
        if not lease.seconds or self._trust.was_given_up(lease.number):
            self._give_up(lease.number)
            return
        if not self._trust.number:
            log.info("the volume is this session's alone: what is read is kept")
        self._trust.granted(lease.number, lease.seconds, asked)
        self.interval = min(_INTERVAL, lease.seconds / _RENEWALS)

    def _give_up(self, number: int) -> None:
        """On a thread of its own: to drop what the kernel keeps may take a while."""
        with self._lock:
            again = number <= self._recalled
            self._recalled = max(self._recalled, number)
        if again:
            if number <= self._answered:  # the daemon has not heard so
                self._tell(number)
            return
        self._trust.give_up(number)
        threading.Thread(target=self._answer, args=(number,), name="recall", daemon=True).start()

    def _answer(self, number: int) -> None:
        log.info("another session wants to use the volume: what is cached is dropped")
        try:
            self._recall()
        except Exception:
            log.exception("what is cached could not be dropped: the lease has to run out")
            return
        self._trust.dropped(number)
        self._answered = number
        self._tell(number)

    def _tell(self, number: int) -> None:
        self.let_go = number
        self._hurry()

    def look(self) -> None:
        """Now and then. After the machine has slept: the kernel's clock stood still meanwhile."""
        if self._trust.slept():
            log.info("the machine has slept: what is cached is dropped")
            self._listener([EVERYTHING])

    def end(self) -> None:
        self._trust.end()
