"""One transaction: answers that are known beforehand, writes that wait, and the round trips between.

The ops call ``execute`` statement by statement. A read whose answer was fetched with the transaction's
first round trip, and that nothing has changed since, costs nothing; a write waits for the last round
trip, or for whoever asks how many rows it changed. All else costs a round trip of its own, and is
correct. Not thread-safe: one transaction, one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from psycopg import errors

from graviton_server.namespace import blobs, contents, data, names, orphans, records, regions, trees, txn
from graviton_server.namespace.engine import Cursor, DuplicateKey
from graviton_server.namespace.postgres.database import Connection, Rerun
from graviton_server.namespace.postgres.dialect import TOUCHES, statement
from graviton_server.namespace.postgres.exchange import Params, Query, Row, Rows, Write, send
from graviton_server.namespace.postgres.overlay import AFTER, READS
from graviton_server.namespace.postgres.packing import pack
from graviton_server.namespace.postgres.touching import CHANGES, Tag, last_touches
from gravitonfs.core.ids import NO_INO

_INODE: Final = f"SELECT {txn.ROW} FROM inodes WHERE ino = %s FOR UPDATE"
_LOCK_NAME: Final = "SELECT ino FROM names WHERE parent = %s AND name = %s FOR UPDATE"
_NAMED: Final = (
    f"SELECT {txn.ROW} FROM inodes WHERE ino ="
    " (SELECT ino FROM names WHERE parent = %s AND name = %s) FOR UPDATE"
)
_LOCK_OWNER: Final = (
    "SELECT ino FROM inodes WHERE content = %s AND content <> 0"
    " AND (SELECT kind FROM contents WHERE id = %s) = 0 FOR UPDATE"
)
_CONTENT: Final = f"SELECT {contents.ROW} FROM contents WHERE id = %s FOR UPDATE"
_OWNER: Final = "SELECT ino, size, version FROM inodes WHERE content = %s AND content <> 0 FOR UPDATE"
_SHARE: Final = "SELECT 1 FROM contents WHERE id = %s FOR SHARE"
_LOCK_RECORD: Final = "SELECT pg_advisory_xact_lock(2, hashtext(concat(%s::bigint, %s::text, %s::bytea)))"
LOCK_RENAMES: Final = "SELECT pg_advisory_xact_lock(1, %s::int)"
_LOCK_TREE: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM inodes WHERE ino IN (SELECT old FROM clone_map)"
    " ORDER BY ino FOR UPDATE) x"
)
_ASK: Final = "INSERT INTO claims (ino, session, confirmed) VALUES (%s, %s, false) ON CONFLICT DO NOTHING"


_INO_NAMED: Final[dict[str, Callable[[Params], int]]] = {
    names._ADD_NAME: lambda params: params[2],
    names._POINT_NAME: lambda params: params[0],
    names._DELETE_NAME: lambda params: NO_INO,
}
K = TypeVar("K")
V = TypeVar("V")


class Known(NamedTuple):
    rows: list[Row]
    tags: tuple[Tag, ...]


class Exchange:
    def __init__(self, connection: Connection, volume: int = 0, *, careful: bool = False) -> None:
        self.connection = connection
        self.volume = volume
        self.careful = careful
        """Every write is sent at once: a duplicate shows up where it happens."""
        self.trips = 0
        self.foreign: frozenset[int] = frozenset()
        """Sessions of other processes, which have to be asked what they hold."""
        self.renames_locked = False
        self.one_moment = True
        """The transaction sees the database as it was when it began."""
        self.loose_bytes = 0
        """What its batches have added to the loose blocks."""
        self._known: dict[tuple[str, Params], Known] = {}
        self._names: dict[tuple[int, bytes], bool] = {}
        self._overlay: dict[Tag, Row] = {}
        self._places: dict[Params, int] = {}
        """The inodes under names that were written here; NO_INO where one was removed."""
        self._fresh: set[int] = set()
        self._queue: list[Write | Query] = []
        self._dirty: set[str] = set()
        self._touched: set[Tag] = set()
        self._mark = 0
        self._saved = True  # outside of batches everything goes together
        self._newly_dirty: list[str] = []
        self._newly_touched: list[Tag] = []
        self._rows_before: list[tuple[Tag, Row | None]] = []
        self._places_before: list[tuple[Params, int | None]] = []
        """What the batch has changed of these, in order."""

    # --- what was fetched beforehand -----------------------------------------------------------------

    def know(self, sql: str, params: Params, rows: list[Row], *tags: Tag) -> None:
        self._known[sql, params] = Known(rows, tags)

    def know_name(self, parent: int, name: bytes, present: bool) -> None:
        self._names[parent, name] = present

    # --- what the ops call ---------------------------------------------------------------------------

    def execute(self, sql: str, params: Params = ()) -> Cursor:
        stated = statement(sql)
        if stated.changes is None:
            return Rows(self._read(sql, stated.text, stated.tables, tuple(params)))
        return self._write(sql, stated.text, stated.changes, params)

    def _read(self, sql: str, text: str, tables: frozenset[str], params: Params) -> list[Row]:
        tag = READS.get(sql)
        if tag is not None:
            row = self._overlay.get(tag(params))
            if row is not None:
                return [row]
        if sql == names._NAMED and "names" not in self._dirty:
            place = self._places.get(params)
            if place == NO_INO:
                return []
            row = None if place is None else self._row(("inodes", place))
            if row is not None:
                return [row]
        known = self._known.get((sql, params))
        if known is not None and not self._is_stale(tables, known.tags):
            return known.rows
        if sql == regions._TOP and self._is_empty(params):
            return [(None,)]
        return self._ask(sql, text, params)

    def _is_empty(self, region: Params) -> bool:
        """Of a content that this transaction has made, with nothing laid there yet."""
        return (
            region[0] in self._fresh
            and ("regions", region) not in self._touched
            and "regions" not in self._dirty
        )

    def _is_stale(self, tables: frozenset[str], tags: tuple[Tag, ...]) -> bool:
        if not self._dirty.isdisjoint(tables):
            return True
        if not tags:
            return any(table in tables for table, _ in self._touched)
        return not self._touched.isdisjoint(tags)

    def _ask(self, sql: str, text: str, params: Params) -> list[Row]:
        """A read that was not foreseen, with the locks that its answer needs to stay true."""
        if sql == txn._GET:
            return self.query((_INODE, params))
        if sql == names._NAMED:
            return self._named(params)
        if sql == contents._GET:
            return self.query((_LOCK_OWNER, (params[0], params[0])), (_CONTENT, params))
        if sql == data._OWNER_VERSION:
            return self.query((_OWNER, params))
        if sql == regions._RANGE:
            return self.query((_SHARE, params[:1]), (text, params))
        if sql == blobs._GET:
            return self.query((text + " FOR UPDATE", params))
        if sql == records._GET:
            return self.query((_LOCK_RECORD, params), (text, params))
        if sql == names._IS_BELOW and not self.renames_locked:
            raise NeedRenameLock
        if sql == trees._COUNT:
            return self.query((_LOCK_TREE, ()), (text, params))
        return self.query((text, params))

    def _named(self, params: Params) -> list[Row]:
        locked, rows = self.queries((_LOCK_NAME, params), (_NAMED, params))
        check_named(locked[0][0] if locked else None, rows)
        return rows

    def _write(self, sql: str, text: str, table: str, params: Params) -> Write:
        check_range(params)
        if sql == names._ADD_NAME:
            present = self._names.get((params[0], params[1]))
            if present:
                raise DuplicateKey("names")
            if present is None or self.careful:
                return self._insert(sql, text, params)
            self._names[params[0], params[1]] = True
        elif sql == names._DELETE_NAME:
            self._names[params[0], params[1]] = False
        elif sql == contents._INSERT:
            self._fresh.add(params[0])
        elif sql == orphans._CLAIM and params[1] in self.foreign:
            text = _ASK
        elif sql == trees._MAP and not self.one_moment:
            raise NeedOneMoment
        self._note(sql, table, params)
        if self.careful and text.startswith("INSERT"):
            return self._insert(sql, text, params)
        write = Write(self, sql, text, params)
        self._queue.append(write)
        if self.careful:
            self.flush()
        return write

    def _note(self, sql: str, table: str, params: Params) -> None:
        """A row has changed: what was fetched of it is out of date, what it is now may be known."""
        touches = CHANGES.get(sql)
        if touches is None:
            if table not in self._dirty:
                self._dirty.add(table)
                self._newly_dirty.append(table)
            for other in [tag for tag in self._overlay if tag[0] == table or table == "?"]:
                self._rows_before.append((other, self._overlay.pop(other)))
            return
        tag = touches(params)
        if table == "names":
            self._places_before.append((tag[1], self._places.get(tag[1])))
            self._places[tag[1]] = _INO_NAMED[sql](params)
        after = AFTER.get(sql)
        row = None if after is None else after(self._row(tag), params)
        self._touch(tag)
        if tag[0] == "inodes" and sql not in TOUCHES:
            self._touch(("directory", tag[1]))
        self._rows_before.append((tag, self._overlay.pop(tag, None)))
        if row is not None and table not in self._dirty:
            self._overlay[tag] = row

    def _touch(self, tag: Tag) -> None:
        if tag not in self._touched:
            self._touched.add(tag)
            self._newly_touched.append(tag)

    def _row(self, tag: Tag) -> Row | None:
        """The row as it is known before a change."""
        found = self._overlay.get(tag)
        if found is not None:
            return found
        table, key = tag
        if table in self._dirty or tag in self._touched:
            return None
        if table == "regions":
            if key[0] in self._fresh:
                return (None,)
            reads: tuple[str, ...] = (regions._TOP,)
        elif table == "contents":
            reads = (contents._GET,)
        else:
            reads = (txn._GET,)
        for sql in reads:
            known = self._known.get((sql, tuple(key) if table == "regions" else (key,)))
            if known is not None:
                return known.rows[0] if known.rows else None
        return None

    def _insert(self, sql: str, text: str, params: Params) -> Write:
        """An insertion that may meet a duplicate, which must not end the transaction."""
        waiting = self._take(writing=True)
        write = Write(self, sql, text, params)
        try:
            self._send(*waiting, Query("SAVEPOINT single", ()), write, Query("RELEASE SAVEPOINT single", ()))
        except errors.UniqueViolation as error:
            self._send(Query("ROLLBACK TO SAVEPOINT single", ()))
            raise DuplicateKey(str(error)) from error
        if sql == names._ADD_NAME:
            self._names[params[0], params[1]] = True
            self._note(sql, "names", params)
        return write

    # --- batches, each whole or not at all -----------------------------------------------------------

    def begin_batch(self) -> None:
        self._mark = len(self._queue)
        self._saved = False
        self._newly_dirty, self._newly_touched = [], []
        self._rows_before, self._places_before = [], []

    def undo_batch(self) -> None:
        """Take back the batch's writes: those that still wait are forgotten."""
        if self._saved:
            self._queue.clear()
            self._send(Query("ROLLBACK TO SAVEPOINT batch", ()), Query("RELEASE SAVEPOINT batch", ()))
            # What is known may have been changed and changed back: ask again.
            self._known.clear()
            self._names.clear()
            self._overlay.clear()
            self._places.clear()
        else:
            undone = self._queue[self._mark :]
            del self._queue[self._mark :]
            for write in undone:
                if isinstance(write, Write) and write.sql in (names._ADD_NAME, names._DELETE_NAME):
                    self._names.pop((write.params[0], write.params[1]), None)
            self._dirty.difference_update(self._newly_dirty)
            self._touched.difference_update(self._newly_touched)
            _restore(self._overlay, self._rows_before)
            _restore(self._places, self._places_before)

    def end_batch(self) -> None:
        if self._saved:
            self._queue.append(Query("RELEASE SAVEPOINT batch", ()))
            self._saved = False

    # --- round trips ---------------------------------------------------------------------------------

    def queue(
        self,
        text: str,
        params: Params = (),
        then: Callable[[list[Row]], None] | None = None,
        *,
        inserts: bool = False,
    ) -> None:
        """A statement in PostgreSQL's own words, for the next round trip."""
        self._queue.append(Query(text, params, then, inserts))

    def query(self, *todo: tuple[str, Params]) -> list[Row]:
        """The rows of the last of these statements."""
        return self.queries(*todo)[-1]

    def queries(self, *todo: tuple[str, Params]) -> list[list[Row]]:
        """What waits, then these: one round trip. The rows of these."""
        waiting = self._take()
        done = self._send(*waiting, *(Query(text, params) for text, params in todo))
        return done[len(waiting) :]

    def flush(self) -> None:
        waiting = self._take()
        if waiting:
            self._send(*waiting)

    def _take(self, *, writing: bool = False) -> list[Write | Query]:
        waiting, self._queue = self._queue, []
        if (writing or len(waiting) > self._mark) and not self._saved:
            waiting.insert(self._mark, Query("SAVEPOINT batch", ()))
            self._saved = True
        self._mark = 0
        return waiting

    def finish(self, *todo: tuple[str, Params]) -> list[list[Row]]:
        """What waits, then these, in one round trip; directories are touched last, in their order."""
        waiting = self._queue
        if not self.careful:
            waiting = pack(waiting, lambda ino: self._overlay.get(("inodes", ino)))
        waiting, self._queue = last_touches(waiting), []
        done = self._send(*waiting, *(Query(text, params) for text, params in todo))
        return done[len(waiting) :]

    def _send(self, *todo: Write | Query) -> list[list[Row]]:
        self.trips += 1
        return send(self.connection, todo)


def _restore(now: dict[K, V], before: list[tuple[K, V | None]]) -> None:
    for key, value in reversed(before):
        if value is None:
            now.pop(key, None)
        else:
            now[key] = value


def check_range(params: Params) -> None:
    """As SQLite does when it is given a number that is no 64-bit integer."""
    for value in params:
        if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            raise OverflowError


def check_named(ino: int | None, rows: list[Row]) -> None:
    """The name that was locked, and what a later statement found under it."""
    if (rows[0][0] if rows else None) != ino:
        raise Rerun("a name has changed hands")


class NeedOneMoment(Exception):
    """A tree is copied as it is at one moment: the transaction has to be repeatable-read."""


class NeedRenameLock(Exception):
    """A directory moves between directories: one at a time in a volume, so that no circle is made."""
