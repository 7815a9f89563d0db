"""A dump into an empty database: in one transaction, so that there is a whole store or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from graviton_server.namespace import dumping, origin
from graviton_server.namespace.postgres import schema
from graviton_server.namespace.postgres.schema import Connection
from gravitonfs.errors import FormatError

ROWS: Final = 500

_SETTLE: Final = (
    "UPDATE meta SET value = greatest(value + 1, {incarnation}) WHERE key = 'incarnation'",
    "SELECT setval('versions', greatest((SELECT value FROM meta WHERE key = 'version'), 1))",
    "DELETE FROM meta WHERE key = 'version'",
    "INSERT INTO meta (key, value) VALUES ('openings', {incarnation})",
    "DELETE FROM meta WHERE key = 'fence'",
    "INSERT INTO meta (key, value) VALUES ('fence', {fence})",
    (
        "SELECT setval(pg_get_serial_sequence('targets', 'number'), coalesce(max(number), 0) + 1, false)"
        " FROM targets"
    ),
    (
        "SELECT setval(pg_get_serial_sequence('packs', 'number'), coalesce(max(number), 0) + 1, false)"
        " FROM packs"
    ),
    "SELECT setval(pg_get_serial_sequence('loose', 'n'), coalesce(max(n), 0) + 1, false) FROM loose",
    # Inodes without names were kept by sessions, which are over: as if an ended session still held them.
    (
        "INSERT INTO sessions (id, volume, label, process, asks, heartbeat)"
        " SELECT 0, 1, 'before the dump', 0, false, 0 WHERE EXISTS"
        " (SELECT 1 FROM inodes WHERE nlink = 0 AND ino NOT IN (SELECT ino FROM doomed)"
        " AND ino NOT IN (SELECT ino FROM trash))"
    ),
    (
        "INSERT INTO claims (ino, session) SELECT ino, 0 FROM inodes WHERE nlink = 0"
        " AND ino NOT IN (SELECT ino FROM doomed) AND ino NOT IN (SELECT ino FROM trash)"
    ),
)


FINISHED: Final = "DELETE FROM meta WHERE key = 'loading'"


def prepare(connection: Connection) -> None:
    """As ``schema.prepare``. FormatError where a load was interrupted."""
    schema.prepare(connection)
    if connection.execute("SELECT 1 FROM meta WHERE key = 'loading'").fetchone() is not None:
        raise FormatError(
            "this database was being loaded, and that was interrupted: make the database anew (dropdb,"
            " createdb), and run graviton load again"
        )


class _Loading:
    """What ``dumping`` asks of an engine, with rows sent many at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._insert = ""
        self._rows: list[Sequence[Any]] = []

    def columns(self, table: str) -> list[str]:
        listed = dumping.TABLES.get(table)
        return [] if listed is None else [column.strip().rstrip("%") for column in listed.split(",")]

    def execute(self, sql: str, row: Sequence[Any]) -> None:
        if sql != self._insert or len(self._rows) >= ROWS:
            self.flush()
            self._insert = sql
        self._rows.append(row)

    def flush(self) -> None:
        if not self._rows:
            return
        sql, rows = self._insert, self._rows
        if sql.startswith("INSERT INTO meta "):
            sql = "INSERT INTO meta (key, value, data) VALUES (?, ?, ?)"
            rows = [
                (key, None, value) if isinstance(value, bytes) else (key, value, None) for key, value in rows
            ]
        with self._connection.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s").encode(), rows)
        self._rows = []


def load(connection: Connection, pieces: Iterable[bytes], *, unfinished: bool) -> None:
    """``unfinished``: it is marked so, and ``FINISHED`` is the last step."""
    with connection.transaction():
        lines = dumping._split(pieces)
        first = next(lines, b"")
        dumping._schema_of(first)  # refused where it is unknown; all known ones have the same columns
        schema.lay_out(connection)
        engine = _Loading(connection)
        dumping._fill(engine, first, lines)
        engine.flush()
        fence, incarnation = origin.now()
        for sql in _SETTLE:
            connection.execute(sql.format(fence=fence, incarnation=incarnation).encode())
        if unfinished:
            connection.execute("INSERT INTO meta (key, value) VALUES ('loading', 1)")
