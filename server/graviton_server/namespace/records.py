"""Op: SetRecord. Small records of front ends, by volume, space and key."""

from __future__ import annotations

from typing import Final

from graviton_server.namespace.engine import Execute
from graviton_server.namespace.txn import Txn
from gravitonfs.errors import Conflict
from gravitonfs.ports.ops import SetRecord

_GET: Final = "SELECT value FROM records WHERE volume = ? AND space = ? AND key = ?"
_PUT: Final = (
    "INSERT INTO records (volume, space, key, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (volume, space, key) DO UPDATE SET value = excluded.value"
)
_DELETE: Final = "DELETE FROM records WHERE volume = ? AND space = ? AND key = ?"
_FROM: Final = "SELECT key, value FROM records WHERE volume = ? AND space = ? AND key >= ? ORDER BY key"
_BETWEEN: Final = (
    "SELECT key, value FROM records WHERE volume = ? AND space = ? AND key >= ? AND key < ? ORDER BY key"
)


def set_record(txn: Txn, op: SetRecord) -> None:
    key = (txn.volume, op.space, op.key)
    if op.expect is not None:
        row = txn.execute(_GET, key).fetchone()
        if (row[0] if row else b"") != op.expect:
            raise Conflict(f"the record {op.key!r} of {op.space} has changed since it was read")
    if op.value is None:
        txn.execute(_DELETE, key)
    else:
        txn.execute(_PUT, (*key, op.value))


def read(execute: Execute, volume: int, space: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
    """The records whose keys start with ``prefix``, by key."""
    end = prefix.rstrip(b"\xff")
    if not end:
        rows = execute(_FROM, (volume, space, prefix)).fetchall()
    else:
        rows = execute(_BETWEEN, (volume, space, prefix, end[:-1] + bytes([end[-1] + 1]))).fetchall()
    return [(key, value) for key, value in rows]
