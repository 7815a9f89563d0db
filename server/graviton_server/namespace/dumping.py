"""The namespace as lines of text, and back. The format is in docs/format/namespace.md, "Dump"."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec
from blake3 import blake3

import gravitonfs
from graviton_server.namespace import origin, quotas, schema
from graviton_server.namespace.engine import DatabaseError, Execute, SqliteEngine, translate
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Damaged, Exists, FormatError

VERSION: Final = 1
PAGE: Final = 1000
PIECE: Final = 1 << 18
_COMMITTED: Final = 200_000
"""Rows of a load that go in at once."""

TABLES: Final[dict[str, str]] = {
    "meta": "key, value",
    "volumes": "id, name, root, logical_bytes, inodes, created",
    "snapshots": "volume, name, version, created",
    "inodes": schema.INODE_COLUMNS,
    "inodes_history": f"{schema.INODE_COLUMNS}, died",
    "names": "parent, name%, ino, born",
    "names_history": "parent, name%, ino, born, died",
    "xattrs": "ino, name%, born, value",
    "xattrs_history": "ino, name%, born, value, died",
    "contents": schema.CONTENT_COLUMNS,
    "contents_history": f"{schema.CONTENT_COLUMNS}, died",
    "regions": "content, region, seq, born, data",
    "regions_history": "content, region, seq, born, data, died",
    "doomed": "ino",
    "ragged": "content",
    "trash": "ino, volume, parent, name%, removed",
    "packs": "number, uuid, state, owner, length, blocks, created, relied, changed, footer",
    "loose": "n, id, codec, plain_length, payload",
    "blob_refs": "volume, digest, length, content, created",
    "records": "volume, space, key, value",
    "quotas": quotas.COLUMNS,
    "targets": "number, name, kind, zone, weight, capacity, copies, zones, state, location",
    "replicas": "pack, target, state, due",
}
"""What is dumped, in this order; another table that is to be there gets a line. Sessions and their claims are
not: they end with the process, nor the redo log's epoch: what its records say is in the dump. ``%``
marks bytes that are written so that a person can read them."""

NOT_DUMPED: Final = ("secret", "release")
"""Keys of ``meta``."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SAFE: Final = "".join(map(chr, range(0x20, 0x7F))).translate(
    {ord("%"): None, ord('"'): None, ord("\\"): None}
)


def dump(execute: Execute) -> Iterator[bytes]:
    """Pieces of whole lines, from a view of the database that does not change meanwhile."""
    digest = blake3()
    count = 0
    pending: list[bytes] = []
    size = 0
    for line in _lines(execute):
        count += 1
        pending.append(line)
        size += len(line)
        if size >= PIECE:
            piece = b"".join(pending)
            digest.update(piece)
            yield piece
            pending, size = [], 0
    piece = b"".join(pending)
    digest.update(piece)
    yield piece
    yield _encode({"end": count, "blake3": digest.hexdigest()}) + b"\n"


def _lines(execute: Execute) -> Iterator[bytes]:
    head = {"graviton-dump": VERSION, "schema": schema.SCHEMA_VERSION, "release": gravitonfs.__version__}
    yield _encode(head) + b"\n"
    for table, columns in TABLES.items():
        listed = [column.strip() for column in columns.split(",")]
        yield _encode({"table": table, "columns": [column.rstrip("%") for column in listed]}) + b"\n"
        readable = {index for index, column in enumerate(listed) if column.endswith("%")}
        cursor = execute(f"SELECT {columns.replace('%', '')} FROM {table}")
        while rows := cursor.fetchmany(PAGE):
            for row in rows:
                if table == "meta" and row[0] in NOT_DUMPED:
                    continue
                yield _encode([_outward(value, index in readable) for index, value in enumerate(row)]) + b"\n"


def _outward(value: Any, readable: bool) -> Any:
    if not isinstance(value, bytes):
        return value
    if readable:
        return {"%": quote_from_bytes(value, safe=_SAFE)}
    return {"b": b64encode(value).decode("ascii")}


