"""The server as this process sees it: pooled connections, what its errors mean, when to try again.

Thread-safe; guarded state: the pool's own, and a flag that is only ever cleared.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from graviton_server.namespace.postgres.gates import GATE, Outdated, is_outdated
from graviton_server.namespace.postgres.wire import Link
from gravitonfs.errors import Damaged, GravitonError, Internal, Invalid, NoSpace, ReadOnly, Unavailable

# It tells of each attempt to reach a server that is away; we tell once (``roster``).
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

Connection = Link
T = TypeVar("T")

APPLICATION: Final = "graviton"
_CONNECT: Final[dict[str, Any]] = {
    "autocommit": True, "connect_timeout": 10,
    # A server whose machine is gone says nothing: find out within half a minute.
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000,
}  # fmt: skip
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 1.0
_NO_DATABASE: Final = re.compile(r'database "[^"]*" does not exist|no such database')
_NO_ENTRY: Final = re.compile(
    r'authentication failed|no password supplied|role "[^"]*" does not exist|no such user'
    r"|no pg_hba\.conf entry|is not permitted to log in|permission denied for database"
    r"|does not have CONNECT privilege"
)
CHECKED_WITHIN: Final = 2.0
_LOOK: Final = 5.0
"""Seconds in the pool's queue, before a call looks whether it is to wait on."""


class Settings(NamedTuple):
    """How to reach the server. ``conninfo`` is libpq's; several hosts and TLS are said there."""

    conninfo: str
    pool_size: int = 16
    listen: str | None = None
    """Where to LISTEN: a direct connection, where ``conninfo`` leads to PgBouncer."""
    prepare: bool = True
    """Off for a PgBouncer that does not know of prepared statements (before 1.21)."""
    patience: float = 60.0
    """Seconds for which a call waits for a server that is away."""
    trash_age_ns: int | None = None
    """What is removed stays for a while if it is so old; None: it does not."""
    silence: float = 60.0
    """Seconds after which a session that has said nothing is over."""
    max_file_size: int | None = None
    """Where that is less than the volume's format allows."""


_GATE_IS_THERE: Final = f"SELECT 1 FROM {GATE}".encode()


class Contended(Unavailable):
    """Others were faster, several times over; the same call may succeed at once."""


class Rerun(Exception):  # no error: what was read is out of date
    """The transaction has to be made again, on fresh reads."""


class _Int(Int8BinaryDumper):
    """Every int is a bigint: one prepared statement for each query, whatever the values."""


class _Numeric(NumericBinaryLoader):
    """Sums of bigints are numeric to the server; here they are integers."""

    def load(self, data: Buffer) -> int:  # type: ignore[override]
        return int(super().load(data))


class _NumericText(Loader):
    def load(self, data: Buffer) -> int:
        return int(bytes(data).split(b".")[0])


def _adapt(connection: Connection) -> None:
    adapters = connection.adapters
    dumper: type[Dumper] = _Int
    adapters.register_dumper(int, dumper)
    adapters.register_loader("numeric", _Numeric)
    adapters.register_loader("numeric", _NumericText)


def is_lost(error: BaseException) -> bool:
    """Is the connection gone, or about to go, so that another may do better?"""
    return isinstance(
        error,
        errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow | errors.TooManyConnections
        | errors.IdleInTransactionSessionTimeout | errors.ReadOnlySqlTransaction | PoolTimeout,
    ) or (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None
    )  # fmt: skip


def is_contention(error: BaseException) -> bool:
    return isinstance(
        error,
        Rerun | errors.SerializationFailure | errors.DeadlockDetected | errors.LockNotAvailable
        | errors.UniqueViolation | errors.DivisionByZero,
    )  # fmt: skip


def translate(error: Exception) -> GravitonError:
    """What a database error means to a caller."""
    if isinstance(error, GravitonError):
        return error
    if is_contention(error):
        return Contended(f"the namespace is too busy: {error}")
    if is_outdated(error):
        return Outdated()
    if isinstance(error, errors.DiskFull):
        return NoSpace("the disk of the database server is full: free some space there")
    if isinstance(error, errors.InsufficientPrivilege):
        return ReadOnly(f"the database does not let this user change it: {error}")
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return Damaged(f"the namespace database is damaged: {error}; restore it from a dump")
    if isinstance(error, errors.InvalidPassword | errors.InvalidAuthorizationSpecification):
        return Unavailable(f"the database server does not admit this user: {error}")
    if is_lost(error) or isinstance(error, psycopg.OperationalError | PoolClosed):
        return Unavailable(f"the database server does not answer: {_first_line(error)}")
    return Internal(f"the namespace database failed: {_first_line(error)}")


def refusal(error: psycopg.Error) -> Invalid | None:
    """Why the server does not let us in, where waiting would not help; None where it may. What fails while
    connecting has no code, only the server's words."""
    text = _first_line(error)
    if _NO_DATABASE.search(text):
        return Invalid(f"{text}: create the database, or correct graviton.database.jdbc-url")
    if _NO_ENTRY.search(text):
        return Invalid(
            f"{text}: check graviton.database.username and password (PG_USERNAME, PG_PASSWORD), and who may"
            " connect from here (pg_hba.conf)"
        )
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


