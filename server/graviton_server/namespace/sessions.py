"""Sessions as the store keeps them: numbering, recorded answers, claims, listeners.

Guarded by the store's lock. Recorded answers are written to the session's row in one go with each
commit, so that an answer is durable exactly when its batch is.
"""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from graviton_server.namespace.engine import Execute
from graviton_server.namespace.quotas import Ledger, Quota, RememberedChains
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced
from gravitonfs.ports.namespace import Claims, Listener, Recall
from gravitonfs.ports.ops import Attr, Failure, Removed, Reply, Result

LEASED: Final = 1
JOURNALS: Final = 4
"""Bits in the column ``leased``: a session of another process; one that keeps a journal. With 2 it may have
its volume to itself."""
KEEP: Final = 8
"""Answers kept although their batches are durable: a client may ask again before it has heard so."""
KEEP_AT_MOST: Final = 1024

_ADD: Final = (
    "INSERT INTO sessions (id, volume, label, incarnation, last, version, replies, leased, secret, process)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
SAVE_SESSION: Final = "UPDATE sessions SET last = ?, version = ?, replies = ? WHERE id = ?"
_GET: Final = "SELECT volume, last, replies, leased, secret FROM sessions WHERE id = ?"
_LEFT: Final = f"SELECT id, volume, label, last, leased & {JOURNALS} FROM sessions WHERE leased <> 0"
_HOLDS: Final = "UPDATE sessions SET leased = leased | 2 WHERE id = ?"
_HOLDS_NOT: Final = "UPDATE sessions SET leased = leased & ~2 WHERE id = ?"
_HOLDERS: Final = "SELECT id, volume, process FROM sessions WHERE leased & 2"
_TAKEN_UP: Final = "UPDATE sessions SET process = ? WHERE id = ?"
_DELETE: Final = "DELETE FROM sessions WHERE id = ?"
_encode = msgspec.msgpack.Encoder().encode
_ATTRIBUTES: Final = len(Attr._fields)


class SessionRow(NamedTuple):
    """What changes in a session's row, in the order of ``SAVE_SESSION``."""

    last: int
    version: int
    replies: bytes
    id: int


Recorded = tuple[int, tuple[Result, ...], Failure | None]


@dataclass(eq=False, slots=True)
class Volume:
    """A volume's counters in memory; written to its row with each commit."""

    id: int
    name: str
    root: Ino
    logical_bytes: int
    inodes: int
    snapshot: int = 0
    dirty: bool = False
    quotas: dict[int, Quota] = field(default_factory=dict)
    """By directory."""
    chains: RememberedChains = field(default_factory=RememberedChains)

    def add(self, logical_bytes: int, inodes: int) -> None:
        self.logical_bytes += logical_bytes
        self.inodes += inodes
        self.dirty = True
        if self.quotas and (whole := self.quotas.get(self.root)) is not None:
            whole.charge(logical_bytes, inodes)

    def ledger(self, *, enforce: bool) -> Ledger:
        return Ledger(self.root, self.quotas, self.chains, enforce=enforce)


@dataclass(eq=False, slots=True)
class Session:
    id: int
    volume: Volume
    label: str
    read_only: bool
    claims: Claims | None
    listener: Listener | None
    leased: bytes | None = None
    """The secret of a session of another process, which lives on when this process ends."""
    recall: Recall | None = None
    """It wants the volume's lease."""
    background: bool = False
    """Upkeep, which changes nothing that users see: no lease has to end for it."""
    process: str = ""
    """Whose it is (``core.processes``), where that is known."""
    journals: bool = False
    """Its process keeps a journal of what is not stored yet, and may be away for long."""
    alive: bool = True
    last: int = 0
    durable: int = 0
    previous: int = 0
    dirty: bool = False
    recorded: deque[Recorded] = field(default_factory=deque)
    others: tuple[Listener, ...] = ()
    """Who is told of what this session changes."""

    def repeat(self, number: int) -> Recorded:
        """The recorded answer of a batch that was applied before."""
        for found in reversed(self.recorded):
            if found[0] == number:
                return found
        raise Fenced(
            f"the answer of batch {number} is no longer kept: the session has moved on to {self.last}"
        )

    def forget_after(self, number: int) -> None:
        self.last = number
        while self.recorded and self.recorded[-1][0] > number:
            self.recorded.pop()

    def reply(self, found: Recorded) -> Reply:
        return Reply(found[0], found[1], found[2], self.durable)

    def row(self, version: int) -> SessionRow:
        """As ``SAVE_SESSION`` takes it; answers that nobody can ask for any more are let go."""
        recorded = self.recorded
        while recorded and len(recorded) > KEEP and recorded[0][0] <= self.previous:
            recorded.popleft()
        while len(recorded) > KEEP_AT_MOST:
            recorded.popleft()
        return SessionRow(self.last, version, _encode(list(recorded)), self.id)

    def save(self, execute: Execute, version: int) -> None:
        execute(SAVE_SESSION, self.row(version))

    def logged(self) -> None:
        """Everything answered is durable, though not in the database yet."""
        self.previous, self.durable = self.durable, self.last

    def committed(self) -> None:
        self.logged()
        self.dirty = False


def add(execute: Execute, session: Session, incarnation: int, version: int) -> None:
    what = (session.id, session.volume.id, session.label, incarnation, 0, version, _encode([]))
    execute(_ADD, (*what, _mark(session), session.leased, session.process))


def taken_up(execute: Execute, session: int, process: str) -> None:
    """By another process than the one that it had."""
    execute(_TAKEN_UP, (process, session))


def _mark(session: Session) -> int:
    """For the column ``leased``."""
    return 0 if session.leased is None else LEASED | (JOURNALS if session.journals else 0)


class Left(NamedTuple):
    """A leased session as its row tells it."""

    id: int
    volume: int
    label: str
    last: int
    journals: bool


def leased(execute: Execute) -> list[Left]:
    rows = execute(_LEFT).fetchall()
    return [Left(number, volume, label, last, bool(marked)) for number, volume, label, last, marked in rows]


def mark_holder(execute: Execute, session: int, holds: bool) -> None:
    execute(_HOLDS if holds else _HOLDS_NOT, (session,))


def holders(execute: Execute) -> list[tuple[int, int, str]]:
    """Sessions, with their volumes and processes, that had these to themselves when they were last heard
    of."""
    return list(execute(_HOLDERS).fetchall())


def delete(execute: Execute, session: int) -> None:
    execute(_DELETE, (session,))


def resume(execute: Execute, session: Session) -> bool:
    """Take up where an earlier attachment of the session left off; False where there is none."""
    row = execute(_GET, (session.id,)).fetchone()
    if row is None or row[0] != session.volume.id or bool(row[3]) != (session.leased is not None):
        return False
    if session.leased is not None and not hmac.compare_digest(session.leased, row[4]):
        return False
    session.last = session.durable = row[1]
    session.recorded.extend(recorded(fields) for fields in msgspec.msgpack.decode(row[2]))
    return True


def recorded(fields: list[Any]) -> Recorded:
    number, results, failure = fields
    return number, tuple(map(_result, results)), None if failure is None else Failure(*failure)


def _result(fields: list[Any] | None) -> Result:
    if fields is None:
        return None
    return Attr(*fields) if len(fields) == _ATTRIBUTES else Removed(*fields)
