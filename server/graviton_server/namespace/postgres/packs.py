"""Pack rows on PostgreSQL. Nothing of them is kept in memory: any daemon may change them.

Batches pass the gate and look whether their packs are live; whoever takes a live pack away closes it
first. So no batch can rely on a pack that is condemned while it is being applied, and no row is locked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import CLOSE_GATE, PASS_GATE, Row, transact
from graviton_server.namespace.postgres.foreseen import Exchange
from graviton_server.namespace.postgres.housekeeping import NOT_HELD
from graviton_server.namespace.postgres.wire import Ints, Statement
from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.errors import Invalid, MissingBlocks
from gravitonfs.ports.packs import PackNews, PackRow, PackState
from gravitonfs.ports.replicas import Placing

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

RELIED_STEP_NS: Final = 600 * 10**9
SILENT_NS: Final = 60 * 10**9
"""Engines that were not heard of for so long hold nothing back."""

_CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
_COLUMNS: Final = "number, uuid, state, owner, length, blocks, created, relied, changed"
_BEGIN: Final = (
    "INSERT INTO packs (uuid, state, owner, length, blocks, created, relied, changed)"
    f" SELECT %s, %s, %s, 0, 0, c, c, c FROM (SELECT {_CLOCK} AS c) x ON CONFLICT (uuid)"
    " DO UPDATE SET owner = excluded.owner WHERE packs.state = excluded.state RETURNING number"
)
"""A repeat, after a connection was lost over its answer, finds the row that it made."""
_BEGIN_PLACED: Final = (
    f"WITH p AS ({_BEGIN}), r AS (INSERT INTO replicas (pack, target, state, due)"
    " SELECT p.number, t, 'wanted', 0 FROM p, unnest(%s::bigint[]) t ON CONFLICT DO NOTHING)"
    " SELECT number FROM p"
)
_SEALED: Final = (
    f"UPDATE packs SET length = %s, blocks = %s, footer = %s, changed = {_CLOCK} WHERE number = %s"
)
_IN_TURN: Final = ("SELECT pg_advisory_xact_lock(3, 0)", ())
"""States change one after the other, up to the end of the commit: so positions are in the order of commits,
and nobody has seen one that a crash could take back and give to another pack."""
_POSITION: Final = "position = nextval('pack_positions')"
_PUBLISH: Final = (
    "UPDATE packs SET state = 'live', length = CASE WHEN %s <> 0 THEN %s ELSE length END,"
    " blocks = CASE WHEN %s <> 0 THEN %s ELSE blocks END,"
    f" footer = CASE WHEN %s <> 0 THEN %s ELSE footer END, changed = {_CLOCK}, {_POSITION}"
    " WHERE number = %s AND state = 'storing'"
)
_IS_LIVE: Final = "SELECT 1 FROM packs WHERE number = %s AND state = 'live'"
_MOVE: Final = (
    f"UPDATE packs SET state = %s, changed = {_CLOCK}, {_POSITION} WHERE number = %s AND state = ANY(%s)"
    " RETURNING number"
)
_CONDEMN: Final = (
    f"UPDATE packs SET state = 'condemned', changed = {_CLOCK}, {_POSITION}"
    f" WHERE number = ANY(%s) AND state = 'live' AND relied < %s{NOT_HELD} RETURNING number"
)
_UP: Final = "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000000000"
_ENROLL: Final = (
    f"INSERT INTO engines (owner, position, heard) SELECT %s, CASE WHEN is_called THEN last_value ELSE 0 END,"
    f" {_CLOCK} FROM pack_positions ON CONFLICT (owner) DO UPDATE"
    " SET position = excluded.position, heard = excluded.heard RETURNING position"
)
_HEARD: Final = (
    f"INSERT INTO engines (owner, position, heard) VALUES (%s, %s, {_CLOCK}) ON CONFLICT (owner) DO UPDATE"
    " SET position = excluded.position, heard = excluded.heard"
    " WHERE engines.position <> excluded.position OR engines.heard < excluded.heard - 10000000000"
)
_TAIL: Final = (
    "SELECT position, CASE WHEN state = 'live' THEN coalesce(footer, '') ELSE '' END,"
    f" {_COLUMNS} FROM packs WHERE position > %s AND position <> 0 ORDER BY position LIMIT %s"
)
_LEAVE: Final = "DELETE FROM engines WHERE owner = %s"
_ABANDON: Final = (
    f"UPDATE packs SET state = 'abandoned', changed = {_CLOCK}, {_POSITION} WHERE state = 'storing'"
    " AND NOT EXISTS (SELECT 1 FROM engines e WHERE e.owner = packs.owner"
    f" AND (e.heard > {_CLOCK} - %s OR {_UP} < %s)) RETURNING number"
)
"""Silence counts only as long as the server itself has been up."""
_FOOTERS: Final = "SELECT number, footer FROM packs WHERE number = ANY(%s) AND footer IS NOT NULL"
_SHED: Final = (
    "UPDATE packs SET footer = NULL WHERE number = ANY(%s) AND footer IS NOT NULL AND NOT EXISTS"
    f" (SELECT 1 FROM engines e WHERE (e.heard > {_CLOCK} - %s OR {_UP} < %s)"
    " AND e.position < packs.position) RETURNING number"
)
_DELETE: Final = (
    "WITH p AS (DELETE FROM packs WHERE number = %s AND state = 'deleting' RETURNING number)"
    " DELETE FROM replicas r USING p WHERE r.pack = p.number"
)
_ROWS: Final = f"SELECT {_COLUMNS} FROM packs WHERE number > %s ORDER BY number LIMIT %s"
_GET: Final = f"SELECT {_COLUMNS} FROM packs WHERE number = %s"
_FIND: Final = f"SELECT {_COLUMNS} FROM packs WHERE uuid = %s"
_LIVE: Final = f"SELECT {_CLOCK}, ARRAY(SELECT number FROM packs WHERE number = ANY(%s) AND state = 'live')"
_RELIED: Final = "UPDATE packs SET relied = %s WHERE number = %s AND relied < %s"


def must_be_live(exchange: Exchange, packs: Sequence[int]) -> int:
    """Raise MissingBlocks unless every pack is live; returns the database's time."""
    [[clock, live]] = exchange.query((_LIVE, (Ints(number for number in packs if number),)))
    missing = tuple(number for number in packs if number and number not in live)
    if missing:
        raise MissingBlocks(missing)
    return int(clock)


