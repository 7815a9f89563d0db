"""Applying one batch: exactly once, whole or not at all, after everything it relies on.

Guarded by the store's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from graviton_server.namespace.dispatch import APPLY
from graviton_server.namespace.engine import DatabaseError, DuplicateKey
from graviton_server.namespace.group import AppliedBatch
from graviton_server.namespace.sessions import Recorded, Session, Volume
from graviton_server.namespace.tape import Tape
from graviton_server.namespace.txn import Txn
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, Gap, GravitonError, Internal, Invalid, ReadOnly
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.ops import Batch, Failure, Result

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore


class Moment(NamedTuple):
    """When a change outside of batches happens, what it decides, what it has to tell."""

    version: int
    clock: int
    tape: Tape
    changes: list[Change]


class Applier:
    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._execute = store.execute
        self.txn = Txn(store.execute, store.format, self._claimants, self._grant)
        self.version = 1
        """Of the newest change; it rises with each batch, in the order they are applied."""
        self.batches = self.ops = self.failures = self.repeats = 0

    def apply(self, session: Session, batch: Batch, told: list[Change]) -> Recorded:
        """Apply a batch, or return what was recorded. Raises refusals, which use no number."""
        store = self._store
        number = batch.number
        if number != session.last + 1:
            return self._not_next(session, number)
        if not session.alive:
            raise Fenced(f"session {session.id} has ended")
        if session.read_only and (batch.ops or batch.loose):
            raise ReadOnly("the volume is attached read-only")
        group = store.group
        group.admit()
        clock = store.clock_ns()
        if batch.packs:
            store.packs.refused(batch.packs)
            store.packs.rely(batch.packs, clock)
        txn = self.txn
        self.version += 1
        txn.version = self.version
        entry = AppliedBatch(session, batch, txn.version, txn.content, clock, None)
        try:
            results, failure = self._run(txn, session, batch, clock, None)
        except DatabaseError as error:
            txn.content = entry.content
            raise group.broken_by(error) from error
        if failure is None:
            if txn.tape is not None:
                entry = entry._replace(tape=txn.tape)
            if batch.ops or batch.loose:
                group.entries.append(entry)
            if txn.changes:
                told.extend(txn.changes)
            self.ops += len(results)
        else:
            self.failures += 1
        self.batches += 1
        recorded = (number, results, failure)
        session.recorded.append(recorded)
        session.last = number
        session.dirty = True
        return recorded

    def _not_next(self, session: Session, number: int) -> Recorded:
        if number > session.last:
            raise Gap(session.last)
        if number < 1:
            raise Invalid("batches are numbered from 1")
        self.repeats += 1
        return session.repeat(number)

    def _run(
        self,
        txn: Txn,
        session: Session,
        batch: Batch,
        clock: int,
        tape: Tape | None,
        *,
        again: bool = False,
    ) -> tuple[tuple[Result, ...], Failure | None]:
        """The ops of a batch in a savepoint; a failed one leaves nothing behind."""
        execute = self._execute
        volume = session.volume
        txn.now = batch.time_ns
        txn.clock = clock
        txn.session = session.id
        txn.volume = volume.id
        txn.snapshot = volume.snapshot
        txn.trash = self._store.trash_age_ns
        txn.bytes = txn.inodes = 0
        txn.tape = tape
        txn.changes = [] if session.others else None
        ledger = txn.ledger = volume.ledger(enforce=not again) if volume.quotas else None
        loose = self._store.loose
        results: list[Result] = []
        execute("SAVEPOINT batch")
        try:
            fresh = loose.insert(batch.loose) if batch.loose else None
            for op in batch.ops:
                result = APPLY[type(op)](txn, op)
                if ledger is not None:
                    ledger.check(txn)
                results.append(result)
        except GravitonError as error:
            self._undo(volume)
            return (), Failure(len(results), error.kind.value, str(error))
        except DuplicateKey as error:
            self._undo(volume)
            return (), Failure(
                len(results), Internal.kind.value, f"the namespace contradicts itself: {error}"
            )
        except OverflowError:
            self._undo(volume)
            return (), Failure(len(results), Invalid.kind.value, "a number is too large")
        except BaseException:
            if self._store.engine.in_transaction:
                self._undo(volume)
            raise
        execute("RELEASE batch")
        if ledger is not None:
            ledger.settle()
            volume.dirty = True
        if txn.inodes or txn.bytes:
            volume.add(txn.bytes, txn.inodes)
        if fresh:
            self._store.group.bytes += loose.inserted(fresh)
        return tuple(results), None

    def _undo(self, volume: Volume) -> None:
        self._execute("ROLLBACK TO batch")
        self._execute("RELEASE batch")
        # What the batch had reserved is taken back too, and what it had moved.
        volume.chains.moved()
        self.txn.content_limit = 0
        self._store.numbers.rolled_back()

    def replay(self, entry: AppliedBatch) -> None:
        """Apply again what a failed commit has taken back, with the same outcome."""
        txn = self.txn
        content = txn.content
        txn.version, txn.content = entry.version, entry.content
        if entry.tape is not None:
            entry.tape.rewind()
        try:
            _, failure = self._run(txn, entry.session, entry.batch, entry.clock, entry.tape, again=True)
        finally:
            txn.content = content
        if failure is not None:
            raise Internal(f"a batch that was applied fails when it is applied again: {failure.message}")

    def outside_batch(self, volume: Volume, moment: Moment) -> Txn:
        """The state for changes that belong to no batch (a session's end, upkeep)."""
        txn = self.txn
        txn.version, txn.now, txn.tape = moment.version, moment.clock, moment.tape
        txn.clock = moment.clock
        txn.volume, txn.snapshot, txn.session, txn.trash = volume.id, volume.snapshot, 0, None
        txn.changes = moment.changes
        txn.bytes = txn.inodes = 0
        txn.ledger = None
        moment.tape.rewind()
        return txn

    def moment(self) -> Moment:
        """A new version for such a change. Passed along, so that a replay happens at the same one."""
        self.version += 1
        return Moment(self.version, self._store.clock_ns(), Tape(), [])

    def _claimants(self, txn: Txn, ino: Ino) -> list[int]:
        """The sessions that have an inode open."""
        return list(self._tape(txn).decide(self._store.roster.claimants, txn.volume, ino))

    def _grant(self, txn: Txn, count: int) -> int:
        """The first of so many fresh inode numbers."""
        first = self._tape(txn).decide(self._store.numbers.take, count)
        self._store.numbers.reserve(first + count)  # a replay takes none, but the range must be on disk
        return first

    @staticmethod
    def _tape(txn: Txn) -> Tape:
        if txn.tape is None:
            txn.tape = Tape()
        return txn.tape
