"""What the ops of one transaction share, where other processes write as well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.postgres.database import Connection, Database
from graviton_server.namespace.postgres.exchange import Query, send, transact
from graviton_server.namespace.postgres.foreseen import Exchange
from graviton_server.namespace.postgres.overlay import DIRECTORY
from graviton_server.namespace.txn import Inode, Txn, refuse_past
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import NotADirectory, NotFound

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.roster import Roster

CONTENT_STEP: Final = 65_536
INO_STEP: Final = 1 << 20

_TAKE: Final = "UPDATE meta SET value = value + %s WHERE key = %s RETURNING value"
_VALUE: Final = "SELECT value FROM meta WHERE key = %s"


class NeedNumbers(Exception):
    """A transaction has to be made again, once there are so many numbers."""

    def __init__(self, numbers: Numbers, count: int) -> None:
        self.numbers = numbers
        self.count = count


class Numbers:
    """Inode numbers or content ids, from ranges that are durable before any of them is given out.

    Thread-safe. What is left of a range when the process ends is lost; there are plenty.
    """

    def __init__(self, database: Database, key: str, step: int) -> None:
        self._database = database
        self._key = key
        self._step = step
        self._lock = threading.Lock()
        self._refilling = threading.Lock()
        self._next = self._end = 0
        self._limit = 0

    def take(self, count: int) -> int:
        """The first of so many numbers in a row. Inside a transaction, where nothing is waited for: raises
        NeedNumbers where there are not so many."""
        with self._lock:
            if self._next + count > self._end:
                raise NeedNumbers(self, count)
            first = self._next
            self._next += count
            return first

    def grant(self, count: int) -> int:
        """The same outside of transactions: there are always more."""
        while True:
            try:
                return self.take(count)
            except NeedNumbers:
                self.ensure(count)

    def ensure(self, count: int) -> None:
        """Have so many in a row. Not inside a transaction: all connections may be busy in those."""
        with self._refilling:
            with self._lock:
                if self._next + count <= self._end:
                    return
            size = count + self._step

            def reserve(connection: Connection) -> int:
                return int(transact(connection, (_TAKE, (size, self._key)), durable=True)[0][0][0])

            end = self._database.again(reserve)
            with self._lock:
                self._next, self._end = end - size, end
                self._limit = max(self._limit, end)

    def limit(self, at_least: int) -> int:
        """Below this all were granted, here or by another process; asked again where that may matter."""
        if at_least >= self._limit:

            def ask(connection: Connection) -> int:
                return int(send(connection, [Query(_VALUE, (self._key,))])[0][0][0])

            self._limit = max(self._limit, self._database.again(ask))
        return self._limit


class PostgresTxn(Txn):
    """A ``Txn`` of one transaction. Content ids come from the process's range, and are kept: a batch that
    a crash has taken back gets the same ones again."""

    __slots__ = ("_contents", "_replayed", "given")

    def __init__(
        self,
        exchange: Exchange,
        fmt: VolumeFormat,
        roster: Roster,
        numbers: Numbers,
        contents: Numbers,
    ) -> None:
        super().__init__(exchange.execute, fmt, _Claimants(exchange, roster), _Grant(numbers))
        self._contents = contents
        self.given: list[int] = []
        self._replayed: Iterator[int] = iter(())

    def begin(self, given: list[int] | None, *, telling: bool) -> None:
        """A batch begins; ``given`` are the ids that it got when it was applied before."""
        self.bytes = self.inodes = 0
        self.changes = [] if telling else None
        self.given = []
        self._replayed = iter(given or ())
        self.tape = None

    def directory(self, ino: Ino) -> Inode:
        """Read without a lock: touching it checks that it is still there."""
        row = self.execute(DIRECTORY, (ino,)).fetchone()
        if row is None or row[14] != self.volume:
            refuse_past(ino)
            raise NotFound(f"directory {ino} does not exist any more")
        inode = Inode._make(row)
        if not inode.is_directory:
            raise NotADirectory(f"inode {ino} is no directory")
        if inode.nlink == 0:
            raise NotFound(f"directory {ino} has been removed")
        return inode

    def contents_granted(self) -> int:
        return self._contents.limit(0)

    def next_content(self) -> ContentId:
        content = self.remember(lambda: self._contents.take(1))
        return ContentId(content)

    def remember(self, decide: Callable[[], int]) -> int:
        """A number that must be the same when the batch is applied again after a crash."""
        number = next(self._replayed, None)
        if number is None:
            number = decide()
        self.given.append(number)
        return number


class _Claimants:
    def __init__(self, exchange: Exchange, roster: Roster) -> None:
        self._exchange = exchange
        self._roster = roster

    def __call__(self, txn: Txn, ino: Ino) -> list[int]:
        """Sessions here that have the inode open, and those elsewhere, which are asked when it is done."""
        return [*self._roster.claimants(txn.volume, ino), *sorted(self._exchange.foreign)]


class _Grant:
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def __call__(self, txn: Txn, count: int) -> int:
        assert isinstance(txn, PostgresTxn)
        return txn.remember(lambda: self._numbers.take(count))
