"""What the shared code for background work sees as its store: transactions instead of a lock.

``with work.lock:`` is one transaction of the calling thread (inner uses join it), committed at its end.
Nothing is shared between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg_pool import PoolClosed

from graviton_server.namespace.applying import Moment
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.postgres import exchange as exchanging
from graviton_server.namespace.postgres.applying import CLOCK
from graviton_server.namespace.postgres.database import Connection, Rerun, translate
from graviton_server.namespace.postgres.exchange import COMMIT, FLUSH, Query, Rows, send
from graviton_server.namespace.postgres.foreseen import Exchange
from graviton_server.namespace.postgres.transaction import PostgresTxn
from graviton_server.namespace.sessions import Session, Volume
from graviton_server.namespace.tape import Tape
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Internal, Unavailable
from gravitonfs.ports.namespace import Change

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

_VOLUMES: Final = (
    "SELECT v.id, v.name, v.root, coalesce(max(s.version), 0)"
    " FROM volumes v LEFT JOIN snapshots s ON s.volume = v.id GROUP BY v.id ORDER BY v.id"
)
_ADD_USAGE: Final = (
    "UPDATE volumes SET logical_bytes = logical_bytes + %s, inodes = inodes + %s WHERE id = %s"
)
_ADD_TO_QUOTA: Final = "UPDATE quotas SET bytes = bytes + %s, inodes = inodes + %s WHERE ino = %s"
_MOMENT: Final = f"SELECT nextval('versions'), {CLOCK}"
_OWNER: Final = (
    "SELECT volume FROM inodes WHERE content = %s AND content <> 0 ORDER BY ino LIMIT 1 FOR UPDATE"
)
_LOCK_CONTENT: Final = "SELECT 1 FROM contents WHERE id = %s FOR UPDATE"
VERSION: Final = "SELECT last_value FROM versions"


@dataclass(eq=False)
class Scope:
    """One transaction."""

    exchange: Exchange
    volumes: dict[int, Volume] = field(default_factory=dict)
    told: list[tuple[int, list[Change]]] = field(default_factory=list)
    clock: int = 0
    durable: bool = False


class _Lock:
    """A transaction where others take a lock. One for all threads: what it keeps is each thread's own."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __enter__(self) -> None:
        self._work.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.leave(error)


class _WorkApplier:
    """The part of an ``Applier`` that background work uses."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def version(self) -> int:
        return int(self._work.store.ask(VERSION, ())[0][0])

    @property
    def txn(self) -> PostgresTxn:
        return self._work.txn()

    def moment(self) -> Moment:
        scope = self._work.scope_of_thread()
        version, clock = scope.exchange.query((_MOMENT, ()))[0]
        scope.clock = clock
        return Moment(version, clock, Tape(), [])

    def outside_batch(self, volume: Volume, moment: Moment) -> PostgresTxn:
        txn = self._work.txn()
        txn.begin(None, telling=True)
        txn.version, txn.now, txn.clock, txn.tape = moment.version, moment.clock, moment.clock, moment.tape
        txn.volume, txn.snapshot, txn.session = volume.id, volume.snapshot, 0
        txn.changes = moment.changes
        self._work.scope_of_thread().told.append((volume.id, moment.changes))
        return txn


class _WorkRoster:
    """The part of a ``Roster`` that background work uses."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def volume(self, number: int) -> Volume:
        volumes = self._work.volumes_by_number()
        return volumes.get(number) or next(iter(volumes.values()))

    def volume_of_content(self, content: int) -> Volume:
        """Its owner is locked: nobody writes to a draft, nor works on any content, at the same time."""
        exchange = self._work.scope_of_thread().exchange
        rows = exchange.query((_OWNER, (content,)))
        exchange.query((_LOCK_CONTENT, (content,)))
        return self.volume(rows[0][0] if rows else 0)


