"""Which sessions this process has, and which of all are alive.

A session is alive while its process says so in time, by the database's clock. One that is silent is ended
by any process, with the gate closed, but not before the database and this process have themselves been
up for as long. Guarded by a lock: the sessions of this process.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import psycopg

from graviton_server.namespace.postgres import leases
from graviton_server.namespace.postgres.applying import CLOCK, FLUSHED
from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import CLOSE_GATE, transact
from graviton_server.namespace.postgres.gates import Outdated
from graviton_server.namespace.postgres.incarnations import INCARNATION
from graviton_server.namespace.postgres.sessions import KEEP_HERE, PostgresSession, decode
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.roster import GONE
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, GravitonError, NotFound
from gravitonfs.ports.namespace import EVERYTHING, Change, Listener
from gravitonfs.ports.store import JOURNAL_PATIENCE, SessionRow

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

log = logging.getLogger(__name__)

BEATS: Final = 12
"""Heartbeats in the time after which silence ends a session."""

_VOLUMES: Final = (
    "SELECT v.id, v.name, v.root, v.logical_bytes, v.inodes, coalesce(max(s.version), 0)"
    " FROM volumes v LEFT JOIN snapshots s ON s.volume = v.id GROUP BY v.id ORDER BY v.id"
)
_ADD: Final = (
    "INSERT INTO sessions (volume, label, process, asks, heartbeat, read_only, secret, background, owner)"
    f" VALUES (%s, %s, %s, %s, {CLOCK} + %s, %s, %s, %s, %s) RETURNING id"
)
_RESUME: Final = (
    f"UPDATE sessions SET process = %s, asks = %s, label = %s, owner = %s, heartbeat = {CLOCK} + %s"
    " WHERE id = %s AND volume = %s RETURNING id"
)
_SECRET: Final = "SELECT secret FROM sessions WHERE id = %s"
_ALL: Final = (
    "SELECT s.id, v.name, s.label, s.read_only, s.secret IS NOT NULL,"
    " coalesce((SELECT max(number) FROM answers a WHERE a.session = s.id), 0),"
    f" EXISTS (SELECT 1 FROM leases l WHERE l.session = s.id AND l.until > {CLOCK}),"
    f" s.heartbeat > {CLOCK} + 60000000000"
    " FROM sessions s JOIN volumes v ON v.id = s.volume ORDER BY s.id"
)
_VOLUME_OF: Final = "SELECT volume FROM sessions WHERE id = %s"
_ANSWERS: Final = "SELECT answer FROM answers WHERE session = %s ORDER BY number DESC LIMIT %s"
_BEAT: Final = (
    f"UPDATE sessions SET heartbeat = {CLOCK}"
    f" + CASE WHEN id = ANY(%s) THEN {int(JOURNAL_PATIENCE * 1e9)} ELSE 0 END"
    " WHERE id = ANY(%s) RETURNING id"
)
"""The first are of clients that keep a journal: their last word holds for much longer."""
_SET_ASIDE: Final = "UPDATE sessions SET process = 0 WHERE id = %s AND process = %s"
"""A session of nobody's is refused its batches, and is in nobody's way, until it is taken up again."""
_FORSAKEN: Final = (
    f"SELECT id, process FROM sessions WHERE process <> 0 AND heartbeat > {CLOCK} + 60000000000"
    f" AND heartbeat < {CLOCK} + {int(JOURNAL_PATIENCE * 1e9)} - %s"
    " AND extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000000000 > %s"
)
"""Their clients keep a journal, and no process has spoken for them for so long."""
_ELSEWHERE: Final = "SELECT id FROM sessions WHERE id = ANY(%s) AND process <> %s"
_SILENT: Final = (
    f"SELECT id, volume FROM sessions WHERE heartbeat < {CLOCK} - %s"
    f" AND extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000000000 > %s"
)
_HEARD: Final = f"SELECT 1 FROM sessions WHERE id = %s AND heartbeat >= {CLOCK} - %s"
_FOLD: Final = (
    "UPDATE volumes v SET logical_bytes = v.logical_bytes + a.logical_bytes, inodes = v.inodes + a.inodes"
    " FROM (SELECT logical_bytes, inodes FROM answers WHERE session = %s ORDER BY number DESC LIMIT 1) a"
    " WHERE v.id = %s"
)
_END: Final = (leases.FORGET, "DELETE FROM answers WHERE session = %s", "DELETE FROM sessions WHERE id = %s")


def _patience(journals: bool) -> int:
    """Nanoseconds: a client that keeps a journal was heard of in the future, so to say."""
    return int(JOURNAL_PATIENCE * 1e9) if journals else 0


class Roster:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._sessions: dict[int, PostgresSession] = {}
        self._beaten = ""
        self._silence = store.database.settings.silence
        self._stop = threading.Event()
        self._outdated = False
        self._thread = threading.Thread(target=self._loop, name="namespace-heartbeat", daemon=True)

    def start(self) -> None:
        self._beaten = self._store.incarnations.database
        self._store.incarnations.begin()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    # --- volumes -------------------------------------------------------------------------------------

    def volumes(self) -> list[Volume]:
        return [
            Volume(number, name, Ino(root), logical, inodes, snapshot)
            for number, name, root, logical, inodes, snapshot in self._store.ask(_VOLUMES, ())
        ]

    def named(self, name: str) -> Volume:
        for volume in self.volumes():
            if volume.name == name and not name.startswith(GONE):
                return volume
        raise NotFound(f"there is no volume {name!r}")

    # --- sessions ------------------------------------------------------------------------------------

    def admit(self, session: PostgresSession) -> bool:
        """A new session, which gets its number. With the gate closed: every batch after this knows of it.
        True: somebody has the volume to itself, and is recalled."""
        params = (
            session.volume.id,
            session.label,
            self._store.process,
            session.claims is not None,
            _patience(session.journals),
            session.read_only,
            session.leased,
            session.background,
            session.process,
        )
        recall = self._recall_for(session)
        rows = self._store.database.again(
            lambda connection: transact(connection, CLOSE_GATE, (_ADD, params), *recall, durable=True)
        )
        session.id = int(rows[1][0][0])
        self._enter(session)
        return any(rows[2:])

    @staticmethod
    def _recall_for(session: PostgresSession) -> list[tuple[str, Any]]:
        return [] if session.background else [(leases.RECALL, (session.volume.id, session.id))]

    def readmit(self, session: PostgresSession) -> bool:
        """A session that another process, or this one before, has left. Raises Fenced. Else as ``admit``; the
        lease that it had is over."""
        number, volume = session.id, session.volume
        with self._lock:
            if number in self._sessions:
                raise Fenced(f"session {number} is attached here already")
        self._must_prove(number, session.leased)
        asks, patience = session.claims is not None, _patience(session.journals)
        resume = (self._store.process, asks, session.label, session.process, patience, number, volume.id)
        todo = [
            CLOSE_GATE,
            (_RESUME, resume),
            (_ANSWERS, (number, KEEP_HERE)),
            (leases.FORGET, (number,)),
            *self._recall_for(session),
        ]
        rows = self._store.database.again(lambda connection: transact(connection, *todo, durable=True))
        found, answers = rows[1:3]
        if not found:
            raise Fenced(f"session {number} cannot be resumed: it has ended")
        session.recorded.extend(decode(row[0]) for row in reversed(answers))
        if session.recorded:
            session.last = session.durable = session.recorded[-1][0]
        self._enter(session)
        return any(rows[4:])

    def _must_prove(self, number: int, leased: bytes | None) -> None:
        """A session of another process is taken up by whoever knows its secret."""
        rows = self._store.ask(_SECRET, (number,))
        secret: bytes | None = rows[0][0] if rows else None
        if secret is None or leased is None:
            proven = bool(rows) and secret is None and leased is None
        else:
            proven = hmac.compare_digest(leased, secret)
        if not proven:
            raise Fenced(f"session {number} cannot be resumed")

    def retake(self, number: int) -> bool:
        """See ``SessionStore``."""
        self._let_move([number])
        return self.find(number) is not None

    def _enter(self, session: PostgresSession) -> None:
        with self._lock:
            self._sessions[session.id] = session
            self._introduce()

    def _introduce(self) -> None:
        """Sessions of a volume in this process know each other's listeners. Lock held."""
        for session in self._sessions.values():
            session.others = tuple(
                other.listener
                for other in self._sessions.values()
                if other is not session
                and other.volume.id == session.volume.id
                and other.listener is not None
            )

    def dismiss(self, session: PostgresSession) -> None:
        with session.lock:
            if not session.alive:
                return
            if session.id in self._let_move([session.id]):
                return  # its client has gone to another daemon with it
            session.alive = False
            with self._lock:
                self._sessions.pop(session.id, None)
                self._introduce()
        self._store.leases.over(session)
        self.end(
            session.id, session.volume.id, unless=(_ELSEWHERE, (Ints([session.id]), self._store.process))
        )

    def set_aside(self, session: PostgresSession) -> None:
        """See ``SessionStore``. With the gate closed: batches are before it, or refused."""
        with session.lock:
            if not session.alive:
                return
            session.alive = False
            with self._lock:
                self._sessions.pop(session.id, None)
                self._introduce()
        self._store.leases.over(session)
        self._forsake(session.id, self._store.process)

    def _forsake(self, number: int, process: int) -> None:
        """Unless another process has taken it up."""
        aside = (_SET_ASIDE, (number, process))
        self._store.database.again(
            lambda connection: transact(
                connection, CLOSE_GATE, aside, (leases.FORGET_UNATTENDED, (number,)), durable=True
            )
        )

    def end(self, number: int, volume: int, *, unless: tuple[str, Any] | None = None) -> None:
        """Drop what a session held, and forget it, unless this question has an answer."""
        self._store.upkeep.again(self._end, number, volume, unless)

    def _end(self, number: int, volume: int, unless: tuple[str, Any] | None) -> None:
        work = self._store.work
        with work.lock:
            work.close_gate()
            exchange = work.scope_of_thread().exchange
            if unless is not None and exchange.query(unless):
                return
            self._store.held_inodes.drop(number, volume)
            exchange.queue(_FOLD, (number, volume))
            for sql in _END:
                exchange.queue(sql, (number,))

    def leave(self) -> None:
        """The process ends: what its sessions alone kept goes. They may be resumed for a while."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            session.alive = False
            self._store.leases.over(session)
            if session.leased is not None:
                continue  # its own process lives on, and comes back
            try:
                self._let_go(session.id, session.volume.id)
            except GravitonError as error:
                log.warning("session %d lets go when it has been silent for a while: %s", session.id, error)

    def _let_go(self, number: int, volume: int) -> None:
        work = self._store.work
        with work.lock:
            self._store.held_inodes.drop(number, volume)
            work.scope_of_thread().exchange.queue(leases.FORGET, (number,))

    def find(self, number: int) -> PostgresSession | None:
        """Where this process has it."""
        with self._lock:
            return self._sessions.get(number)

    def attached(self, number: int) -> PostgresSession:
        """Raises Fenced."""
        session = self.find(number)
        if session is None:
            raise Fenced(f"session {number} has ended")
        return session

    def rows(self) -> list[SessionRow]:
        """All that are alive, whoever has them."""
        mine = set(self.numbers())
        return [
            SessionRow(number, volume, label, read_only, leased, number in mine, last, holds, journals)
            for number, volume, label, read_only, leased, last, holds, journals in self._store.ask(_ALL, ())
        ]

    def evict(self, number: int) -> None:
        """Raises NotFound."""
        rows = self._store.ask(_VOLUME_OF, (number,))
        if not rows:
            raise NotFound(f"there is no session {number}")
        with self._lock:
            session = self._sessions.get(number)
        if session is not None:
            self.dismiss(session)
        self.end(number, rows[0][0])

    def flush(self) -> None:
        """All that was applied here is durable; what a crash of the server took back is applied again."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            if session.alive and session.kept:
                try:
                    with session.lock:
                        self._store.applier.apply(session, (), durable=True)
                except Fenced as error:
                    log.error("what session %d has applied is not sure to last: %s", session.id, error)

    def claimants(self, volume: int, ino: Ino) -> list[int]:
        """The sessions of this process that have an inode open."""
        with self._lock:
            sessions = list(self._sessions.values())
        return [
            session.id
            for session in sessions
            if session.volume.id == volume and session.claims is not None and session.claims(ino)
        ]

    def numbers(self) -> list[int]:
        with self._lock:
            return sorted(self._sessions)

    def listeners(self, volume: int | None = None) -> list[Listener]:
        with self._lock:
            return [
                session.listener
                for session in self._sessions.values()
                if session.listener is not None and volume in (None, session.volume.id)
            ]

    def tell(self, volume: int, changes: Sequence[Change]) -> None:
        for listener in self.listeners(volume):
            listener(changes)

    def suspend_trust(self) -> None:
        """What sessions were told under a lease may not be so any more."""
        with self._lock:
            for session in self._sessions.values():
                if session.trust is not None:
                    session.trust.doubt()

    def tell_everything(self) -> None:
        for listener in self.listeners():
            listener([EVERYTHING])

    def __len__(self) -> int:
        return len(self._sessions)

    # --- life ----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._stop.wait(self._silence / BEATS):
            try:
                self.beat()
                self._store.incarnations.tell_pending()
                self.bury()
                self._store.check()
            except Outdated as error:
                self._tell_outdated(error)
            except (GravitonError, psycopg.Error) as error:
                self._store.incarnations.server_away()
                log.debug("no heartbeat: %s", error)
            except Exception:
                log.exception("the heartbeat failed")

    def _tell_outdated(self, error: Outdated) -> None:
        """Once: it stays so until the process ends."""
        if not self._outdated:
            self._outdated = True
            log.error("%s", error)

    def beat(self) -> None:
        """Say that this process's sessions live; see what has become durable, and what was lost."""
        self._let_move(self.numbers())
        with self._lock:
            sessions = dict(self._sessions)
        if not sessions:
            return
        patient = [number for number, session in sessions.items() if session.journals]
        found, state = self._store.database.again(
            lambda connection: self._beat(connection, sorted(sessions), patient)
        )
        alive = {row[0] for row in found}
        for number, session in sessions.items():
            if number not in alive:
                session.alive = False
                self._store.leases.over(session)
                log.error("session %d (%s) was ended by others: it was silent", number, session.label)
        incarnation, flushed = state[0]
        renewed = incarnation != self._beaten
        self._store.incarnations.told(incarnation)
        for session in sessions.values():
            if session.alive and session.kept:
                self._look_after(session, flushed, renewed)
        self._beaten = incarnation
        for session in sessions.values():
            if session.alive:
                self._keep_lease(session)

    def _keep_lease(self, session: PostgresSession) -> None:
        try:
            self._store.leases.keep(session)
        except Fenced:
            pass  # it has ended meanwhile

    def recall(self, asked: Sequence[tuple[int, int]]) -> None:
        """Sessions, and the numbers of the leases that they are to let go of."""
        with self._lock:
            sessions = dict(self._sessions)
        for number, lease in asked:
            if number in sessions:
                self._store.leases.recall(sessions[number], lease)
        self._store.leases.look(sessions.values())

    def _let_move(self, numbers: Sequence[int]) -> set[int]:
        """Those that another process has taken up are its to keep alive, and to end; which. Those that have
        ended are nobody's."""
        moved = {row[0] for row in self._store.ask(_ELSEWHERE, (Ints(numbers), self._store.process))}
        with self._lock:
            for number, session in list(self._sessions.items()):
                if number in moved:
                    session.alive = False
                    log.info("session %d (%s) goes on in another process", number, session.label)
                if not session.alive:
                    del self._sessions[number]
            self._introduce()
        return moved

    def _beat(self, connection: Connection, numbers: list[int], patient: list[int]) -> list[Any]:
        state = (f"SELECT {INCARNATION}, {FLUSHED}", ())
        return transact(connection, (_BEAT, (Ints(patient), Ints(numbers))), state, durable=False)

    def _look_after(self, session: PostgresSession, flushed: int, renewed: bool) -> None:
        """A session that is idle: nobody else would notice."""
        if renewed:
            with session.lock:
                self._store.applier.apply(session, (), durable=False)
        elif session.lock.acquire(blocking=False):
            try:
                session.flushed(flushed)
            finally:
                session.lock.release()

    def bury(self) -> None:
        """End the sessions of processes that are silent."""
        if self._store.incarnations.up_for < self._silence:
            return
        silence = int(self._silence * 1e9)
        for number, process in self._store.ask(_FORSAKEN, (silence, silence)):
            log.info("nobody speaks for session %d: it waits for its journal's next mount", number)
            self._forsake(number, process)
        for number, volume in self._store.ask(_SILENT, (silence, silence)):
            log.warning("session %d has been silent for %.0f s: it is ended", number, self._silence)
            self.end(number, volume, unless=(_HEARD, (number, silence)))