def _inward(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "b" in value:
        return b64decode(value["b"], validate=True)
    return unquote_to_bytes(value["%"])


def load(path: Path, pieces: Iterable[bytes]) -> None:
    """A fresh database at ``path`` from a dump; nothing is there unless the dump is whole. Durable.

    Memory does not grow with the dump. One of an older schema goes into tables of that schema, which are then
    brought up to date.
    """
    path = path.absolute()
    if path.exists():
        raise Exists(f"{path} exists already")
    draft = path.with_name(path.name + ".loading")
    _discard(draft)
    try:
        lines = _split(pieces)
        first = next(lines, b"")
        found = _schema_of(first)
        engine = schema.create_file(draft, schema.STEPS[:found])
        try:
            engine.execute("PRAGMA synchronous=OFF")  # all of it is flushed at the end
            rows = _Rows(engine)
            _fill(rows, first, lines)
            rows.flush()
            _settle(engine)
            engine.commit()
            schema.migrate(engine)
            engine.checkpoint("TRUNCATE")
        finally:
            engine.close()
        _sync_file(draft)
        os.rename(draft, path)
    except DatabaseError as error:
        raise translate(error) from error
    finally:
        _discard(draft)
    sync_directory(path.parent)


class Filled(Protocol):
    """What ``fill`` needs of a database."""

    def columns(self, table: str) -> list[str]:
        """None where there is no such table."""

    def execute(self, sql: str, row: Sequence[Any], /) -> object: ...


class _Rows:
    """Rows into a draft, many at a time. What was committed on the way is worth nothing until the end; it
    keeps the log short."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.columns = engine.columns
        self._engine = engine
        self._insert = ""
        self._rows: list[Sequence[Any]] = []
        self._count = 0
        engine.begin()

    def execute(self, sql: str, row: Sequence[Any]) -> None:
        if sql != self._insert or len(self._rows) >= PAGE:
            self.flush()
            self._insert = sql
        self._rows.append(row)

    def flush(self) -> None:
        if self._rows:
            self._engine.executemany(self._insert, self._rows)
            self._count += len(self._rows)
            self._rows = []
        if self._count >= _COMMITTED:
            self._engine.commit()
            self._engine.checkpoint("TRUNCATE")
            self._engine.begin()
            self._count = 0


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-redo"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
    if rest:
        raise Damaged("the dump is cut off in the middle of a line")


def _fill(engine: Filled, first: bytes, lines: Iterator[bytes]) -> None:
    digest = blake3(first)
    insert = ""
    width = 0
    for count, line in enumerate(lines, 1):
        value = _parse(line, count)
        if isinstance(value, dict):
            if "end" in value:
                _check_end(value, count, digest.hexdigest(), lines)
                return
            insert, width = _insertion(engine, value)
        elif not isinstance(value, list) or not insert or len(value) != width:
            raise Damaged(f"line {count + 1} of the dump does not belong there")
        else:
            engine.execute(insert, [_inward(field) for field in value])
        digest.update(line)
    raise Damaged("the dump is cut off: its last line is missing")


def _parse(line: bytes, count: int) -> Any:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise Damaged(f"line {count + 1} of the dump cannot be read: {error}") from error


def _schema_of(first: bytes) -> int:
    """The schema that the first line tells."""
    value = _parse(first, 0)
    if not isinstance(value, dict) or "graviton-dump" not in value:
        raise Damaged("line 1 of the dump does not belong there: is it a dump?")
    if value["graviton-dump"] != VERSION:
        raise newer("the dump", Format.DUMP, value["graviton-dump"], release=_release(value))
    found = value.get("schema")
    if not isinstance(found, int) or not 1 <= found <= schema.SCHEMA_VERSION:
        raise newer("the dump", Format.SQLITE, found, release=_release(value))
    return found


def _release(head: dict[str, Any]) -> str:
    """That has made it, and was needed for that."""
    return str(head.get("release", ""))


def _check_end(value: dict[str, Any], count: int, digest: str, lines: Iterator[bytes]) -> None:
    if value.get("end") != count or value.get("blake3") != digest:
        raise Damaged("the dump is damaged: its lines do not match the digest in the last one")
    if next(lines, None) is not None:
        raise Damaged("the dump goes on behind its last line")


def _insertion(engine: Filled, value: dict[str, Any]) -> tuple[str, int]:
    table, columns = value.get("table"), value.get("columns")
    known = engine.columns(table) if isinstance(table, str) else []
    if not known or not isinstance(columns, list) or sorted(columns) != sorted(known):
        raise FormatError(f"the dump has a table {table!r} with columns that its schema does not have")
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", len(columns)


def _settle(engine: SqliteEngine) -> None:
    """A new incarnation, one that the database before has never had, and a fence against that one; inodes
    without names were kept by sessions, which are over."""
    fence, incarnation = origin.now()
    engine.execute("UPDATE meta SET value = max(value + 1, ?) WHERE key = 'incarnation'", (incarnation,))
    engine.execute(origin.SET_FENCE, (fence,))
    trash = " AND ino NOT IN (SELECT ino FROM trash)" if engine.columns("trash") else ""
    engine.execute(
        "INSERT INTO claims (ino, session) SELECT ino, 0 FROM inodes WHERE nlink = 0"
        f" AND ino NOT IN (SELECT ino FROM doomed){trash}"
    )
