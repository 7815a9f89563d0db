"""What the ops need of a database, and SQLite as the one that gives it.

Everything outside this module and ``schema`` is SQL that PostgreSQL understands too (``?`` stands for
a parameter); a second engine supplies the same few calls, its own schema and its own error table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from gravitonfs.errors import Damaged, GravitonError, Internal, Locked, NoSpace, ReadOnly, Unavailable

DatabaseError = sqlite3.Error
DuplicateKey = sqlite3.IntegrityError

CACHE_KIB = 96 * 1024
LOG_KEPT = 8 << 20
"""To this size the log is cut when it starts over, so that its size tells how much there is to move."""
CACHED_STATEMENTS = 512


class Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchmany(self, size: int | None = ...) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def close(self) -> None: ...


Execute = Callable[..., Cursor]
"""``execute(sql, parameters)``, on the one connection that writes."""


class SqliteEngine:
    """One writing connection. Not thread-safe: the store's lock guards it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path)
        self.execute: Execute = self._connection.execute
        self.executemany: Execute = self._connection.executemany

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Durable when this returns: synchronous=FULL flushes the write-ahead log."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Harmless where SQLite has rolled back by itself already."""
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def script(self, sql: str) -> None:
        """Several statements, inside the open transaction (``executescript`` would commit it)."""
        for statement in statements(sql):
            self.execute(statement)

    def columns(self, table: str) -> list[str]:
        """The columns of a table; none where there is no such table."""
        rows = self.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        return [row[0] for row in rows]

    def checkpoint(self, mode: str) -> None:
        self.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[Execute]:
        """Statements that all see the database as it was last committed, on a connection of their own.

        Thread-safe; does not hold up the writer, only the log's reuse.
        """
        connection = connect(self.path, read_only=True)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM meta").fetchall()
            yield connection.execute
        finally:
            connection.close()

    def make_room(self) -> None:
        """Move the log into the database, so that the next commit reuses its space on a full disk.

        Without this nothing could be deleted there any more, because that is written to the log first.
        """
        with suppress(sqlite3.Error):
            self.checkpoint("PASSIVE")

    def log_bytes(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        self._connection.close()


def integrity(execute: Execute) -> Iterator[str]:
    """What SQLite itself finds wrong with the database's structure."""
    for (finding,) in execute("PRAGMA quick_check(20)"):
        if finding != "ok":
            yield finding


def statements(sql: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with this store's settings; ``read_only`` ones see committed changes alone."""
    connection = sqlite3.connect(
        path.as_uri() + ("?mode=ro" if read_only else "?mode=rw"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        timeout=10.0,
    )
    for pragma in (
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        f"cache_size=-{CACHE_KIB if not read_only else 8192}",
        f"journal_size_limit={LOG_KEPT}",
        "temp_store=MEMORY",
        "foreign_keys=OFF",
        "recursive_triggers=OFF",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


_PRIMARY_CODE = 0xFF


def translate(error: sqlite3.Error) -> GravitonError:
    """What a database error means to a caller."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Internal(f"the namespace database cannot be used: {error}")
    primary = code & _PRIMARY_CODE
    if primary == sqlite3.SQLITE_FULL:
        return NoSpace("the disk that holds the namespace database is full: free some space")
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        return Unavailable(f"the namespace database cannot be written or read: {error}")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Damaged(f"the namespace database is damaged: {error}; restore it from a dump")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Locked("another process has the namespace database open")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return ReadOnly("the namespace database cannot be written: check its permissions")
    return Internal(f"the namespace database failed: {error}")
