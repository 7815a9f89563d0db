"""What sessions in other processes have to be told: written with the change, rung for, and listened to.

A row of ``changes`` goes in with the batch. NOTIFY follows in a transaction of its own, at most every 5 ms,
because it takes a lock of the whole database. Who listens reads every row of a transaction that may not
have been over when it read last: some twice, none never. Guarded state: the position, the thread's own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg

from graviton_server.namespace.postgres.applying import CLOCK
from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import Query, send
from graviton_server.namespace.postgres.foreseen import Exchange
from graviton_server.namespace.postgres.incarnations import INCARNATION
from graviton_server.namespace.postgres.leases import RECALLED
from graviton_server.namespace.postgres.loose import BYTES
from graviton_server.namespace.postgres.wire import Ints
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Change, Touched

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

log = logging.getLogger(__name__)

RING_SECONDS: Final = 0.005
POLL_SECONDS: Final = 1.0
STOP_SECONDS: Final = 0.1
KEPT_SECONDS: Final = 120
"""Changes are kept for so long; who has not read for half of it drops everything."""
PRUNE_SECONDS: Final = 10.0
CHANNEL: Final = "graviton"

_PUT: Final = "INSERT INTO changes (at, volume, process, session, changes) VALUES (%s, %s, %s, %s, %s)"
_NOW: Final = f"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, {INCARNATION}"
_NEW: Final = (
    "SELECT n, volume, changes FROM changes WHERE xid >= (%s::bigint)::text::xid8 AND process <> %s"
    " ORDER BY n"
)
_SINCE: Final = (
    "SELECT changes FROM changes WHERE xid >= (%s::bigint)::text::xid8 AND volume = %s AND session <> %s"
    " ORDER BY n"
)
_ASKED: Final = "SELECT ino, session FROM claims WHERE session = ANY(%s) AND NOT confirmed ORDER BY ino"
_PRUNE: Final = f"DELETE FROM changes WHERE at < {CLOCK} - %s"

_encode = msgspec.msgpack.Encoder().encode


def decode(data: bytes) -> list[Change]:
    return [
        Change(Touched(touched), Ino(ino), Ino(parent), name)
        for touched, ino, parent, name in msgspec.msgpack.decode(data)
    ]


class Changes:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._rung = threading.Event()
        self._position = 0
        self._incarnation = ""
        self._seen: set[int] = set()
        self._rung_meanwhile = False
        self._read = 0.0
        self._pruned = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ring_loop, name="namespace-notify", daemon=True),
            threading.Thread(target=self._listen_loop, name="namespace-listen", daemon=True),
        ]

    def start(self) -> None:
        self._store.database.again(self._start_here)
        for thread in self._threads:
            thread.start()

    def _start_here(self, connection: Connection) -> None:
        [now], [[loose]] = send(connection, [Query(_NOW, ()), Query(BYTES, ())])
        self._position, self._incarnation = now
        self._store.incarnations.told(now[1])
        self._store.loose.refresh(loose)
        self._read = time.monotonic()

    def stop(self) -> None:
        self._stop.set()
        self._rung.set()
        for thread in self._threads:
            thread.join()

    # --- telling -------------------------------------------------------------------------------------

    def put(
        self, exchange: Exchange, volume: int, session: int, clock: int, changes: Sequence[Change]
    ) -> None:
        """In the transaction that makes them."""
        exchange.queue(_PUT, (clock, volume, self._store.process, session, _encode(changes)))

    def ring(self) -> None:
        """After the commit."""
        self._rung.set()

    def _ring_loop(self) -> None:
        while True:
            self._rung.wait()
            if self._stop.is_set():
                return
            self._rung.clear()
            try:
                with self._store.database.connection() as connection:
                    send(connection, [Query(f"NOTIFY {CHANNEL}", ())])
            except psycopg.Error as error:
                log.debug("others learn of changes a second later: %s", error)  # they poll
            self._stop.wait(RING_SECONDS)

    # --- listening -----------------------------------------------------------------------------------

    def position(self) -> int:
        """From here on ``since`` tells whatever is committed after now."""
        return int(self._store.ask(_NOW, ())[0][0])

    def since(self, position: int, volume: int, session: int) -> list[Change]:
        rows = self._store.ask(_SINCE, (position, volume, session))
        return [change for (data,) in rows for change in decode(data)]

    def _listen_loop(self) -> None:
        while not self._stop.is_set():
            try:
                with self._store.database.direct() as connection:
                    connection.execute(f"LISTEN {CHANNEL}".encode())
                    while not self._stop.is_set():
                        self._look(connection)
                        self._wait(connection)
            except psycopg.Error as error:
                log.debug("the change stream is interrupted: %s", error)
                self._stop.wait(0.2)
            except Exception:
                log.exception("the change stream failed")
                self._stop.wait(POLL_SECONDS)

    def _wait(self, connection: Connection) -> None:
        """Until somebody rings, or it is time to look anyway."""
        if self._rung_meanwhile:
            return
        until = time.monotonic() + POLL_SECONDS
        while not self._stop.is_set() and time.monotonic() < until:
            for _ in connection.notifies(timeout=STOP_SECONDS, stop_after=1):
                return

    def _look(self, connection: Connection) -> None:
        store = self._store
        mine = store.roster.numbers()
        generation = store.loose.generation
        [now], new, asked, [[loose]], recalled = send(
            connection,
            [
                Query(_NOW, ()),
                Query(_NEW, (self._position, store.process)),
                Query(_ASKED, (Ints(mine),)),
                Query(BYTES, ()),
                Query(RECALLED, (Ints(mine),)),
            ],
        )
        self._rung_meanwhile = False
        while connection.pgconn.notifies() is not None:
            self._rung_meanwhile = True  # for a change that came after what was just read
        lost = time.monotonic() - self._read > KEPT_SECONDS / 2
        self._read = time.monotonic()
        if now[1] != self._incarnation:
            self._incarnation = now[1]
            store.incarnations.told(now[1])
        store.incarnations.tell_pending()
        store.roster.recall(recalled)
        if lost:
            store.roster.tell_everything()
        self._deliver([row for row in new if row[0] not in self._seen])
        self._position = now[0]
        self._seen = {row[0] for row in new}
        store.loose.refresh(loose, generation)
        if asked:
            self._answer(asked)
        if self._read - self._pruned > PRUNE_SECONDS:
            self._pruned = self._read
            send(connection, [Query(_PRUNE, (KEPT_SECONDS * 10**9,))])

    def _deliver(self, rows: list[Any]) -> None:
        by_volume: dict[int, list[Change]] = {}
        for _, volume, data in rows:
            by_volume.setdefault(volume, []).extend(decode(data))
        for volume, changes in by_volume.items():
            self._store.roster.tell(volume, changes)

    def _answer(self, asked: list[Any]) -> None:
        """Other processes have removed the last name of these: do sessions here hold them?"""
        try:
            for ino, session in asked:
                self._store.held_inodes.answer(ino, session)
        except GravitonError as error:
            log.debug("asked again later: %s", error)
