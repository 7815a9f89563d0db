"""Many statements in one round trip, straight on libpq's pipeline mode.

psycopg's own pipeline sends every statement by itself and keeps a cursor for each, which costs several
times what the statements do. Here all of them go out in one piece, are prepared on first use, and come back
as rows; psycopg's adapters load the rows, its errors are raised. One thread at a time, as any connection.
"""

from __future__ import annotations

import re
import select
import struct
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import errors, pq
from psycopg.abc import Transformer as AnyTransformer
from psycopg.adapt import Transformer

Row = tuple[Any, ...]
Params = Sequence[Any]
Statement = tuple[str, Params]

BOOL, BYTEA, INT8, TEXT = 16, 17, 20, 25
BOOLS, BYTEAS, TEXTS, INT8S = 1000, 1001, 1009, 1016

_INT8: Final = struct.Struct("!q")
_INT8_END: Final = 1 << 63
_pack_int8: Final = _INT8.pack
_ARRAY: Final = struct.Struct("!iiIii")
_EMPTY_ARRAY: Final = struct.Struct("!iiI")
_LENGTH: Final = struct.Struct("!i")
_NULL: Final = _LENGTH.pack(-1)
_MARK: Final = re.compile(r"%[s%]")
_READ: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class Link(psycopg.Connection[Row]):
    """A connection that knows which statements it has prepared."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statements: dict[_Key, bytes] = {}
        self.prepares = True


class Ints(tuple[int, ...]):
    """Integers that go to the server as one array of bigints."""

    __slots__ = ()


_Key = tuple[str, tuple[int, ...]]


@cache
def _name(text: str, kinds: tuple[int, ...]) -> bytes:
    """By what it does: behind a pooler that lends connections out, a name never means something else."""
    return b"g_" + blake2b(repr((text, kinds)).encode(), digest_size=16).hexdigest().encode()


@cache
def _numbered(text: str) -> bytes:
    """``%s`` as ``$1``, ``$2``, ...: what libpq knows."""
    count = 0

    def replace(mark: re.Match[str]) -> str:
        nonlocal count
        if mark[0] == "%%":
            return "%"
        count += 1
        return f"${count}"

    return _MARK.sub(replace, text).encode()


def _array(kind: int, items: list[bytes] | list[bytes | None]) -> bytes:
    if not items:
        return _EMPTY_ARRAY.pack(0, 0, kind)
    parts = [_ARRAY.pack(1, None in items, kind, len(items), 1)]
    for item in items:
        parts += (_NULL,) if item is None else (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


def _outward(value: Any) -> tuple[bytes | None, int]:
    """A parameter in binary, and its type. An int is a bigint, whatever its value. Bytes: see ``_ready``."""
    kind = type(value)
    if kind is str:
        return value.encode(), TEXT
    if value is None:
        return None, 0
    if kind is bool:
        return (b"\1" if value else b"\0"), BOOL
    if isinstance(value, int):
        try:
            return _INT8.pack(value), INT8
        except struct.error as error:
            raise OverflowError(value) from error
    if kind is Ints:
        return _array(INT8, [_INT8.pack(number) for number in value]), INT8S
    if kind is list:
        if not value or value[0] is None or isinstance(value[0], bytes):
            return _array(BYTEA, value), BYTEAS
        if isinstance(value[0], bool):
            return _array(BOOL, [b"\1" if item else b"\0" for item in value]), BOOLS
        return _array(TEXT, [item.encode() for item in value]), TEXTS
    return bytes(value), BYTEA


class _Ready(NamedTuple):
    """A statement with its parameters as they travel."""

    text: str
    values: list[bytes | None]
    kinds: tuple[int, ...]


def _ready(text: str, params: Params) -> _Ready:
    """Integers and bytes, which nearly all parameters are, without a call each: a batch has about sixty."""
    values: list[bytes | None] = []
    kinds: list[int] = []
    for param in params:
        if type(param) is int and -_INT8_END <= param < _INT8_END:
            value: bytes | None = _pack_int8(param)
            kind = INT8
        elif type(param) is bytes:
            value, kind = param, BYTEA
        else:
            value, kind = _outward(param)
        values.append(value)
        kinds.append(kind)
    return _Ready(text, values, tuple(kinds))


def send(connection: Link, todo: Sequence[Statement]) -> list[tuple[list[Row], int]]:
    """The rows of each statement, and how many rows it changed. Raises what the first error was."""
    ready = [_ready(text, params) for text, params in todo]
    pgconn = connection.pgconn
    if pgconn.status != pq.ConnStatus.OK:
        raise psycopg.OperationalError("the connection is lost")
    try:
        pgconn.enter_pipeline_mode()
        fresh = [_queue(connection, item) for item in ready]
        pgconn.pipeline_sync()
        _flush(pgconn)
        answers, failure = _answers(connection, fresh)
        pgconn.exit_pipeline_mode()
    except BaseException:
        # In the middle of a conversation nobody could take it up again.
        connection.close()
        raise
    if failure is not None:
        raise failure
    return answers


def _queue(connection: Link, item: _Ready) -> _Key | None:
    """Returns what is prepared with it, if anything."""
    pgconn = connection.pgconn
    formats = [pq.Format.BINARY] * len(item.values)
    if not connection.prepares:
        pgconn.send_query_params(_numbered(item.text), item.values, item.kinds, formats, pq.Format.BINARY)
        return None
    key = (item.text, item.kinds)
    name = connection.statements.get(key)
    fresh = None
    if name is None:
        fresh = key
        name = _name(*key)
        # Entered at once, as the same statement may follow; taken out again should the server not get to it.
        connection.statements[key] = name
        pgconn.send_prepare(name, _numbered(item.text), item.kinds)
    pgconn.send_query_prepared(name, item.values, formats, pq.Format.BINARY)
    return fresh


def _poll(pgconn: pq.abc.PGconn, events: int) -> int:
    poll = select.poll()
    poll.register(pgconn.socket, events)
    return poll.poll()[0][1]


def _flush(pgconn: pq.abc.PGconn) -> None:
    """All goes out; answers that come meanwhile are taken in, so that neither side waits for the other."""
    while pgconn.flush():
        if _poll(pgconn, select.POLLIN | select.POLLOUT) & _READ:
            pgconn.consume_input()


def _result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    while pgconn.is_busy():
        _poll(pgconn, select.POLLIN)
        pgconn.consume_input()
    return pgconn.get_result()


def _answers(
    connection: Link, fresh: list[_Key | None]
) -> tuple[list[tuple[list[Row], int]], psycopg.Error | None]:
    """All that comes back up to the synchronization point, and the first error among it."""
    failure: psycopg.Error | None = None
    answers: list[tuple[list[Row], int]] = []
    transformer: AnyTransformer = Transformer(connection)
    for key in fresh:
        if key is not None:
            prepared = _one(connection)
            if isinstance(prepared, psycopg.Error) or prepared.status != pq.ExecStatus.COMMAND_OK:
                connection.statements.pop(key, None)
            if isinstance(prepared, psycopg.Error):
                failure = failure or prepared
        result = _one(connection)
        if isinstance(result, psycopg.Error):
            failure = failure or result
        elif result.status != pq.ExecStatus.PIPELINE_ABORTED:
            answers.append(_load(transformer, result))
    synced = _result(connection.pgconn)
    if synced is None or synced.status != pq.ExecStatus.PIPELINE_SYNC:
        raise failure or psycopg.OperationalError(_reason(connection.pgconn))
    return answers, failure


def _one(connection: Link) -> pq.abc.PGresult | psycopg.Error:
    """The result of one message. Raises where there is no connection any more."""
    pgconn = connection.pgconn
    result = _result(pgconn)
    if result is None:
        raise psycopg.OperationalError(_reason(pgconn))
    found: pq.abc.PGresult | psycopg.Error = result
    if result.status == pq.ExecStatus.FATAL_ERROR:
        found = errors.error_from_result(result)
        if pgconn.status != pq.ConnStatus.OK:
            raise found
    while _result(pgconn) is not None:
        pass
    return found


def _load(transformer: AnyTransformer, result: pq.abc.PGresult) -> tuple[list[Row], int]:
    count = result.command_tuples or 0
    if result.status != pq.ExecStatus.TUPLES_OK:
        return [], count
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple), count


def _reason(pgconn: pq.abc.PGconn) -> str:
    return pgconn.error_message.decode(errors="replace").strip() or "the connection is lost"
