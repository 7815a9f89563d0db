"""Statements that go to the server together, and transactions made of them: one round trip each.

No lock, no state: a connection belongs to one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from graviton_server.namespace.postgres import wire
from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.gates import GATE

Row = wire.Row
Params = wire.Params


class Sender(Protocol):
    """Whoever has writes that wait."""

    def flush(self) -> None: ...


class Rows:
    """The answer of a read."""

    __slots__ = ("_at", "_rows", "rowcount")

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self._at = 0
        self.rowcount = len(rows)

    def fetchone(self) -> Row | None:
        if self._at >= len(self._rows):
            return None
        self._at += 1
        return self._rows[self._at - 1]

    def fetchall(self) -> list[Row]:
        rest = self._rows[self._at :] if self._at else self._rows
        self._at = len(self._rows)
        return rest

    def fetchmany(self, size: int | None = None) -> list[Row]:
        rest = self._rows[self._at : self._at + (size or 1)]
        self._at += len(rest)
        return rest

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())

    def close(self) -> None:
        pass


class Write:
    """A write that waits; asking for its outcome sends it."""

    __slots__ = ("_count", "_exchange", "params", "sql", "text")

    def __init__(self, exchange: Sender, sql: str, text: str, params: Params) -> None:
        self._exchange = exchange
        self.sql = sql
        self.text = text
        self.params = params
        self._count: int | None = None

    @property
    def rowcount(self) -> int:
        if self._count is None:
            self._exchange.flush()
        assert self._count is not None
        return self._count

    def done(self, count: int) -> None:
        self._count = count

    def fetchone(self) -> Row | None:
        raise TypeError("a write has no rows")

    def fetchall(self) -> list[Row]:
        raise TypeError("a write has no rows")

    def fetchmany(self, size: int | None = None) -> list[Row]:
        raise TypeError("a write has no rows")

    def __iter__(self) -> Iterator[Row]:
        raise TypeError("a write has no rows")

    def close(self) -> None:
        pass


class Query(NamedTuple):
    text: str
    params: Params
    then: Callable[[list[Row]], None] | None = None
    """Called with its rows, once they are there."""
    inserts: bool = False
    """Its parameters are columns of new rows; those of two such statements may go in one, before others."""


def send(connection: Connection, todo: Sequence[Write | Query]) -> list[list[Row]]:
    """Statements in one round trip, and their rows."""
    answers = wire.send(connection, [(item.text, item.params) for item in todo])
    for item, (rows, count) in zip(todo, answers, strict=True):
        if isinstance(item, Write):
            item.done(count)
        elif item.then is not None:
            item.then(rows)
    return [rows for rows, _ in answers]


BEGIN: Final = ("BEGIN", ())
COMMIT: Final = ("COMMIT", ())
PASS_GATE: Final = (f"LOCK TABLE {GATE} IN ROW SHARE MODE", ())
"""Held by everything that changes the namespace, so that ``CLOSE_GATE`` waits for all of it."""
CLOSE_GATE: Final = (f"LOCK TABLE {GATE} IN EXCLUSIVE MODE", ())
_SETTINGS: Final = (
    "SELECT set_config('synchronous_commit', %s::text, true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)
_PLANNED: Final = (
    _SETTINGS + ", set_config('plan_cache_mode', 'force_generic_plan', true),"
    " set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"
)
BATCH: Final = (_PLANNED, ("off",))
"""A batch's statements find rows by their keys: planned once, whatever the tables looked like then."""
DURABLE_BATCH: Final = (_PLANNED, ("on",))
LAZY: Final = (_SETTINGS, ("off",))
DURABLE: Final = (_SETTINGS, ("on",))
"""A process that is stopped in the middle of a transaction does not hold up the others for ever."""
FLUSH: Final = (BEGIN, DURABLE, ("SELECT pg_logical_emit_message(true, 'graviton', '')", ()), COMMIT)
"""An empty transaction flushes nothing; this one does, and with it all commits before it, while none of
the rows that they changed is locked any more."""


def transact(connection: Connection, *todo: tuple[str, Params], durable: bool) -> list[list[Row]]:
    """These statements as one transaction, in one round trip. Their rows."""
    whole = [BEGIN, DURABLE if durable else LAZY, *todo, COMMIT]
    return send(connection, [Query(text, params) for text, params in whole])[2:-1]