class Backoff:
    """Pauses that grow, with jitter, up to a deadline."""

    def __init__(self, patience: float, latest: Callable[[], float] = lambda: inf) -> None:
        """``latest``: when it is over for everybody, on the monotonic clock."""
        self._deadline = time.monotonic() + patience
        self._latest = latest
        self._pause = FIRST_PAUSE

    @property
    def left(self) -> float:
        """Seconds; nothing or less when it is over."""
        return min(self._deadline, self._latest()) - time.monotonic()

    @property
    def over(self) -> bool:
        return self.left <= 0

    def wait(self) -> None:
        time.sleep(self._pause * (0.5 + random.random()))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


class Database:
    """A pool of connections, each in autocommit: transactions are begun and ended in SQL."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.greet: Callable[[Connection], None] | None = None
        """Called with each new connection before anybody asks through it. May raise psycopg.Error."""
        self._prepare = settings.prepare
        self._latest = inf
        self._outdated = False
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            settings.conninfo,
            connection_class=Link,
            kwargs={**_CONNECT, "application_name": APPLICATION},
            min_size=1,
            max_size=settings.pool_size,
            configure=self._configure,
            open=False,
            timeout=settings.patience,
            reconnect_timeout=settings.patience,
            name=APPLICATION,
        )

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close()

    def hurry(self, seconds: float) -> None:
        """Calls wait for a server that is away for so long at most, all together: also those that wait."""
        self._latest = min(self._latest, time.monotonic() + seconds)

    def backoff(self) -> Backoff:
        """For a call that begins now."""
        return Backoff(self.settings.patience, lambda: self._latest)

    def _configure(self, connection: Connection) -> None:
        _adapt(connection)
        connection.prepare_threshold = None  # what goes through psycopg is rare
        connection.prepares = self._prepare
        if self.greet is not None:
            self.greet(connection)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One connection; what is left of a transaction on it is rolled back.

        Nobody who has one asks for another: with all of them in such hands nobody would go on.
        """
        if self._outdated:
            raise Outdated
        try:
            with self._pooled() as connection:
                try:
                    yield connection
                finally:
                    if connection.pgconn.transaction_status not in (
                        pq.TransactionStatus.IDLE,
                        pq.TransactionStatus.UNKNOWN,
                    ):
                        with suppress(psycopg.Error):
                            connection.execute("ROLLBACK")
        except psycopg.Error as error:
            self.learn(error)
            raise

    @contextmanager
    def _pooled(self) -> Iterator[Connection]:
        backoff = self.backoff()
        while True:
            try:
                connection = self._pool.getconn(max(0.0, min(backoff.left, _LOOK)))
                break
            except PoolTimeout:
                if backoff.over:
                    raise
        try:
            with connection:
                yield connection
        finally:
            self._pool.putconn(connection)

    def check(self) -> None:
        """One question, for which nobody waits long. Unavailable; Outdated where others have moved on."""
        if self._outdated:
            raise Outdated
        for last in (False, True):  # a pooled connection may have been lost unnoticed
            try:
                with self._pool.connection(CHECKED_WITHIN) as connection:
                    connection.execute(_GATE_IS_THERE)
                return
            except (psycopg.Error, PoolClosed) as error:
                if isinstance(error, psycopg.Error):
                    self.learn(error)
                if last or not is_lost(error):
                    raise translate(error) from error

    def learn(self, error: psycopg.Error) -> None:
        """From an error: other pooled connections may be as useless."""
        self._outdated = self._outdated or is_outdated(error)
        if isinstance(error, errors.InvalidSqlStatementName | errors.DuplicatePreparedStatement):
            self._prepare = False
            self._pool.drain()
        elif is_lost(error) and not isinstance(error, PoolTimeout):
            self._pool.drain()

    def direct(self) -> Connection:
        """A connection of its own, for LISTEN."""
        connection = Link.connect(
            self.settings.listen or self.settings.conninfo,
            **{**_CONNECT, "application_name": f"{APPLICATION}-listen"},
        )
        _adapt(connection)
        connection.prepare_threshold = None
        return connection

    def again(self, call: Callable[[Connection], T]) -> T:
        """``call`` with a connection, until it succeeds: waits for a server that is away, and for others.

        For calls that may be made twice. Raises what the last error means, after ``patience``.
        """
        backoff = self.backoff()
        while True:
            try:
                with self.connection() as connection:
                    return call(connection)
            except (psycopg.Error, Rerun, PoolClosed) as error:
                if backoff.over or not worth_another_try(error):
                    raise translate(error) from error
                backoff.wait()


def worth_another_try(error: Exception) -> bool:
    return (
        is_lost(error)
        or is_contention(error)
        or isinstance(error, errors.InvalidSqlStatementName | errors.DuplicatePreparedStatement)
    )
