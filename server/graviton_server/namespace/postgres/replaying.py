"""Batches that were answered and that a crash of the server has taken back: applied again, in order.

They get the same numbers and content ids, so that what clients know stays true. Another session's batches
may have to come first, from another process: an answer that differs is tried again for a while. One that
still differs is fenced: its bytes are kept under ``.graviton-lost/``, and it is reported.

Guarded by the session's lock.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import psycopg

from graviton_server.namespace.postgres.applying import Differs, Lost, Manner
from graviton_server.namespace.postgres.database import Backoff, Rerun
from graviton_server.namespace.postgres.foreseen import NeedOneMoment, NeedRenameLock
from graviton_server.namespace.postgres.sessions import Kept, PostgresSession, same
from graviton_server.namespace.postgres.transaction import NeedNumbers
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Exists, Fenced, GravitonError
from gravitonfs.ports import ops
from gravitonfs.ports.ops import Batch

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore

log = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 10.0
"""For so long other sessions' replays may make an answer the same after all."""
LOST: Final = b".graviton-lost"


class Replayer:
    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.replayed = self.fenced = 0

    def replay(self, session: PostgresSession, last: int) -> None:
        """Apply again what the database no longer has behind ``last``."""
        lost = [kept for kept in session.kept if kept.batch.number > last]
        if not lost or lost[0].batch.number != last + 1:
            session.alive = False
            raise Fenced(
                f"session {session.id} has applied {session.last} batches, and the database knows {last}"
            )
        log.warning(
            "the database has lost %d batches of session %d: they are applied again", len(lost), session.id
        )
        survived = [kept for kept in session.kept if kept.batch.number <= last]
        if survived:
            session.durable = survived[-1].batch.number
        session.kept.clear()
        session.forget_after(last)
        try:
            for kept in lost:
                self._again(session, kept)
        except BaseException:
            # Not all are there again: the next call goes on with them.
            done = {kept.batch.number for kept in session.kept}
            session.kept.extend(kept for kept in lost if kept.batch.number not in done)
            session.last = lost[-1].batch.number
            raise

    def _again(self, session: PostgresSession, kept: Kept) -> None:
        settle = Backoff(SETTLE_SECONDS)
        backoff = self._store.database.backoff()
        given = {kept.batch.number: kept.given}
        manner = Manner()
        while True:
            try:
                with self._store.database.connection() as connection:
                    expected = None if settle.over else kept.answer
                    outcome = self._store.applier.attempt(
                        connection, session, [kept.batch], False, manner, given, expected
                    )
                break
            except NeedRenameLock:
                manner = manner._replace(renames=True)
            except NeedOneMoment:
                manner = manner._replace(one_moment=True)
            except NeedNumbers as need:
                need.numbers.ensure(need.count)
            except Differs:
                settle.wait()
            except (psycopg.Error, Rerun, Lost):
                if backoff.over:
                    raise
                backoff.wait()
        self.replayed += 1
        if outcome.refusal is not None or not same(outcome.answers[0], kept.answer):
            self._fence(session, kept, outcome.refusal)

    def _fence(self, session: PostgresSession, kept: Kept, refusal: GravitonError | None) -> None:
        self.fenced += 1
        number = kept.batch.number
        log.error(
            "batch %d of session %d (%s) came out otherwise when it was applied again after a crash of the"
            " database: its bytes are kept under %s/%d-%d",
            number, session.id, session.label, LOST.decode(), session.id, number,
        )  # fmt: skip
        if refusal is not None:
            # It uses its number all the same, so that those behind it can follow.
            with self._store.database.connection() as connection:
                self._store.applier.attempt(
                    connection, session, [Batch(number, kept.batch.time_ns, ())], False, Manner()
                )
        try:
            put_aside(self._store, session, kept.batch)
        except GravitonError:
            log.exception("what batch %d wrote could not be kept aside", number)


def put_aside(store: PostgresStore, session: PostgresSession, batch: Batch) -> None:
    """What a batch wrote, as files of their own: ``.graviton-lost/<session>-<batch>-<inode>``."""
    namespace = store.attach(session.volume.name, label="lost and found", background=True)
    try:
        found = namespace.lookup(namespace.root, LOST)
        number = 0

        def apply(*todo: ops.Op, packs: Sequence[int] = ()) -> ops.Reply:
            nonlocal number
            number += 1
            return namespace.apply(
                [Batch(number, batch.time_ns, todo, tuple(batch.packs) if packs else ())], durable=True
            )[0]

        if found is None:
            ino = Ino(namespace.grant(1)[0])
            reply = apply(ops.Create(namespace.root, LOST, ino, stat.S_IFDIR | 0o700, 0, 0))
            if reply.failure is not None and not isinstance(reply.failure.error(), Exists):
                raise reply.failure.error()
            found = namespace.lookup(namespace.root, LOST)
            assert found is not None
        for op in batch.ops:
            if not isinstance(op, ops.Write | ops.Append) or not op.extents:
                continue
            name = b"%d-%d-%d" % (session.id, batch.number, op.ino)
            ino = Ino(namespace.grant(1)[0])
            end = op.end if isinstance(op, ops.Write) else op.length
            apply(
                ops.Create(found.ino, name, ino, stat.S_IFREG | 0o600, 0, 0),
                ops.Write(ino, op.extents, end),
                packs=batch.packs,
            )
    finally:
        namespace.detach()
