"""Turns and kept dumps of the engines on one store. Times are the database's; no lock, no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.postgres.applying import CLOCK
from graviton_server.namespace.postgres.exchange import Row, transact
from graviton_server.namespace.postgres.wire import Ints, Statement
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Exists, Unavailable
from gravitonfs.ports.upkeep import HeldDump

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

TABLES: Final = """
CREATE TABLE turns (
    what text PRIMARY KEY, holder bigint NOT NULL, until bigint NOT NULL, ended bigint NOT NULL DEFAULT 0);
CREATE TABLE dumps (
    owner text NOT NULL, name text NOT NULL, until bigint NOT NULL, PRIMARY KEY (owner, name));
CREATE TABLE dumped_packs (
    owner text NOT NULL, name text NOT NULL, pack bigint NOT NULL, PRIMARY KEY (owner, name, pack));
CREATE INDEX dumped_packs_pack ON dumped_packs (pack);
"""
"""A dump with ``until`` 0 is kept, one with -1 retired: its owner is to remove the file. Another one is being
written by somebody who is alive until then."""

NOT_HELD: Final = (
    f" AND NOT EXISTS (SELECT 1 FROM dumps WHERE until > {CLOCK})"
    " AND NOT EXISTS (SELECT 1 FROM dumped_packs d WHERE d.pack = packs.number)"
)
"""Of a pack that is to be condemned."""

_TAKE: Final = (
    f"INSERT INTO turns AS t (what, holder, until) VALUES (%s, %s, {CLOCK} + %s)"
    " ON CONFLICT (what) DO UPDATE SET holder = excluded.holder, until = excluded.until"
    f" WHERE (t.holder = excluded.holder AND t.until > 0) OR (t.until < {CLOCK} AND t.ended <= {CLOCK} - %s)"
    " RETURNING holder"
)
_END: Final = f"UPDATE turns SET until = 0, ended = {CLOCK} WHERE what = %s AND holder = %s"
_BEGIN: Final = (
    f"INSERT INTO dumps (owner, name, until) VALUES (%s, %s, {CLOCK} + %s) ON CONFLICT DO NOTHING RETURNING 1"
)
_RENEW: Final = (
    f"UPDATE dumps SET until = {CLOCK} + %s WHERE owner = %s AND name = %s AND until > {CLOCK} RETURNING 1"
)
_LAPSED: Final = f"DELETE FROM dumps WHERE until > 0 AND until < {CLOCK}"
_NOT_LIVE: Final = (
    "SELECT n FROM unnest(%s::bigint[]) n"
    " WHERE NOT EXISTS (SELECT 1 FROM packs WHERE number = n AND state = 'live')"
)
_KEEP: Final = f"UPDATE dumps SET until = 0 WHERE owner = %s AND name = %s AND until > {CLOCK} RETURNING 1"
_HOLD: Final = (
    "INSERT INTO dumped_packs (owner, name, pack) SELECT %s, %s, n FROM unnest(%s::bigint[]) n"
    " ON CONFLICT DO NOTHING"
)
_DROP: Final = (
    "DELETE FROM dumped_packs WHERE owner = %s AND name = %s",
    "DELETE FROM dumps WHERE owner = %s AND name = %s",
)
_RETIRE: Final = (
    "DELETE FROM dumped_packs WHERE owner = %s AND name = %s",
    "UPDATE dumps SET until = -1 WHERE owner = %s AND name = %s AND until = 0",
)
_NAMES: Final = "SELECT name FROM dumps WHERE owner = %s AND until = %s"
_ALL: Final = (
    "SELECT d.owner, d.name, count(p.number), coalesce(sum(p.length), 0)::bigint FROM dumps d"
    " LEFT JOIN dumped_packs h ON h.owner = d.owner AND h.name = d.name"
    " LEFT JOIN packs p ON p.number = h.pack"
    " WHERE d.until = 0 GROUP BY d.owner, d.name ORDER BY d.owner, d.name"
)
_HELD: Final = "SELECT DISTINCT pack FROM dumped_packs WHERE owner <> %s OR name <> %s"
_PINNED: Final = "SELECT DISTINCT pack FROM dumped_packs WHERE owner NOT IN ('backup', 'postgres')"
"""Others are of dumps on the targets, and of deploy/backup/backup-postgres.sh: they go in time."""


class PostgresHousekeeping:
    """Implements ``Housekeeping``."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def _transact(self, *todo: Statement, durable: bool) -> list[list[Row]]:
        return self._store.database.again(lambda connection: transact(connection, *todo, durable=durable))

    def take_turn(self, what: str, seconds: float, rest: float = 0.0) -> bool:
        take = (_TAKE, (what, self._store.process, int(seconds * 1e9), int(rest * 1e9)))
        return bool(self._transact(take, durable=False)[-1])

    def end_turn(self, what: str) -> None:
        self._transact((_END, (what, self._store.process)), durable=False)

    def begin_dump(self, owner: str, name: str, seconds: float) -> None:
        begin = (_BEGIN, (owner, name, int(seconds * 1e9)))
        if not self._transact((_LAPSED, ()), begin, durable=True)[-1]:
            raise Exists(f"there is a dump {name!r} already: choose another name")

    def renew_dump(self, owner: str, name: str, seconds: float) -> bool:
        renew = (_RENEW, (int(seconds * 1e9), owner, name))
        return bool(self._transact(renew, durable=False)[-1])

    def keep_dump(self, owner: str, name: str, packs: Sequence[PackNumber]) -> list[PackNumber]:
        numbers = Ints(sorted(set(packs)))
        gone = [PackNumber(row[0]) for row in self._store.ask(_NOT_LIVE, (numbers,))]
        if gone:
            return gone
        # Nothing is condemned while the dump is going, so they are live still.
        hold = (_HOLD, (owner, name, numbers))
        kept = self._transact(hold, (_KEEP, (owner, name)), durable=True)[-1]
        if not kept:
            self.drop_dump(owner, name)
            raise Unavailable(
                "the dump took a break for so long that what it names may have been collected: make it anew"
            )
        return []

    def drop_dump(self, owner: str, name: str) -> None:
        self._transact(*((sql, (owner, name)) for sql in _DROP), durable=True)

    def retire_dump(self, owner: str, name: str) -> None:
        self._transact(*((sql, (owner, name)) for sql in _RETIRE), durable=True)

    def kept_dumps(self, owner: str) -> list[str]:
        return [row[0] for row in self._store.ask(_NAMES, (owner, 0))]

    def retired_dumps(self, owner: str) -> list[str]:
        return [row[0] for row in self._store.ask(_NAMES, (owner, -1))]

    def all_dumps(self) -> list[HeldDump]:
        return [HeldDump(*row) for row in self._store.ask(_ALL, ())]

    def pinned_packs(self) -> frozenset[PackNumber]:
        return frozenset(PackNumber(row[0]) for row in self._store.ask(_PINNED, ()))

    def held_packs(self, but: tuple[str, str] | None = None) -> frozenset[PackNumber]:
        return frozenset(PackNumber(row[0]) for row in self._store.ask(_HELD, but or ("", "")))
