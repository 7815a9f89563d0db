"""Which inodes without names sessions have open: claims, and the end of what nobody claims any more.

No lock, no state: the rows of claims are in the database, what is open in the sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import orphans
from graviton_server.namespace.postgres.sessions import PostgresSession
from graviton_server.namespace.postgres.wire import Ints
from gravitonfs.core.ids import Ino

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

_CLAIMED: Final = "SELECT ino FROM claims WHERE session = %s ORDER BY ino"
_LOCK_INODES: Final = "SELECT 1 FROM inodes WHERE ino = ANY(%s) ORDER BY ino FOR UPDATE"
_CONFIRM: Final = "UPDATE claims SET confirmed = true WHERE ino = %s AND session = %s"


class HeldInodes:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def claimed_by(self, number: int) -> list[Ino]:
        return [Ino(row[0]) for row in self._store.ask(_CLAIMED, (number,))]

    def release(self, session: PostgresSession, inos: Sequence[Ino]) -> None:
        """A session no longer has these inodes open."""
        if inos:
            self._store.upkeep.again(self._release, session, sorted(set(inos)))

    def _release(self, session: PostgresSession, inos: list[Ino]) -> None:
        work = self._store.work
        with work.lock:
            work.scope_of_thread().exchange.query((_LOCK_INODES, (Ints(inos),)))
            volume = work.roster.volume(session.volume.id)
            txn = work.applier.outside_batch(volume, work.applier.moment())
            for ino in inos:
                orphans.drop_claim(txn, ino, session.id)
            volume.add(txn.bytes, txn.inodes)

    def answer(self, ino: int, number: int) -> None:
        """Another process has removed the last name of an inode: does this session hold it?"""
        session = self._store.roster.find(number)
        if session is None:
            return
        held = session.claims is not None and session.claims(Ino(ino))
        self._store.upkeep.again(self._settle, ino, session, held)

    def _settle(self, ino: int, session: PostgresSession, held: bool) -> None:
        work = self._store.work
        with work.lock:
            exchange = work.scope_of_thread().exchange
            if held:
                exchange.queue(_CONFIRM, (ino, session.id))
        if not held:
            self._release(session, [Ino(ino)])

    def drop(self, number: int, volume: int) -> None:
        """All that a session has, which is over. Inside of the caller's transaction."""
        work = self._store.work
        exchange = work.scope_of_thread().exchange
        held = [row[0] for row in exchange.query((_CLAIMED, (number,)))]
        if not held:
            return
        exchange.query((_LOCK_INODES, (Ints(held),)))
        found = work.roster.volume(volume)
        txn = work.applier.outside_batch(found, work.applier.moment())
        for ino in held:
            orphans.drop_claim(txn, Ino(ino), number)
        found.add(txn.bytes, txn.inodes)
