"""Background work on PostgreSQL: the shared code, each call made again where others were faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg

from graviton_server.namespace import checking, dumping, mending, origin, recounting
from graviton_server.namespace.engine import Cursor, Execute
from graviton_server.namespace.origin import FENCE, FOUNDED, SET_FENCE
from graviton_server.namespace.postgres.database import Connection, Contended, is_lost, translate
from graviton_server.namespace.postgres.dialect import statement
from graviton_server.namespace.postgres.exchange import Rows, transact
from graviton_server.namespace.postgres.wire import Statement
from graviton_server.namespace.postgres.work import VERSION
from graviton_server.namespace.upkeep import SqlUpkeep
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Unavailable
from gravitonfs.ports.namespace import EVERYTHING
from gravitonfs.ports.upkeep import Fragmented, Problem

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore
    from graviton_server.namespace.store import NamespaceStore

T = TypeVar("T")
PAGE: Final = 2000

VOLUMES: Final = (
    "SELECT v.id, v.name, v.root,"
    " v.logical_bytes + coalesce(sum(a.logical_bytes), 0)::bigint AS logical_bytes,"
    " v.inodes + coalesce(sum(a.inodes), 0)::bigint AS inodes, v.created FROM volumes v"
    " LEFT JOIN sessions s ON s.volume = v.id LEFT JOIN LATERAL (SELECT logical_bytes, inodes FROM answers"
    " WHERE session = s.id ORDER BY number DESC LIMIT 1) a ON true GROUP BY v.id"
)
"""What sessions have added is in the last answer of each: no batch writes a row that all share."""
_INCARNATION: Final = (
    "UPDATE meta SET value = greatest(value + 1, %s) WHERE key IN ('incarnation', 'openings')"
)
_OVER: Final = ("DELETE FROM changes", "DELETE FROM leases", "DELETE FROM turns", "DELETE FROM engines")
"""Changes are ordered by transactions of the server that wrote them: another one counts from elsewhere."""
_META: Final = (
    "SELECT key, value, data FROM meta WHERE key NOT IN ('schema', 'openings') UNION ALL"
    " SELECT 'version', last_value, NULL FROM versions"
)
_TOTALS: Final = (
    "SELECT v.id, v.name, v.logical_bytes, v.inodes, (SELECT count(*) FROM inodes i WHERE i.volume = v.id),"
    " (SELECT coalesce(sum(i.size), 0)::bigint FROM inodes i WHERE i.volume = v.id"
    f" AND (i.mode & 61440) = 32768) FROM ({VOLUMES}) v"
)
_CORRECT: Final = "UPDATE volumes SET logical_bytes = logical_bytes + %s, inodes = inodes + %s WHERE id = %s"


class PostgresUpkeep(SqlUpkeep):
    """Implements ``Upkeep``. A call that meets others' changes is made again; each may be."""

    def __init__(self, store: PostgresStore) -> None:
        super().__init__(cast("NamespaceStore", store.work))
        self._postgres = store

    def again(self, call: Callable[..., T], *args: Any) -> T:
        backoff = self._postgres.database.backoff()
        while True:
            try:
                return call(*args)
            except Unavailable as error:
                cause = error.__cause__
                worth = isinstance(error, Contended) or (cause is not None and is_lost(cause))
                if backoff.over or not worth:
                    raise
                backoff.wait()

    @contextmanager
    def moment(self) -> Iterator[Execute]:
        """One moment, on a connection of its own; big answers come in pages."""
        try:
            with self._postgres.database.connection() as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                connection.execute("SET LOCAL synchronize_seqscans = off")  # dumps have one order of rows
                with ExitStack() as cursors:
                    yield _Paged(connection, cursors).execute
                connection.execute("COMMIT")
        except psycopg.Error as error:
            raise translate(error) from error

    def version(self) -> int:
        return int(self._postgres.ask(VERSION, ())[0][0])

    def reap(self, limit: int) -> int:
        return self.again(super().reap, limit)

    def erase_trash(self, before_ns: int, limit: int, volume: str | None = None) -> int:
        return self.again(super().erase_trash, before_ns, limit, volume)

    def fragmented(self, idle_before_ns: int, limit: int) -> list[Fragmented]:
        return self.again(super().fragmented, idle_before_ns, limit)

    def flatten(self, content: ContentId) -> None:
        self.again(super().flatten, content)

    def users(self, content: ContentId) -> Sequence[Ino]:
        return self.again(super().users, content)

    def check(self) -> Iterator[Problem]:
        with self.moment() as execute:
            yield from checking.problems(execute)

    def mend(self, kinds: Collection[str], fresh: Sequence[Ino]) -> list[str]:
        told = self.again(self._recount, kinds, fresh) + recounting.recount_quotas(self._postgres)
        self._postgres.work.tell_all([EVERYTHING])
        return told

    def recount(self) -> list[str]:
        """With the gate closed."""
        return self.again(self._recount) + recounting.recount_quotas(self._postgres)

    def _recount(self, kinds: Collection[str] = (), fresh: Sequence[Ino] = ()) -> list[str]:
        work = self._postgres.work
        with work.lock:
            work.close_gate()
            exchange = work.scope_of_thread().exchange
            told: list[str] = []
            if kinds:
                told += mending.mend(mending.Mender(exchange.execute, self.version(), iter(fresh)), kinds)
            for sentence, sql in recounting._COUNTS:
                count = exchange.execute(sql).rowcount
                if count:
                    told.append(sentence.format(count))
            for number, name, logical, inodes, count, size in exchange.query((_TOTALS, ())):
                if (logical, inodes) != (size, count):
                    exchange.queue(_CORRECT, (size - logical, count - inodes, number))
                    told.append(f"the totals of volume {name} are counted anew")
            work.commit()
        return told

    def founded_ns(self) -> int:
        return int(self._postgres.ask_shared(FOUNDED, ())[0][0])

    def fence(self) -> int:
        rows = self._postgres.ask_shared(FENCE, ())
        return int(rows[0][0]) if rows else 0

    def restored(self) -> None:
        fence, incarnation = origin.now()
        todo: list[Statement] = [(statement(SET_FENCE).text, (fence,)), (_INCARNATION, (incarnation,))]
        todo += [(sql, ()) for sql in _OVER]
        self._postgres.database.again(lambda connection: transact(connection, *todo, durable=True))

    def dump(self) -> Iterator[bytes]:
        with self.moment() as execute:
            yield from dumping.dump(execute)


class _Paged:
    """Statements of the shared code in one transaction, through cursors of the server."""

    def __init__(self, connection: Connection, cursors: ExitStack) -> None:
        self._connection = connection
        self._cursors = cursors
        self._count = 0

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Cursor:
        text, then = _REPLACED.get(sql, (None, None))
        if text is None:
            text = statement(sql).text.replace("FROM volumes v)", f"FROM ({VOLUMES}) v)")
        self._count += 1
        cursor = self._cursors.enter_context(self._connection.cursor(f"page_{self._count}", binary=True))
        cursor.itersize = PAGE
        cursor.execute(text.encode(), params)
        return cast("Cursor", cursor) if then is None else then(cursor.fetchall())


def _meta(rows: list[tuple[Any, ...]]) -> Cursor:
    return Rows([(key, value if data is None else data) for key, value, data in rows])


_REPLACED: Final[dict[str, tuple[str | None, Any]]] = {
    f"SELECT {dumping.TABLES['meta']} FROM meta": (_META, _meta),
    f"SELECT {dumping.TABLES['volumes']} FROM volumes": (VOLUMES, None),
}
