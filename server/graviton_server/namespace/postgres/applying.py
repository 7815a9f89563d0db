"""Batches on PostgreSQL: exactly once, whole or not at all, in two round trips where nothing is unusual.

Order: the barrier (what batches rely on is durable), then a transaction of two round trips. The first
passes the gate, asks for the session, its last number and all that the ops are foreseen to read; the
second writes, records the answers, and commits without waiting for the disk. A durable call then flushes
the log in a transaction of its own, in the same round trip: rows that others wait for are free by then.
A session that is alone and makes files needs no first round trip (``belief``).
A session that was alone a moment ago makes nobody wait: its transaction is durable itself.

Guarded by the session's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed

from graviton_server.namespace.dispatch import APPLY
from graviton_server.namespace.engine import DuplicateKey
from graviton_server.namespace.postgres import exchange as exchanging
from graviton_server.namespace.postgres import foreseen, quotas
from graviton_server.namespace.postgres.belief import Head, check, parameters
from graviton_server.namespace.postgres.database import (
    Connection,
    Rerun,
    is_contention,
    translate,
    worth_another_try,
)
from graviton_server.namespace.postgres.exchange import COMMIT, FLUSH, Query
from graviton_server.namespace.postgres.foreseen import Exchange, NeedOneMoment, NeedRenameLock
from graviton_server.namespace.postgres.foresight import Foresight
from graviton_server.namespace.postgres.incarnations import INCARNATION
from graviton_server.namespace.postgres.sessions import (
    KEEP,
    PRUNE_EVERY,
    Kept,
    PostgresSession,
    decode,
    encode,
    same,
)
from graviton_server.namespace.postgres.transaction import NeedNumbers, PostgresTxn
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.sessions import Recorded
from gravitonfs.errors import Fenced, Gap, GravitonError, Internal, Invalid, MissingBlocks, ReadOnly
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.ops import Batch, Create, Failure, Result, Write

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

CAREFUL_AFTER: Final = 2
"""After so many duplicates that only the end has shown, each write is sent by itself."""
TOUCHED_STEP_NS: Final = 5 * 10**9
TOUCHED_MOST: Final = 10_000
RELIED_STEP_NS: Final = 600 * 10**9

CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
FLUSHED: Final = "(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
_HEAD: Final = (
    "SELECT coalesce(a.number, 0), coalesce(a.logical_bytes, 0), coalesce(a.inodes, 0), nextval('versions'),"
    f" {CLOCK}, {INCARNATION}, {FLUSHED},"
    f" (SELECT coalesce(max(p.version), 0) FROM snapshots p WHERE p.volume = s.volume), {quotas.ANY},"
    " ARRAY(SELECT CASE WHEN o.asks THEN o.id ELSE 0 END FROM sessions o WHERE o.volume = s.volume"
    " AND o.process <> %s)"
    " FROM sessions s LEFT JOIN LATERAL (SELECT number, logical_bytes, inodes FROM answers"
    " WHERE session = s.id ORDER BY number DESC LIMIT 1) a ON true WHERE s.id = %s AND s.process <> 0"
)
_CHECK: Final = check(INCARNATION, CLOCK, FLUSHED)
_LIVE: Final = "SELECT number, relied FROM packs WHERE number = ANY(%s) AND state = 'live'"
_RELIED: Final = "UPDATE packs SET relied = %s WHERE number = %s AND relied < %s"
_ANSWER: Final = "SELECT answer FROM answers WHERE session = %s AND number = %s"
_RECORD: Final = (
    "INSERT INTO answers (session, number, logical_bytes, inodes, answer) SELECT %s, a.* FROM"
    " unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]) AS a"
)
_PRUNE: Final = "DELETE FROM answers WHERE session = %s AND number <= %s"
_CHANGED: Final = "UPDATE contents SET changed = %s WHERE id = %s AND changed < %s"
_WRITTEN: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
_RR: Final = ("BEGIN ISOLATION LEVEL REPEATABLE READ", ())


class Lost(Exception):
    """The server has lost batches that were answered."""

    def __init__(self, last: int) -> None:
        self.last = last


class Manner(NamedTuple):
    """How a transaction has to be made, as earlier attempts have shown."""

    careful: bool = False
    renames: bool = False
    one_moment: bool = False


class Outcome(NamedTuple):
    answers: list[Recorded]
    told: list[Change]
    refusal: GravitonError | None


class Applier:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._saved: dict[int, int] = {}
        self.batches = self.ops = self.failures = self.repeats = self.reruns = self.trips = 0
        """Counted without a lock: for people, not for decisions."""

    # --- a call --------------------------------------------------------------------------------------

    def apply(self, session: PostgresSession, batches: Sequence[Batch], *, durable: bool) -> Outcome:
        """Session's lock held. ``refusal``: what stopped the call after the answers."""
        if not session.alive:
            raise Fenced(f"session {session.id} has ended")
        if session.read_only and any(batch.ops or batch.loose for batch in batches):
            raise ReadOnly("the volume is attached read-only")
        if batches:
            self._store.barrier()
            self._prepare_numbers(batches)
        return self._patiently(session, batches, durable)

    def _prepare_numbers(self, batches: Sequence[Batch]) -> None:
        """What the ops are likely to need, and to compare with."""
        self._store.content_ids.ensure(sum(len(batch.ops) for batch in batches))
        todo = [op for batch in batches for op in batch.ops]
        made = max((op.ino for op in todo if isinstance(op, Create)), default=0)
        named = max((op.content for op in todo if isinstance(op, Write)), default=0)
        for numbers, highest in ((self._store.numbers, made), (self._store.content_ids, named)):
            if 0 < highest < 1 << 62:
                numbers.limit(highest)

    def _patiently(self, session: PostgresSession, batches: Sequence[Batch], durable: bool) -> Outcome:
        """Until it is done: waits for a server that is away, and gives way to others."""
        backoff = self._store.database.backoff()
        manner = Manner()
        duplicates = 0
        while True:
            try:
                with self._store.database.connection() as connection:
                    return self.attempt(connection, session, batches, durable, manner)
            except Disbelieved:
                pass  # and forgotten: now it is asked
            except NeedRenameLock:
                manner = manner._replace(renames=True)
            except NeedOneMoment:
                manner = manner._replace(one_moment=True)
            except NeedNumbers as need:
                need.numbers.ensure(need.count)
            except Lost as lost:
                self._store.replayer.replay(session, lost.last)
            except (psycopg.Error, Rerun, PoolClosed) as error:
                self.reruns += 1
                if isinstance(error, psycopg.errors.UniqueViolation):
                    duplicates += 1
                    manner = manner._replace(careful=duplicates >= CAREFUL_AFTER)
                    if duplicates == 1:
                        continue
                if backoff.over or not worth_another_try(error):
                    raise translate(error) from error
                if not is_contention(error):
                    self._store.incarnations.server_away()
                backoff.wait()

    # --- a transaction -------------------------------------------------------------------------------

    def attempt(
        self,
        connection: Connection,
        session: PostgresSession,
        batches: Sequence[Batch],
        durable: bool,
        manner: Manner,
        given: dict[int, list[int]] | None = None,
        expected: Recorded | None = None,
    ) -> Outcome:
        """``given`` and ``expected``: the batch was answered before, and has to come out the same."""
        if not batches:
            self._flush(connection, session, durable)
            return Outcome([], [], None)
        exchange = Exchange(connection, session.volume.id, careful=manner.careful)
        exchange.one_moment = manner.one_moment
        run = _Run(self._store, exchange, session, given or {})
        try:
            run.open(batches, manner, durable)
            refusal = run.all(batches)
            if expected is not None and (refusal is not None or not same(run.answers[0], expected)):
                raise Differs
            if run.fresh:
                run.commit(durable)
                self._note_saved(run)
        except BaseException as error:
            session.belief.forget()
            if run.believed and isinstance(error, errors.DivisionByZero | errors.UniqueViolation):
                raise Disbelieved from error
            raise
        finally:
            self.trips += exchange.trips
        self.batches += len(run.fresh)
        self.repeats += len(run.answers) - len(run.fresh)
        self.failures += sum(kept.answer[2] is not None for kept in run.fresh)
        self.ops += sum(len(kept.answer[1]) for kept in run.fresh)
        if durable and refusal is None and not run.fresh:
            self._flush(connection, session, durable)
        return Outcome(run.answers, run.told, refusal)

    def _flush(self, connection: Connection, session: PostgresSession, durable: bool) -> None:
        """Without batches: what was applied before becomes durable, if the server has it still."""
        todo = [(_HEAD, (self._store.process, session.id))]
        rows = exchanging.send(connection, [Query(*query) for query in (*todo, *(FLUSH if durable else ()))])
        self.trips += 1
        take_head(self._store, session, rows[0])
        if durable:
            session.kept.clear()
            session.durable = session.last

    # --- drafts' times -------------------------------------------------------------------------------

    def outdated(self, touched: dict[int, int]) -> list[tuple[int, int]]:
        """Which drafts' rows have to be told when they were changed: not each time."""
        return [
            (content, clock)
            for content, clock in sorted(touched.items())
            if clock - self._saved.get(content, 0) >= TOUCHED_STEP_NS
        ]

    def _note_saved(self, run: _Run) -> None:
        if len(self._saved) + len(run.saved) > TOUCHED_MOST:
            self._saved.clear()
        self._saved.update(run.saved)