def rely(exchange: Exchange, packs: Sequence[int], clock: int) -> None:
    for number in sorted(set(packs)):
        if number:
            exchange.queue(_RELIED, (clock, number, clock - RELIED_STEP_NS))


class PostgresPacks:
    """Implements ``PackRegistry``. The clock is the server's."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._clock = 0
        self.placing: Placing = lambda uuid: ()

    def _transact(self, *todo: Statement, durable: bool) -> list[Row]:
        """The rows of the last of these."""
        return self._store.database.again(lambda connection: transact(connection, *todo, durable=durable))[-1]

    def begin(self, uuid: bytes, owner: str, state: PackState) -> PackNumber:
        """Durable: the number is in no other's hands after a crash."""
        if state not in (PackState.STORING, PackState.LIVE):
            raise Invalid(f"a pack cannot begin as {state.value}")
        placed = self.placing(uuid)
        begin: Statement = (_BEGIN, (uuid, state.value, owner))
        if placed:
            begin = (_BEGIN_PLACED, (uuid, state.value, owner, Ints(placed)))
        rows = self._transact(begin, durable=True)
        return PackNumber(rows[0][0])

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        self._transact((_SEALED, (length, blocks, footer, number)), durable=False)

    def publish(self, number: PackNumber, length: int = 0, blocks: int = 0, footer: bytes = b"") -> bool:
        holds = (length, length, length, blocks, length, footer)
        rows = self._transact(_IN_TURN, (_PUBLISH, (*holds, number)), (_IS_LIVE, (number,)), durable=True)
        return bool(rows)

    def abandon(self, number: PackNumber) -> None:
        self._move(number, (PackState.STORING, PackState.LIVE), PackState.ABANDONED, CLOSE_GATE)

    def deleting(self, number: PackNumber) -> bool:
        return self._move(number, (PackState.CONDEMNED, PackState.ABANDONED), PackState.DELETING, PASS_GATE)

    def _move(self, number: PackNumber, old: Sequence[PackState], new: PackState, gate: Statement) -> bool:
        allowed = [state.value for state in old]
        attempts: list[None] = []

        def move(connection: Connection) -> list[Row]:
            # Once a connection was lost over the answer, what is found done was done by us.
            states = [*allowed, new.value] if attempts else allowed
            attempts.append(None)
            todo = (_MOVE, (new.value, number, states))
            return transact(connection, gate, _IN_TURN, todo, durable=True)[-1]

        return bool(self._store.database.again(move))

    def condemn(self, numbers: Sequence[PackNumber], before_ns: int) -> list[PackNumber]:
        if not numbers:
            return []
        todo = (_CONDEMN, (Ints(sorted(numbers)), before_ns))
        condemned = {row[0] for row in self._transact(CLOSE_GATE, _IN_TURN, todo, durable=True)}
        return [number for number in numbers if number in condemned]

    def deleted(self, number: PackNumber) -> None:
        self._transact((_DELETE, (number,)), durable=False)

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        return [_row(row) for row in self._store.ask(_ROWS, (after, limit))]

    def get(self, number: PackNumber) -> PackRow | None:
        rows = self._store.ask(_GET, (number,))
        return _row(rows[0]) if rows else None

    def find(self, uuid: bytes) -> PackRow | None:
        rows = self._store.ask(_FIND, (uuid,))
        return _row(rows[0]) if rows else None

    def clock_ns(self) -> int:
        found = int(self._store.ask(f"SELECT {_CLOCK}", ())[0][0])
        with self._lock:
            self._clock = max(self._clock, found)
            return self._clock

    # --- several engines -----------------------------------------------------------------------------

    def enroll(self, owner: str) -> int:
        return int(self._transact(_IN_TURN, (_ENROLL, (owner,)), durable=True)[0][0])

    def tail(self, owner: str, after: int, limit: int = 64) -> list[PackNews]:
        heard, news = (_HEARD, (owner, after)), (_TAIL, (after, limit))
        rows = self._store.database.again(
            lambda connection: transact(connection, heard, news, durable=False)
        )[-1]
        return [PackNews(row[0], _row(row[2:]), row[1]) for row in rows]

    def leave(self, owner: str) -> None:
        self._transact((_LEAVE, (owner,)), durable=False)

    def abandon_dead(self, silent_ns: int) -> list[PackNumber]:
        rows = self._transact(CLOSE_GATE, _IN_TURN, (_ABANDON, (silent_ns, silent_ns)), durable=True)
        return sorted(PackNumber(row[0]) for row in rows)

    def footers(self, numbers: Sequence[PackNumber]) -> dict[PackNumber, bytes]:
        rows = self._store.ask(_FOOTERS, (Ints(numbers),))
        return {PackNumber(number): footer for number, footer in rows}

    def shed_footers(self, numbers: Sequence[PackNumber]) -> int:
        return len(self._transact((_SHED, (Ints(sorted(numbers)), SILENT_NS, SILENT_NS)), durable=False))


def _row(row: tuple[Any, ...]) -> PackRow:
    number, uuid, state, owner, length, blocks, created, relied, changed = row
    return PackRow(
        PackNumber(number), uuid, PackState(state), owner, length, blocks, created, relied, changed
    )
