"""The remote sessions of this server: attaching, finding, ending them when nothing is heard of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.calls import Call
from graviton_server.grpc_api.remote_session import Handle, RemoteSession, fresh_secret
from gravitonfs.core.ids import Ino
from gravitonfs.core.processes import is_gone
from gravitonfs.errors import AccessDenied, Detached, Fenced, GravitonError, Unavailable
from gravitonfs.ports.store import JOURNAL_PATIENCE, NO_LEASE, SessionRow, VolumeLease

log = logging.getLogger("graviton.grpc")

LABEL_MAX = 200
PATIENCE = 10.0
"""How long one call waits for others to make room; then the client is asked to try again."""
LEASE_SHARE = 5 / 6


class SessionTable:
    """``_lock`` guards the table; ``_resuming`` makes resumptions come one after the other, and is held
    while the namespace is asked. New sessions do not take it: they may have to wait for others to answer."""

    def __init__(self, backend: Backend, lease: float, patience: float = PATIENCE) -> None:
        self._backend = backend
        self.lease = lease
        self._turn = min(patience, PATIENCE)
        self._lock = threading.Lock()
        self._resuming = threading.Lock()
        self._sessions: dict[int, RemoteSession] = {}
        self._started = self._looked = time.monotonic()
        self._aside: dict[int, float] = {}
        """When sessions were set aside, while this process has not heard of them again."""

    def attach(
        self,
        call: Call,
        volume: str,
        label: str,
        *,
        read_only: bool,
        claims: bool,
        listens: bool,
        resume: bytes,
        recalls: bool,
        process: str,
        journals: bool = False,
    ) -> tuple[RemoteSession, bool]:
        """The session, and whether this server knew it already. Durable: the session can be resumed after a
        crash of this process."""
        name = call.principal.name
        session = RemoteSession(
            name, claims=claims, listens=listens, journals=journals, process=process[:LABEL_MAX]
        )
        enter = partial(self._enter, session, volume, label[:LABEL_MAX], read_only, recalls)
        if not resume:
            enter(None, fresh_secret())
            if not call.active:
                self.drop(session)
                raise Unavailable("nobody waits for the session any more")
        else:
            handle = Handle.parse(resume)
            with self._resuming:
                known = self._sessions.get(handle.number)
                if known is not None:
                    self._check(known, handle, name)
                    if self._backend.sessions.retake(known.number):
                        known.process = session.process  # whoever has a dead mount's journal goes on with it
                        known.heard()
                        return known, True
                    self.gone(known)  # it has been with another daemon
                enter(handle.number, handle.secret)
        return session, False

    def _enter(
        self,
        session: RemoteSession,
        volume: str,
        label: str,
        read_only: bool,
        recalls: bool,
        resume: int | None,
        secret: bytes,
    ) -> None:
        sessions = self._backend.sessions
        session.namespace = sessions.attach(
            volume,
            label=label,
            claims=session.claims if session.answers_claims else None,
            listener=session.listener if session.listens else None,
            read_only=read_only,
            resume=resume,
            leased=Handle(0, secret).digest,
            recall=session.recall if recalls and session.listens else None,
            patience=self._turn,
            process=session.process,
            journals=session.journals,
        )
        session.handle = Handle(session.namespace.session, secret)
        session.heard()  # it may have waited for others
        try:
            if resume is not None and session.answers_claims:
                self._ask_claims(session)  # what was asked before the restart, and perhaps not answered
            sessions.commit()
        except BaseException:
            if resume is not None:  # else it could not be resumed again
                self._quietly(partial(sessions.set_aside, session.number))
            raise
        with self._lock:
            self._sessions[session.number] = session
            self._aside.pop(session.number, None)
        log.info(
            "session %d of %s attached to volume %s: %s", session.number, session.principal, volume, label
        )

    # --- the volume's lease --------------------------------------------------------------------------

    def ask_lease(self, session: RemoteSession) -> VolumeLease:
        """Always for less time than the session itself may be silent."""
        try:
            return self._backend.sessions.lease(session.number, self.lease * LEASE_SHARE)
        except Fenced:
            raise
        except GravitonError as error:
            log.debug("session %d gets no lease just now: %s", session.number, error)
            return NO_LEASE

    def recalled(self, session: RemoteSession) -> int:
        """The number of the lease that the client is to let go of; 0: it has done so."""
        return self._backend.sessions.lease_of(session.number)

    def let_go(self, session: RemoteSession, lease: int) -> None:
        session.let_go()
        self._backend.sessions.let_go(session.number, lease)

    # --- finding -------------------------------------------------------------------------------------

    @staticmethod
    def _check(session: RemoteSession, handle: Handle, name: str) -> None:
        if not session.has(handle):
            raise Fenced(f"session {handle.number} cannot be resumed")
        if session.principal != name:
            raise AccessDenied("the session belongs to somebody else")

    def find(self, call: Call, data: bytes) -> RemoteSession:
        """Raises Detached where it is not known, which it may be after another attachment."""
        handle = Handle.parse(data)
        session = self._sessions.get(handle.number)
        if session is None or not session.has(handle):
            raise Detached("the session is not attached here: attach again with 'resume'")
        if session.principal != call.principal.name:
            raise AccessDenied("the session belongs to somebody else")
        session.last_heard = call.started
        return session

    def answer(self, session: RemoteSession, released: Sequence[int], held: Sequence[int]) -> None:
        if released:
            self._backend.sessions.release(session.number, [Ino(ino) for ino in released])
        session.answered([*released, *held])
        if session.answered_all():
            self._ask_claims(session)

    def _ask_claims(self, session: RemoteSession) -> None:
        for ino in self._backend.sessions.claims_of(session.number):
            session.claims(ino)

    def detach(self, data: bytes) -> None:
        """Also one that a former process has left. Idempotent."""
        handle = Handle.parse(data)
        session = self._sessions.get(handle.number)
        if session is not None and session.has(handle):
            self.drop(session)

    def drop(self, session: RemoteSession) -> None:
        with self._lock:
            self._sessions.pop(session.number, None)
        session.end()
        session.namespace.detach()
        self._backend.sessions.commit()

    def gone(self, session: RemoteSession) -> None:
        """Somebody else has ended it."""
        with self._lock:
            self._sessions.pop(session.number, None)
        session.end()

    def evict(self, number: int) -> None:
        session = self._sessions.get(number)
        self._backend.sessions.evict(number)
        if session is not None:
            with self._lock:
                self._sessions.pop(number, None)
            session.end()

    def remote(self, number: int) -> RemoteSession | None:
        return self._sessions.get(number)

    def rows(self) -> list[SessionRow]:
        return self._backend.sessions.sessions()

    def expire(self) -> None:
        """End the sessions of clients that are gone; those whose journal needs them are set aside. Called now
        and then.

        If this process has been held up itself, everybody gets a new lease: nobody could be heard.
        """
        now = time.monotonic()
        with self._lock:
            if now - self._looked > self.lease / 2:
                self._started = now
                for session in self._sessions.values():
                    session.heard()
            self._looked = now
            silent = [one for one in self._sessions.values() if self._is_silent(one, now)]
        for session in silent:
            if session.journals:
                self._quietly(partial(self._set_aside, session))
            else:
                log.info("session %d is not heard of any more: it ends", session.number)
                self._quietly(partial(self.drop, session))
        if self._backend.sole and now - self._started > self.lease:
            rows = self.rows()
            self._aside = {row.number: self._aside[row.number] for row in rows if row.number in self._aside}
            for row in rows:
                since = self._aside.get(row.number, self._started)
                if row.leased and not row.attached and now - since > self._patience(row.journals):
                    log.info("session %d has not come back: it ends", row.number)
                    self._quietly(partial(self._backend.sessions.evict, row.number))

    def _is_silent(self, session: RemoteSession, now: float) -> bool:
        """For so long that it is taken for dead; one with a journal also where its process is seen to be."""
        return now - session.last_heard > self.lease or (session.journals and is_gone(session.process))

    def _set_aside(self, session: RemoteSession) -> None:
        """It has to be attached again, by whoever has its journal: through the same door as all others."""
        with self._resuming:
            if self._sessions.get(session.number) is not session:
                return
            if not self._is_silent(session, time.monotonic()):
                return
            log.info(
                "session %d is not heard of any more: it waits for its journal's next mount", session.number
            )
            try:
                self._backend.sessions.set_aside(session.number)
            except Fenced:
                pass  # somebody has ended it, or taken it up
            with self._lock:
                self._sessions.pop(session.number, None)
                self._aside[session.number] = time.monotonic()
            session.end()

    def _patience(self, journals: bool) -> float:
        """Seconds of silence that end a session."""
        return max(self.lease, JOURNAL_PATIENCE) if journals else self.lease

    @staticmethod
    def _quietly(action: Callable[[], None]) -> None:
        try:
            action()
        except GravitonError as error:
            log.info("ending a session is tried again later: %s", error)

    def release_all(self) -> None:
        """The server stops: sessions stay in the database, for whoever takes them up."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.end()

    def __len__(self) -> int:
        return len(self._sessions)
