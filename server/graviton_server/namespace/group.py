"""The open transaction that batches and calls join, and how it survives a commit that fails.

SQLite rolls a transaction back when its commit fails (a full disk). What was answered since the last
commit must stay visible, so it is kept here and applied again in a new transaction; the caller who
wanted durability gets the error, and the next tick tries again. Guarded by the store's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from graviton_server.namespace.engine import DatabaseError, SqliteEngine, translate
from graviton_server.namespace.sessions import Session
from graviton_server.namespace.tape import Tape
from gravitonfs.errors import GravitonError, NoSpace
from gravitonfs.ports.ops import Batch

log = logging.getLogger(__name__)

MAX_ENTRIES: Final = 50_000
MAX_BYTES: Final = 128 << 20
"""What is kept for another try, at most, while commits fail; then nothing more is taken."""


class AppliedBatch(NamedTuple):
    """A batch with all that its effect depended on."""

    session: Session
    batch: Batch
    version: int
    content: int
    clock: int
    tape: Tape | None


class Called(NamedTuple):
    call: Callable[..., object]
    args: tuple[Any, ...]


class Group:
    def __init__(
        self,
        engine: SqliteEngine,
        reload: Callable[[], None],
        replay: Callable[[AppliedBatch], None],
    ) -> None:
        self._engine = engine
        self._reload = reload
        self._replay = replay
        self.entries: list[AppliedBatch | Called] = []
        self.bytes = 0
        self.calls = 0
        """How many entries are calls: the redo log cannot tell those."""
        self.logged = 0
        """How many entries, from the first, the redo log has."""
        self.open = False
        self.lost: GravitonError | None = None
        """Set while the transaction is gone and could not be applied again: nothing can be answered."""
        self.failing = False
        self.restarts = 0

    def admit(self) -> None:
        """As ``ensure``, for what a client asks; refused while too much waits for a commit to succeed."""
        if self.failing and (len(self.entries) >= MAX_ENTRIES or self.bytes >= MAX_BYTES):
            raise NoSpace(
                "the namespace database has not been able to store changes for a while: free some space"
            )
        self.ensure()

    def ensure(self) -> None:
        """A transaction is open, or the reason why none can be is raised."""
        if self.lost is not None:
            self.restart()
        if not self.open:
            try:
                self._engine.begin()
            except DatabaseError as error:
                raise translate(error) from error
            self.open = True

    def commit(self) -> None:
        """COMMIT. When this raises, everything applied is still there, in a new transaction."""
        try:
            self._engine.commit()
        except DatabaseError as error:
            self.failing = True
            failure = translate(error)
            self._engine.rollback()
            self._engine.make_room()
            self.restart()
            raise failure from error
        self.open = self.failing = False
        self.entries.clear()
        self.bytes = self.calls = self.logged = 0

    def called(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.entries.append(Called(call, args))
        self.calls += 1

    def broken_by(self, error: DatabaseError) -> GravitonError:
        """After a statement failed: make sure that what was applied before it is there."""
        if not self._engine.in_transaction:
            self.failing = True
            self.restart()
        return translate(error)

    def drop(self, session: Session, last: int) -> None:
        """Forget a session's batches after ``last``; the next restart leaves them out."""
        self.entries = [
            entry
            for entry in self.entries
            if isinstance(entry, Called) or entry.session is not session or entry.batch.number <= last
        ]

    def restart(self) -> None:
        """Apply everything since the last commit again, in a new transaction."""
        self.restarts += 1
        try:
            self._engine.rollback()
            self.open = False
            self._engine.begin()
            self.open = True
            self._reload()
            for entry in self.entries:
                if isinstance(entry, Called):
                    entry.call(*entry.args)
                else:
                    self._replay(entry)
        except (DatabaseError, GravitonError) as error:
            self.lost = error if isinstance(error, GravitonError) else translate(error)
            raise self.lost from error
        self.lost = None
