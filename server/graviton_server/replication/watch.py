"""The thread that looks after the copies: now and then, and at once when something was found damaged."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, NamedTuple

from graviton_server.replication.repair import Done, Repair
from graviton_server.replication.target import ReplicatedTarget
from gravitonfs.errors import GravitonError
from gravitonfs.ports.replicas import UNHEALTHY, CopyTally

_log = logging.getLogger(__name__)

_LOOK: Final = 8.0
"""Seconds between two looks at which targets there are, and answer: less than one is left alone for."""
_COUNTED_FOR: Final = 30.0
_COUNT_SHARE: Final = 100.0
"""A count is good for so many times as long as it took, and so many seconds at most."""


class RepairStatus(NamedTuple):
    """``last_end``: seconds since the epoch, 0: never. ``made``, ``removed``: copies, since the start."""

    running: bool
    last_end: float
    made: int
    made_bytes: int
    removed: int
    failed: int
    error: str


class Watch:
    """``_lock`` guards ``_status``, ``_counting`` the last count; one round at a time, by ``_turn``."""

    def __init__(self, target: ReplicatedTarget, repair: Repair) -> None:
        self.target = target
        self.repair = repair
        self._members = target.members
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._status = RepairStatus(False, 0.0, 0, 0, 0, 0, "")
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self._counted: list[CopyTally] = []
        self._count_again = 0.0

    def start(self) -> None:
        self.target.on_damage = self._wake.set
        self._thread = threading.Thread(target=self._loop, name="replicas", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing runs any more. Idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wake(self) -> None:
        self._wake.set()

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            woken = self._wake.wait(min(_LOOK, max(0.0, due - time.monotonic())))
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self._members.refresh()
                if self._members.settings.repair and (woken or time.monotonic() >= due):
                    self.round()
                    due = time.monotonic() + self._members.settings.interval
            except GravitonError as error:
                self._tell(error=str(error), running=False)
                _log.warning("looking after copies: %s", error)
                due = time.monotonic() + _LOOK
            except Exception:  # noqa: BLE001  # without this thread nothing is repaired any more
                _log.exception("looking after copies failed")
                due = time.monotonic() + _LOOK

    def round(self) -> Done:
        """All that is due now."""
        with self._turn:
            self._tell(running=True)
            self._members.refresh()
            first = self._members.replicas.targets()[0]
            self._members.replicas.adopt(first.number)
            self._members.count()
            for member in self._members.all():
                member.look_for_room()
            self.repair.plan(self._stop)
            done = self.repair.run(self._stop)
            with self._lock:
                before = self._status
                self._status = RepairStatus(
                    False,
                    time.time(),
                    before.made + done.made,
                    before.made_bytes + done.bytes,
                    before.removed + done.removed,
                    done.failed,
                    "",
                )
            return done

    def _tell(self, **changes: object) -> None:
        with self._lock:
            self._status = self._status._replace(**changes)  # type: ignore[arg-type]

    def status(self) -> RepairStatus:
        with self._lock:
            return self._status

    def tally(self) -> list[CopyTally]:
        """At most a few seconds old: counting reads all rows."""
        with self._counting:
            if time.monotonic() >= self._count_again:
                began = time.monotonic()
                self._counted = self._members.replicas.tally()
                took = time.monotonic() - began
                self._count_again = began + min(_COUNTED_FOR, _COUNT_SHARE * took)
            return self._counted

    def unhealthy(self) -> int:
        """Copies that are missing or bad; the same on every daemon."""
        return sum(tally.packs for tally in self.tally() if tally.state in UNHEALTHY)
