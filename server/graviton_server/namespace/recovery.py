"""What a record of the redo log says, and how what a dead process has left there is applied again.

Guarded by the store's lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from graviton_server.namespace.engine import DatabaseError, Execute, translate
from graviton_server.namespace.group import AppliedBatch, Called
from graviton_server.namespace.redo import EPOCH_SIZE, read_records, redo_path
from graviton_server.namespace.sessions import SAVE_SESSION, Session, SessionRow
from graviton_server.namespace.tape import Tape
from gravitonfs.errors import Damaged, GravitonError
from gravitonfs.ports.ops import Batch

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_GET_EPOCH: Final = "SELECT epoch FROM redo"
_DROP_EPOCH: Final = "DELETE FROM redo"
_ADD_EPOCH: Final = "INSERT INTO redo (epoch) VALUES (?)"
_SESSION_VOLUME: Final = "SELECT volume FROM sessions WHERE id = ?"
_NEXT_CONTENT: Final = "SELECT value FROM meta WHERE key = 'next_content'"


class _Entry(NamedTuple):
    """As ``AppliedBatch``."""

    session: int
    batch: Batch
    version: int
    content: int
    clock: int
    decisions: list[Any] | None


class _Record(NamedTuple):
    entries: list[_Entry]
    sessions: list[SessionRow]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Record).decode


def encode(applied: Sequence[AppliedBatch | Called], sessions: Sequence[SessionRow]) -> bytes:
    """The record of these batches. Calls cannot be told: a group with one needs a commit."""
    entries = [
        (
            entry.session.id,
            entry.batch,
            entry.version,
            entry.content,
            entry.clock,
            None if entry.tape is None else entry.tape.decisions,
        )
        for entry in applied
        if isinstance(entry, AppliedBatch)
    ]
    return _encode((entries, sessions))


def epoch(execute: Execute) -> bytes:
    """Of the records that the database lacks; empty where there has been none."""
    row = execute(_GET_EPOCH).fetchone()
    return b"" if row is None else row[0]


def renew(execute: Execute) -> bytes:
    """In the open transaction: void every record there is."""
    fresh = os.urandom(EPOCH_SIZE)
    execute(_DROP_EPOCH)
    execute(_ADD_EPOCH, (fresh,))
    return fresh


def recover(store: NamespaceStore) -> int:
    """Apply what the log has and the database lacks; durable when this returns. How many batches.

    Nobody has attached yet. Raises, and changes nothing, when it cannot be done: what was acknowledged
    must not be passed over.
    """
    known = epoch(store.execute)
    payloads = list(read_records(redo_path(store.path), known)) if known else []
    if not payloads:
        return 0
    count = 0
    sessions: dict[int, Session] = {}
    store.engine.begin()
    try:
        for payload in payloads:
            record = _parse(payload)
            for entry in record.entries:
                if entry.session not in sessions:
                    sessions[entry.session] = _former(store, entry.session)
                _apply(store, sessions[entry.session], entry)
                count += 1
            for row in record.sessions:
                store.execute(SAVE_SESSION, row)
        store.roster.save(store.applier.version)
        renew(store.execute)
        store.engine.commit()
    except (DatabaseError, GravitonError) as error:
        store.engine.rollback()
        raise translate(error) if isinstance(error, DatabaseError) else error from error
    store.roster.committed()
    store.numbers.recovered()
    txn = store.applier.txn
    txn.content = max(txn.content, store.execute(_NEXT_CONTENT).fetchone()[0])
    return count


def _parse(payload: bytes) -> _Record:
    try:
        return _decode(payload)
    except msgspec.DecodeError as error:
        raise Damaged(f"a record of the redo log cannot be read: {error}") from error


def _former(store: NamespaceStore, number: int) -> Session:
    """A session of the process that died, as far as its batches need one."""
    row = store.execute(_SESSION_VOLUME, (number,)).fetchone()
    if row is None:
        raise Damaged(f"the redo log has a batch of session {number}, which the database does not know")
    return Session(number, store.roster.volume(row[0]), "", False, None, None)


def _apply(store: NamespaceStore, session: Session, entry: _Entry) -> None:
    tape = None if entry.decisions is None else Tape(entry.decisions)
    store.applier.version = max(store.applier.version, entry.version)
    store.applier.replay(AppliedBatch(session, entry.batch, entry.version, entry.content, entry.clock, tape))
