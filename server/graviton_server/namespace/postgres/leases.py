"""Sessions that have their volume to themselves, and may keep what they were told: a row for each.

A lease is granted with the gate closed, so that whoever comes in either is seen or sees it. Whoever comes in
enters its own session first, which ends all granting and renewing, rings for the holder, and waits until the
row is gone or, by the database's clock, over. Granting and renewing are durable before they are answered: a
database that crashes does not forget whom it has to wait for.

``_lock`` guards which recalls are under way; each session's ``Trust`` guards itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from graviton_server.namespace.postgres.applying import CLOCK
from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import CLOSE_GATE, transact
from graviton_server.namespace.postgres.sessions import PostgresSession
from graviton_server.namespace.volume_leases import RETRY, waits
from gravitonfs.core.processes import is_gone
from gravitonfs.core.trust import instant
from gravitonfs.errors import Fenced, GravitonError, Throttled, Unavailable
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.ports.store import LEASE_SECONDS, NO_LEASE, VolumeLease

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

log = logging.getLogger(__name__)

SHARE: Final = 5 / 6
"""Of the time for which a session may be silent."""
FIRST_LOOK: Final = 0.005
LONGEST_LOOK: Final = 0.2

RECALL: Final = "UPDATE leases SET recalled = true WHERE volume = %s AND session <> %s RETURNING session"
"""In the transaction that enters a session."""
RECALLED: Final = "SELECT session, number FROM leases WHERE session = ANY(%s) AND recalled"
FORGET: Final = "DELETE FROM leases WHERE session = %s"
FORGET_UNATTENDED: Final = (
    "DELETE FROM leases l USING sessions s WHERE l.session = %s AND s.id = l.session AND s.process = 0"
)
_OVER: Final = (
    f"DELETE FROM leases WHERE volume = %s AND session <> %s AND until <= {CLOCK} RETURNING session"
)
_OTHERS: Final = (
    f"SELECT l.session, l.until - {CLOCK}, s.owner FROM leases l JOIN sessions s ON s.id = l.session"
    " WHERE l.volume = %s AND l.session <> %s"
)
_RENEW: Final = f"UPDATE leases SET until = {CLOCK} + %s WHERE session = %s AND NOT recalled RETURNING number"
_STATE: Final = (
    "SELECT coalesce((SELECT number FROM leases l WHERE l.session = s.id), 0), NOT EXISTS"
    " (SELECT 1 FROM sessions o WHERE o.volume = s.volume AND o.id <> s.id AND NOT o.background"
    " AND o.process <> 0) FROM sessions s WHERE s.id = %s AND s.process <> 0"
)
_GRANT: Final = (
    "INSERT INTO leases (volume, session, number, until) SELECT s.volume, s.id, nextval('versions'),"
    f" {CLOCK} + %s FROM sessions s WHERE s.id = %s AND s.process <> 0 AND NOT EXISTS"
    " (SELECT 1 FROM sessions o WHERE o.volume = s.volume AND o.id <> s.id AND NOT o.background"
    " AND o.process <> 0) ON CONFLICT (volume) DO NOTHING RETURNING number"
)
_LET_GO: Final = "DELETE FROM leases WHERE session = %s AND number = %s RETURNING number"
_NUMBER: Final = "SELECT number FROM leases WHERE session = %s"
_HOLDERS: Final = f"SELECT session FROM leases WHERE until > {CLOCK}"


class Leases:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._seconds = min(LEASE_SECONDS, store.database.settings.silence * SHARE)
        self._lock = threading.Lock()
        self._recalling: dict[int, int] = {}

    # --- the holder, as the database has it ----------------------------------------------------------

    def ask(self, number: int, at_most: float = LEASE_SECONDS) -> VolumeLease:
        """Granted to a session that is alone, renewed for one that holds it. Fenced."""
        seconds = min(self._seconds, at_most)
        time_ns = int(seconds * 1e9)
        again = self._store.database.again
        renewed, state = again(
            lambda connection: transact(
                connection, (_RENEW, (time_ns, number)), (_STATE, (number,)), durable=True
            )
        )
        if renewed:
            return VolumeLease(renewed[0][0], seconds)
        if not state:
            raise Fenced(f"session {number} has ended")
        held, alone = state[0]
        if held:
            return VolumeLease(held, 0.0)
        if not alone:
            return NO_LEASE
        granted = again(
            lambda connection: transact(connection, CLOSE_GATE, (_GRANT, (time_ns, number)), durable=True)
        )[-1]
        if not granted:
            return NO_LEASE
        log.info("session %d has its volume to itself", number)
        return VolumeLease(granted[0][0], seconds)

    def let_go(self, session: int, number: int) -> None:
        """Nothing answered under this lease is used any more. Idempotent."""
        gone = self._store.database.again(
            lambda connection: transact(connection, (_LET_GO, (session, number)), durable=False)
        )[0]
        if gone:
            log.debug("session %d has let go of its volume", session)

    def number_of(self, session: int) -> int:
        rows = self._store.ask(_NUMBER, (session,))
        return rows[0][0] if rows else 0

    def holders(self) -> set[int]:
        return {row[0] for row in self._store.ask(_HOLDERS, ())}

    # --- sessions of this process --------------------------------------------------------------------

    def keep(self, session: PostgresSession) -> None:
        """Called with each heartbeat: what a session of this process may trust from now on."""
        trust = session.trust
        if session.leased is not None or session.recall is None or trust is None:
            return
        asked = instant()
        lease = self.ask(session.id)
        if not lease.number:
            trust.suspend()
        elif not lease.seconds or trust.was_given_up(lease.number):
            self.recall(session, lease.number)
        else:
            trust.granted(lease.number, lease.seconds, asked)

    def recall(self, session: PostgresSession, number: int) -> None:
        """Somebody waits. Sessions of other processes are only told so; those of this one let go at once."""
        with self._lock:
            if self._recalling.get(session.id, 0) >= number:
                return
            self._recalling[session.id] = number
        log.info("session %d is asked to share volume %s", session.id, session.volume.name)
        if session.recall is None:
            return
        if session.trust is None:
            session.recall()
            return
        session.trust.give_up(number)
        threading.Thread(target=self._give_up, args=(session, number), name="recall", daemon=True).start()

    def _give_up(self, session: PostgresSession, number: int) -> None:
        assert session.recall is not None
        assert session.trust is not None
        try:
            session.recall()
        except Exception:
            log.exception("what is cached could not be dropped: the lease has to run out")
            return
        session.trust.dropped(number)
        try:
            self.let_go(session.id, number)
        except GravitonError as error:
            log.info("session %d cannot say that it has let go: %s", session.id, error)
            with self._lock:
                self._recalling.pop(session.id, None)  # the next heartbeat asks again

    def over(self, session: PostgresSession) -> None:
        if session.trust is not None:
            session.trust.end()
        with self._lock:
            self._recalling.pop(session.id, None)

    def look(self, sessions: Iterable[PostgresSession]) -> None:
        """Now and then. After the machine has slept: the kernel's clock stood still meanwhile."""
        for session in sessions:
            if session.trust is not None and session.listener is not None and session.trust.slept():
                log.info("the machine has slept: what session %d has cached is dropped", session.id)
                session.listener([EVERYTHING])

    # --- whoever comes in ----------------------------------------------------------------------------

    def wait(self, session: PostgresSession, patience: float | None) -> None:
        """Until nobody else trusts a lease of the volume. Throttled after ``patience``."""
        until = None if patience is None else time.monotonic() + patience
        key = (session.volume.id, session.id)
        pause = FIRST_LOOK
        while True:
            over, others = self._store.database.again(lambda connection: self._look(connection, key))
            for (holder,) in over:
                log.info("the lease of session %d on volume %s ran out", holder, session.volume.name)
            if not others:
                return
            holder, left, owner = others[0][0], others[0][1] / 1e9, others[0][2]
            if is_gone(owner):
                log.info("the process of session %d is gone, and so is its lease", holder)
                self._store.database.again(lambda c: transact(c, (FORGET, (holder,)), durable=False))  # noqa: B023
                continue
            if until is not None and time.monotonic() >= until:
                raise Throttled(waits(session.volume, holder, left), retry_after=RETRY)
            time.sleep(min(pause, max(left, 0.001)))
            pause = min(pause * 1.5, LONGEST_LOOK)
            if self._store.closed:
                raise Unavailable("the namespace is closed")
            if not session.alive:
                raise Fenced(f"session {session.id} has ended")

    @staticmethod
    def _look(connection: Connection, key: tuple[int, int]) -> list[Any]:
        return transact(connection, (_OVER, key), (_OTHERS, key), durable=False)
