"""Which database this process talks to: a start, fail-over or load of it may take back what was answered.

Guarded by a lock: all of it. Another lets one thread at a time begin an incarnation, while others wait.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import Query, send, transact

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

log = logging.getLogger(__name__)

INCARNATION: Final = (
    "concat_ws('/', (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),"
    " (SELECT value FROM meta WHERE key = 'incarnation'))"
)
"""Start, timeline and load of the database: another one may have lost what was not flushed."""
_LATE: Final = 60.0
"""Seconds in which an answer of the database before may still be on its way to whoever tells of it."""
_OPENING: Final = "UPDATE meta SET value = value + 1 WHERE key = 'openings' RETURNING value"


class Incarnations:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.database = ""
        """As the database tells it."""
        self.current = 0
        """As clients know it."""
        self._past: dict[str, float] = {}
        """Those that another has followed, and until when nobody is believed who tells of them."""
        self._away = False
        self._changed = self._begun = 0
        """How often the database has changed, and how much of that was told."""
        self._beginning = threading.Lock()
        self._up_since = time.monotonic()

    @property
    def up_for(self) -> float:
        """Seconds for which the database and this process have heard of each other."""
        return time.monotonic() - self._up_since

    def greet(self, connection: Connection) -> None:
        """A new connection: who reads through it must know first whether it leads to another incarnation."""
        self.told(send(connection, [Query(f"SELECT {INCARNATION}", ())])[0][0][0])

    def told(self, found: str) -> None:
        """What an answer of the database tells; another one than before: nothing cached can be trusted."""
        if self._away:
            self._away = False
            log.warning("the database server answers again")
        if found == self.database:
            return
        with self._lock:
            now = time.monotonic()
            if found == self.database or self._past.get(found, 0.0) > now:
                return
            self._past[self.database] = now + _LATE
            self._past.pop(found, None)
            first, self.database = not self.database, found
            self._up_since = time.monotonic()
            self._changed += not first
            self._store.roster.suspend_trust()

    def tell_pending(self) -> None:
        """Sessions hear of another incarnation: from whoever holds no lock and no connection just now."""
        if self._begun == self._changed:
            return  # nearly always
        with self._beginning:
            changed = self._changed
            pending = self._begun != changed
            if pending:
                self.begin()
                self._begun = changed
        if pending:
            log.info("the database was restarted: what its clients have cached is dropped")
            self._store.roster.tell_everything()

    def begin(self) -> None:
        """A new incarnation, as clients know it: a number that rises. Durable."""
        rows = self._store.database.again(
            lambda connection: transact(connection, (_OPENING, ()), durable=True)
        )
        self.current = int(rows[0][0][0])

    def server_away(self) -> None:
        """Silence of other sessions means nothing for a while."""
        self._up_since = time.monotonic()
        if not self._away:
            self._away = True
            log.warning("the database server does not answer: calls wait for it")
