"""Sessions of other processes that have their volume to themselves, and may keep what they were told.

Those of this process need no lease: they are told of every change before it is answered. A holder is
recalled when another session enters, which waits until the holder has let go or its lease has run out.
Who holds is in the session's row, so that whoever opens the store after a crash knows whom to wait for.
Guarded by the store's lock.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import sessions
from graviton_server.namespace.sessions import Session, Volume
from gravitonfs.core.processes import is_gone
from gravitonfs.errors import Fenced, Throttled, Unavailable
from gravitonfs.ports.store import NO_LEASE, VolumeLease

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

log = logging.getLogger(__name__)

RETRY: Final = 0.05
_LOOK: Final = 0.2
"""Whether the holder's process is there at all: it may have been killed, on this machine."""


@dataclass(slots=True)
class _Held:
    session: int
    number: int
    until: float
    process: str
    recalled: bool = False


class VolumeLeases:
    def __init__(self, store: NamespaceStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._held: dict[int, _Held] = {}
        self._last = store.incarnation << 32
        self._changed = threading.Condition(store.lock)

    def inherit(self) -> None:
        """At the start: those that sessions of a former process may still trust."""
        for session, volume, process in sessions.holders(self._store.execute):
            until = time.monotonic() + self._seconds
            self._held[volume] = _Held(session, 0, until, process, recalled=True)

    # --- the holder ----------------------------------------------------------------------------------

    def ask(self, session: Session, at_most: float) -> VolumeLease:
        """Granted to a session that is alone, renewed for one that holds it. Durable when it is answered."""
        held = self._held.get(session.volume.id)
        if held is not None and held.session == session.id:
            if held.recalled:
                return VolumeLease(held.number, 0.0)
        elif held is not None or session.recall is None or not self._alone(session):
            return NO_LEASE
        else:
            self._last += 1
            held = self._held[session.volume.id] = _Held(session.id, self._last, 0.0, session.process)
            self._mark(session.id, holds=True)
            try:
                self._store.commits.commit()
            except BaseException:
                self._drop(session.volume.id)
                raise
            log.info("session %d has volume %s to itself", session.id, session.volume.name)
        seconds = min(self._seconds, at_most)
        held.until = time.monotonic() + seconds
        return VolumeLease(held.number, seconds)

    def _alone(self, session: Session) -> bool:
        """Those that were left are soon back; one with a journal perhaps after days, by the same door."""
        roster = self._store.roster
        here = (other for other in roster.in_use(session.volume) if not other.background)
        return all(other is session for other in here) and not any(
            row.volume == session.volume.id and not row.journals for row in roster.left()
        )

    def let_go(self, session: int, number: int) -> None:
        """The holder trusts this lease no more."""
        for volume, held in self._held.items():
            if held.session == session and held.number == number:
                self._drop(volume)
                log.debug("session %d has let go of its volume", session)
                return

    def over(self, session: int) -> None:
        """The session has ended, or begins anew: whatever lease it had."""
        for volume, held in self._held.items():
            if held.session == session:
                self._drop(volume)
                return

    def _drop(self, volume: int) -> None:
        held = self._held.pop(volume)
        self._mark(held.session, holds=False)
        self._changed.notify_all()

    def _mark(self, session: int, *, holds: bool) -> None:
        self._store.change(sessions.mark_holder, self._store.execute, session, holds)

    def number_of(self, session: int) -> int:
        return next((held.number for held in self._held.values() if held.session == session), 0)

    def holders(self) -> set[int]:
        now = time.monotonic()
        return {held.session for held in self._held.values() if held.until > now}

    # --- whoever comes in ----------------------------------------------------------------------------

    def recall(self, session: Session) -> Session | None:
        """A session has been entered; who is to be asked to let go, now without the lock."""
        held = self._held.get(session.volume.id)
        if held is None or held.session == session.id or session.background:
            return None
        held.recalled = True
        log.info("session %d is asked to share volume %s", held.session, session.volume.name)
        return self._store.roster.find(held.session)

    def wait(self, session: Session, patience: float | None) -> None:
        """Until nobody else trusts a lease of the volume; the lock is given up meanwhile. Throttled after
        ``patience``."""
        if session.background:
            return
        until = None if patience is None else time.monotonic() + patience
        volume = session.volume
        while True:
            held = self._held.get(volume.id)
            if held is None or held.session == session.id:
                return
            now = time.monotonic()
            left = held.until - now
            if left <= 0 or is_gone(held.process):
                log.info("the lease of session %d on volume %s is over", held.session, volume.name)
                self._drop(volume.id)
                return
            if until is not None and now >= until:
                raise Throttled(waits(volume, held.session, left), retry_after=RETRY)
            self._changed.wait(min(left, _LOOK if until is None else min(_LOOK, until - now)))
            if self._store.closed:
                raise Unavailable("the namespace is closed")
            if not session.alive:
                raise Fenced(f"session {session.id} has ended")

    def closed(self) -> None:
        self._changed.notify_all()


def waits(volume: Volume, holder: int, left: float) -> str:
    return (
        f"volume {volume.name!r} is kept by session {holder}, which does not answer: it is free in"
        f" {left:.0f} s, or at once after 'graviton session evict SOURCE {holder}'"
    )
