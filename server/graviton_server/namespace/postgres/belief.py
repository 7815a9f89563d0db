"""What a session that is alone believes of the database, so that creations need not ask first.

Nobody else has changed anything since its last transaction, most likely; so a call that only makes files
sends everything in one round trip: a check that all it believes is so, what it writes, and the commit. Where
the check fails, or a name is there already, nothing has happened, and the call is made again on fresh reads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from graviton_server.namespace import txn
from graviton_server.namespace.postgres.exchange import Params, Row
from graviton_server.namespace.postgres.wire import Ints
from graviton_server.namespace.txn import ACL_DEFAULT

DIRECTORIES: Final = 1024
_COLUMNS: Final = txn.ROW.split(", ")
_INO, _MODE, _GID, _FLAGS = (_COLUMNS.index(name) for name in ("ino", "mode", "gid", "flags"))


class Head(NamedTuple):
    """A session as the database has it at the beginning of a transaction."""

    last: int
    logical_bytes: int
    inodes: int
    version: int
    clock: int
    incarnation: str
    flushed: int
    snapshot: int
    counted: bool
    foreign: list[int]


def check(incarnation: str, clock: str, flushed: str) -> str:
    """Fails with a division by zero; else a change number, the time, and how far the log is on disk."""
    return (
        f"SELECT 1 / count(*), nextval('versions'), {clock}, {flushed} FROM sessions s WHERE s.id = %s"
        " AND s.process <> 0"
        " AND (SELECT number FROM answers WHERE session = s.id ORDER BY number DESC LIMIT 1) = %s"
        f" AND {incarnation} = %s"
        " AND (SELECT coalesce(max(p.version), 0) FROM snapshots p WHERE p.volume = s.volume) = %s"
        " AND NOT EXISTS (SELECT 1 FROM quotas q WHERE q.volume = s.volume)"
        " AND NOT EXISTS (SELECT 1 FROM sessions o WHERE o.volume = s.volume AND o.process <> %s)"
        " AND (SELECT count(*) FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
        " AS d (ino, mode, gid, flags) JOIN inodes i ON i.ino = d.ino AND i.mode = d.mode AND i.gid = d.gid"
        " AND i.flags = d.flags AND i.volume = s.volume AND i.nlink > 0) = %s"
    )


@dataclass(slots=True)
class Belief:
    """Guarded by the session's lock. ``head``: as the last transaction has left it; None: ask."""

    head: Head | None = None
    _at: float = 0.0
    _directories: dict[int, Row] = field(default_factory=dict)

    def forget(self) -> None:
        self.head = None
        self._directories.clear()

    def found(self, directory: Row) -> None:
        """A directory's row was read."""
        if len(self._directories) >= DIRECTORIES:
            self._directories.clear()
        if directory[_FLAGS] & ACL_DEFAULT:
            self._directories.pop(directory[_INO], None)
        else:
            self._directories[directory[_INO]] = directory

    def left(self, head: Head) -> None:
        """A transaction has been committed, and this is so after it."""
        self.head = head
        self._at = time.monotonic()

    def now(self) -> Head | None:
        """With the clock as it should be by now."""
        head = self.head
        if head is None:
            return None
        return head._replace(clock=head.clock + int((time.monotonic() - self._at) * 1e9))

    def rows(self, directories: set[int]) -> list[Row] | None:
        """None where one of them is not known, or hands down attributes."""
        known = self._directories
        return [known[ino] for ino in directories] if directories <= known.keys() else None


def parameters(session: int, process: int, head: Head, rows: list[Row]) -> Params:
    columns = (Ints(row[at] for row in rows) for at in (_INO, _MODE, _GID, _FLAGS))
    return (session, head.last, head.incarnation, head.snapshot, process, *columns, len(rows))