def take_head(store: PostgresStore, session: PostgresSession, rows: list[Any]) -> Head:
    """What the database says about a session; Fenced where it has ended, Lost where it knows less."""
    if not rows:
        session.alive = False
        raise Fenced(f"session {session.id} has ended: it was silent for too long, or was evicted")
    head = Head._make(rows[0])
    store.incarnations.told(head.incarnation)
    if head.last < session.last:
        raise Lost(head.last)
    # More than we know was applied through another process, or before a connection was lost.
    session.last = max(session.last, head.last)
    session.whole_in = head.incarnation
    session.alone = not head.foreign
    session.counted = head.counted
    session.flushed(head.flushed)
    return head


class Disbelieved(Rerun):
    """What the session believed of the database, or of a name in it, is not so."""


class Differs(Rerun):
    """A batch that is applied again came out otherwise."""


class _Run:
    """The batches of one call in one transaction."""

    def __init__(
        self, store: PostgresStore, exchange: Exchange, session: PostgresSession, given: dict[int, list[int]]
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._session = session
        self._given = given
        self.answers: list[Recorded] = []
        self.fresh: list[Kept] = []
        self.told: list[Change] = []
        self.saved: list[tuple[int, int]] = []
        self._txn = PostgresTxn(exchange, store.format, store.roster, store.numbers, store.content_ids)
        self._head: Head
        self._live: dict[int, int] = {}
        self._last = 0
        self._records: list[tuple[int, int, int, bytes]] = []
        """Of the batches applied here, to be written with the last round trip."""
        self._bytes = self._inodes = 0
        self._next: Head
        """What the next transaction is going to find."""
        self._directories: list[Any] = []
        self._counted: quotas.Counted | None = None
        self.believed = False
        """Nothing was asked before."""
        self._flushes = False
        """The transaction's own commit waits for the disk."""

    def open(self, batches: Sequence[Batch], manner: Manner, durable: bool) -> None:
        """The first round trip, unless what it would tell is believed."""
        exchange, session, store = self._exchange, self._session, self._store
        packs = sorted({number for batch in batches for number in batch.packs if number})
        foresight = Foresight(batches)
        todo: list[tuple[str, Any]] = [_RR if manner.one_moment else exchanging.BEGIN]
        self._flushes = durable and session.alone and not session.others
        counted: quotas.Counted | None = None
        todo.append(exchanging.PASS_GATE)
        if session.counted:
            counted = quotas.Counted(exchange, session.volume.root, batches, enforce=not self._given)
            todo.append(quotas.ALONE if manner.renames else quotas.SHARE)
        todo.append(exchanging.DURABLE_BATCH if self._flushes else exchanging.BATCH)
        if manner == Manner() and not packs and not self._given and self._believes(batches, foresight, todo):
            return
        if manner.renames:
            todo.append((foreseen.LOCK_RENAMES, (session.volume.id,)))
            exchange.renames_locked = True
        start = len(todo)
        todo.append((_HEAD, (store.process, session.id)))
        if packs:
            todo.append((_LIVE, (Ints(packs),)))
        usages = [] if counted is None else [counted.query()]
        rows = exchange.queries(*todo, *foresight.queries(), *usages)[start:]
        head = take_head(store, session, rows[0])
        if head.counted:
            if counted is None:
                raise Disbelieved  # that there are no quotas
            counted.learn(rows.pop())
            self._counted = counted
        self._directories = foresight.learn(exchange, rows[2 if packs else 1 :])
        self._live = dict(rows[1]) if packs else {}
        exchange.foreign = frozenset(number for number in head.foreign if number)
        self._begin(head)

    def _believes(self, batches: Sequence[Batch], foresight: Foresight, first: list[tuple[str, Any]]) -> bool:
        """Whether nothing has to be asked: then it is checked in the transaction."""
        session = self._session
        head, directories = session.belief.now(), foresight.only_new()
        if (
            head is None
            or directories is None
            or head.last != session.last
            or session.others
            or session.counted
        ):
            return False
        if [batch.number for batch in batches] != list(range(head.last + 1, head.last + 1 + len(batches))):
            return False
        rows = session.belief.rows(directories)
        if rows is None:
            return False
        self.believed = True
        for text, params in first:
            self._exchange.queue(text, params)
        process = self._store.process
        self._exchange.queue(_CHECK, parameters(session.id, process, head, rows), self._checked)
        foresight.learn_new(self._exchange, rows)
        self._begin(head)
        return True

    def _checked(self, rows: list[Any]) -> None:
        _, version, clock, flushed = rows[0]
        self._next = self._next._replace(version=version, clock=clock)
        self._session.flushed(flushed)

    def _begin(self, head: Head) -> None:
        session, store = self._session, self._store
        self._head = self._next = head
        self._last = head.last
        self._bytes, self._inodes = head.logical_bytes, head.inodes
        txn = self._txn
        txn.version, txn.clock, txn.snapshot = head.version, head.clock, head.snapshot
        txn.volume, txn.session, txn.trash = session.volume.id, session.id, store.trash_age_ns
        txn.ino_limit = store.numbers.limit(0)

    def _note_belief(self) -> None:
        """What is so after the transaction, unless somebody else changes it."""
        session = self._session
        if self._head.foreign or session.others:
            session.belief.forget()
            return
        for row in self._directories:
            session.belief.found(row)
        after = self._next._replace(last=self._last, logical_bytes=self._bytes, inodes=self._inodes)
        session.belief.left(after)

    def all(self, batches: Sequence[Batch]) -> GravitonError | None:
        """Apply the batches; what stops them, refused or contradictory, is returned."""
        for batch in batches:
            if batch.number <= self._last:
                try:
                    self.answers.append(self._repeat(batch.number))
                except GravitonError as error:
                    return error
                continue
            if batch.number != self._last + 1:
                return Gap(self._last)
            missing = tuple(number for number in batch.packs if number and number not in self._live)
            if missing:
                return MissingBlocks(missing)
            self._apply(batch)
        return None

    def _repeat(self, number: int) -> Recorded:
        if number < 1:
            raise Invalid("batches are numbered from 1")
        for kept in self.fresh:
            if kept.batch.number == number:
                return kept.answer
        for found in reversed(self._session.recorded):
            if found[0] == number:
                return found
        rows = self._exchange.query((_ANSWER, (self._session.id, number)))
        if not rows:
            raise Fenced(
                f"the answer of batch {number} is no longer kept: the session has moved on to {self._last}"
            )
        return decode(rows[0][0])

    def _apply(self, batch: Batch) -> None:
        txn, exchange = self._txn, self._exchange
        txn.begin(self._given.get(batch.number), telling=bool(self._session.others or self._head.foreign))
        txn.now = batch.time_ns
        ledger = txn.ledger = None if self._counted is None else self._counted.batch()
        exchange.begin_batch()
        results, failure = self._ops(batch)
        if self._counted is not None and ledger is not None:
            if failure is None:
                self._counted.applied(ledger, txn.bytes, txn.inodes)
            else:
                self._counted.undone()
        if failure is None:
            exchange.end_batch()
            self._bytes += txn.bytes
            self._inodes += txn.inodes
            self.told += txn.changes or ()
            for number in batch.packs:
                if number and self._head.clock - self._live[number] >= RELIED_STEP_NS:
                    self._live[number] = self._head.clock
        answer: Recorded = (batch.number, results, failure)
        self._records.append((batch.number, self._bytes, self._inodes, encode(answer)))
        self._last = batch.number
        self.answers.append(answer)
        self.fresh.append(Kept(batch, answer, txn.given, 0))

    def _ops(self, batch: Batch) -> tuple[tuple[Result, ...], Failure | None]:
        results: list[Result] = []
        try:
            if batch.loose:
                self._store.loose.insert(self._exchange, batch.loose)
            for op in batch.ops:
                result = APPLY[type(op)](self._txn, op)
                if self._txn.ledger is not None:
                    self._txn.ledger.check(self._txn)
                results.append(result)
        except GravitonError as error:
            failure = Failure(len(results), error.kind.value, str(error))
        except DuplicateKey as error:
            failure = Failure(len(results), Internal.kind.value, f"the namespace contradicts itself: {error}")
        except OverflowError:
            failure = Failure(len(results), Invalid.kind.value, "a number is too large")
        else:
            return tuple(results), None
        self._exchange.undo_batch()
        return (), failure

    def commit(self, durable: bool) -> None:
        """The last round trip."""
        exchange, session, head = self._exchange, self._session, self._head
        if self._records:
            numbers, sizes, inodes, answers = zip(*self._records, strict=True)
            record = (session.id, Ints(numbers), Ints(sizes), Ints(inodes), list(answers))
            exchange.queue(_RECORD, record, inserts=True)
        for number, relied in sorted(self._live.items()):
            if relied == head.clock:
                exchange.queue(_RELIED, (relied, number, relied))
        self.saved = self._store.applier.outdated(self._txn.touched)
        for content, clock in self.saved:
            exchange.queue(_CHANGED, (clock, content, clock))
        telling = bool(self.told) and bool(head.foreign)
        if telling:
            self._store.changes.put(exchange, session.volume.id, session.id, head.clock, self.told)
        if self._last // PRUNE_EVERY != head.last // PRUNE_EVERY:
            exchange.queue(_PRUNE, (session.id, self._last - KEEP))
        charges = [] if self._counted is None else self._counted.charges()
        if durable:
            rows = exchange.finish(*charges, COMMIT, *(() if self._flushes else FLUSH))
        else:
            rows = exchange.finish(*charges, COMMIT, (_WRITTEN, ()))
        session.last = self._last
        self._note_belief()
        for kept in self.fresh:
            session.remember(kept.answer)
        if durable:
            session.kept.clear()
            session.durable = session.last
        else:
            lsn = rows[-1][0][0]
            session.kept.extend(kept._replace(lsn=lsn) for kept in self.fresh)
        self._store.loose.inserted(exchange)
        if telling:
            self._store.changes.ring()