class Work:
    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.format = store.format
        self.lock = _Lock(self)
        self.applier = _WorkApplier(self)
        self.roster = _WorkRoster(self)
        self.loose = store.loose
        self._local = threading.local()

    # --- transactions --------------------------------------------------------------------------------

    def enter(self) -> None:
        depth: int = getattr(self._local, "depth", 0)
        if depth == 0:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(self.store.database.connection())
                except (psycopg.Error, PoolClosed) as error:
                    raise translate(error) from error
                self._local.scope = _begin(connection)
                self._local.stack = stack.pop_all()
        self._local.depth = depth + 1

    def leave(self, error: BaseException | None) -> None:
        self._local.depth -= 1
        if self._local.depth:
            return
        scope: Scope = self._local.scope
        stack: ExitStack = self._local.stack
        self._local.scope = self._local.stack = None
        try:
            with stack:  # rolls back what is not committed
                if error is None:
                    self._commit(scope)
                elif isinstance(error, psycopg.Error | Rerun):
                    raise error
        except (psycopg.Error, Rerun) as failure:
            raise translate(failure) from failure

    def _commit(self, scope: Scope) -> None:
        exchange = scope.exchange
        for volume in scope.volumes.values():
            if volume.dirty:
                exchange.queue(_ADD_USAGE, (volume.logical_bytes, volume.inodes, volume.id))
                exchange.queue(_ADD_TO_QUOTA, (volume.logical_bytes, volume.inodes, volume.root))
        telling = False
        for number, changes in scope.told:
            if changes:
                self.store.changes.put(exchange, number, 0, scope.clock, changes)
                telling = True
        exchange.finish(COMMIT, *(FLUSH if scope.durable else ()))
        if telling:
            self.store.changes.ring()

    @contextmanager
    def scope(self, connection: Connection) -> Iterator[Exchange]:
        """A transaction on a connection that the caller has."""
        scope = _begin(connection)
        yield scope.exchange
        self._commit(scope)

    def scope_of_thread(self) -> Scope:
        scope: Scope | None = getattr(self._local, "scope", None)
        if scope is None:
            raise Internal("a change outside of a transaction")
        return scope

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        with self.lock:
            yield self.execute

    @property
    def execute(self) -> Execute:
        return self.scope_of_thread().exchange.execute

    def change(self, call: Callable[..., object], *args: Any) -> None:
        with self.lock:
            call(*args)

    def close_gate(self) -> None:
        """Until the transaction ends nothing else changes the namespace."""
        exchange = self.scope_of_thread().exchange
        exchange.query(exchanging.CLOSE_GATE)

    def txn(self) -> PostgresTxn:
        store = self.store
        exchange = self.scope_of_thread().exchange
        return PostgresTxn(exchange, store.format, store.roster, store.numbers, store.content_ids)

    def check_readable(self) -> None:
        if self.store.closed:
            raise Unavailable("the namespace is closed")

    def commit(self) -> None:
        """All that was committed before, and the transaction that this is in, is durable in the end."""
        scope: Scope | None = getattr(self._local, "scope", None)
        if scope is not None:
            scope.durable = True
        else:
            self.store.commit()

    def note_version(self) -> None:
        pass  # a sequence keeps it

    # --- volumes and sessions ------------------------------------------------------------------------

    def volumes_by_number(self) -> dict[int, Volume]:
        """Counters are what this transaction adds."""
        scope = self.scope_of_thread()
        if not scope.volumes:
            for number, name, root, snapshot in scope.exchange.query((_VOLUMES, ())):
                scope.volumes[number] = Volume(number, name, Ino(root), 0, 0, snapshot)
        return scope.volumes

    def volumes(self) -> list[Volume]:
        if getattr(self._local, "scope", None) is not None:
            return list(self.volumes_by_number().values())
        return self.store.volumes()

    def tell_all(self, changes: list[Change]) -> None:
        """Sessions elsewhere are told through the table of changes."""
        if changes:
            for listener in self.store.roster.listeners():
                listener(changes)

    def detach(self, session: Session) -> None:
        self.store.detach(session)


def _begin(connection: Connection) -> Scope:
    exchange = Exchange(connection)
    for text, params in (exchanging.BEGIN, exchanging.PASS_GATE, exchanging.LAZY):
        exchange.queue(text, params)
    return Scope(exchange)


class Reader:
    """The store of a reader that changes nothing: each statement by itself, without a transaction."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.format = store.format

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        yield self.execute

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> Rows:
        return Rows(self._store.ask_shared(sql, params))

    def detach(self, session: Session) -> None:
        self._store.detach(session)


def ask(connection: Connection, text: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return send(connection, [Query(text, params)])[0]
