"""Pack rows on PostgreSQL. Nothing of them is kept in memory: any daemon may change them.

Batches pass the gate and look whether their packs are live; whoever takes a live pack away closes it
first. So no batch can rely on a pack that is condemned while it is being applied, and no row is locked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from graviton_server.namespace.postgres.database import Connection
from graviton_server.namespace.postgres.exchange import (
    CLOSE_GATE,
    PASS_GATE,
    Exchange,
    Row,
    transact,
)
from graviton_server.namespace.postgres.wire import Ints
from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.errors import Invalid, MissingBlocks
from gravitonfs.ports.packs import PackRow, PackState

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

RELIED_STEP_NS: Final = 600 * 10**9

_CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
_COLUMNS: Final = "number, uuid, state, owner, length, blocks, created, relied, changed"
_BEGIN: Final = (
    "INSERT INTO packs (uuid, state, owner, length, blocks, created, relied, changed)"
    f" SELECT %s, %s, %s, 0, 0, c, c, c FROM (SELECT {_CLOCK} AS c) x ON CONFLICT (uuid)"
    " DO UPDATE SET owner = excluded.owner WHERE packs.state = excluded.state RETURNING number"
)
"""A repeat, after a connection was lost over its answer, finds the row that it made."""
_SEALED: Final = (
    f"UPDATE packs SET length = %s, blocks = %s, footer = %s, changed = {_CLOCK} WHERE number = %s"
)
_MOVE: Final = (
    f"UPDATE packs SET state = %s, changed = {_CLOCK} WHERE number = %s AND state = ANY(%s) RETURNING number"
)
_CONDEMN: Final = (
    f"UPDATE packs SET state = 'condemned', changed = {_CLOCK} WHERE number = ANY(%s) AND state = 'live'"
    " AND relied < %s RETURNING number"
)
_DELETE: Final = "DELETE FROM packs WHERE number = %s AND state = 'deleting'"
_ROWS: Final = f"SELECT {_COLUMNS} FROM packs WHERE number > %s ORDER BY number LIMIT %s"
_GET: Final = f"SELECT {_COLUMNS} FROM packs WHERE number = %s"
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

    def _transact(self, sql: str, params: tuple[Any, ...], *, durable: bool, gate: bool = False) -> list[Any]:
        return self._store.database.again(
            lambda connection: transact(
                connection, CLOSE_GATE if gate else PASS_GATE, (sql, params), durable=durable
            )
        )[-1]

    def begin(self, uuid: bytes, owner: str, state: PackState) -> PackNumber:
        """Durable: the number is in no other's hands after a crash."""
        if state not in (PackState.STORING, PackState.LIVE):
            raise Invalid(f"a pack cannot begin as {state.value}")
        rows = self._transact(_BEGIN, (uuid, state.value, owner), durable=True)
        return PackNumber(rows[0][0])

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        self._transact(_SEALED, (length, blocks, footer, number), durable=False)

    def publish(self, number: PackNumber) -> bool:
        return self._move(number, (PackState.STORING,), PackState.LIVE, durable=True)

    def abandon(self, number: PackNumber) -> None:
        self._move(number, (PackState.STORING, PackState.LIVE), PackState.ABANDONED, durable=False, gate=True)

    def deleting(self, number: PackNumber) -> bool:
        return self._move(
            number, (PackState.CONDEMNED, PackState.ABANDONED), PackState.DELETING, durable=True
        )

    def _move(
        self,
        number: PackNumber,
        old: Sequence[PackState],
        new: PackState,
        *,
        durable: bool,
        gate: bool = False,
    ) -> bool:
        allowed = [state.value for state in old]
        attempts: list[None] = []

        def move(connection: Connection) -> list[Row]:
            # Once a connection was lost over the answer, what is found done was done by us.
            states = [*allowed, new.value] if attempts else allowed
            attempts.append(None)
            gated = CLOSE_GATE if gate else PASS_GATE
            return transact(connection, gated, (_MOVE, (new.value, number, states)), durable=durable)[-1]

        return bool(self._store.database.again(move))

    def condemn(self, numbers: Sequence[PackNumber], before_ns: int) -> list[PackNumber]:
        if not numbers:
            return []
        done = self._transact(_CONDEMN, (Ints(sorted(numbers)), before_ns), durable=True, gate=True)
        condemned = {row[0] for row in done}
        return [number for number in numbers if number in condemned]

    def deleted(self, number: PackNumber) -> None:
        self._transact(_DELETE, (number,), durable=False)

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        return [_row(row) for row in self._store.ask(_ROWS, (after, limit))]

    def get(self, number: PackNumber) -> PackRow | None:
        rows = self._store.ask(_GET, (number,))
        return _row(rows[0]) if rows else None

    def clock_ns(self) -> int:
        found = int(self._store.ask(f"SELECT {_CLOCK}", ())[0][0])
        with self._lock:
            self._clock = max(self._clock, found)
            return self._clock


def _row(row: tuple[Any, ...]) -> PackRow:
    number, uuid, state, owner, length, blocks, created, relied, changed = row
    return PackRow(
        PackNumber(number), uuid, PackState(state), owner, length, blocks, created, relied, changed
    )
