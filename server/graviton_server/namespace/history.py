"""The one way to change versioned rows: what a retained snapshot still sees goes to history first.

A row was born at ``born``; a snapshot is a version. Callers ask ``if txn.snapshot:`` first, so that a
volume without snapshots pays nothing but that. Must run before the change, in the same batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from graviton_server.namespace.schema import CONTENT_COLUMNS, INODE_COLUMNS

if TYPE_CHECKING:
    from graviton_server.namespace.txn import Txn

_INODE: Final = (
    f"INSERT INTO inodes_history ({INODE_COLUMNS}, died) SELECT {INODE_COLUMNS}, ? FROM inodes"
    " WHERE ino = ? AND born <= ?"
)
_INODE_CONTENT: Final = (
    "UPDATE contents SET refs = refs + 1 WHERE id = (SELECT content FROM inodes WHERE ino = ?)"
)
_INODE_BORN: Final = "UPDATE inodes SET born = ? WHERE ino = ?"
_NAME: Final = (
    "INSERT INTO names_history (parent, name, ino, born, died)"
    " SELECT parent, name, ino, born, ? FROM names WHERE parent = ? AND name = ? AND born <= ?"
)
_XATTR: Final = (
    "INSERT INTO xattrs_history (ino, name, born, value, died)"
    " SELECT ino, name, born, value, ? FROM xattrs WHERE ino = ? AND name = ? AND born <= ?"
)
_XATTRS: Final = (
    "INSERT INTO xattrs_history (ino, name, born, value, died)"
    " SELECT ino, name, born, value, ? FROM xattrs WHERE ino = ? AND born <= ?"
)
_CONTENT: Final = (
    f"INSERT INTO contents_history ({CONTENT_COLUMNS}, died) SELECT {CONTENT_COLUMNS}, ? FROM contents"
    " WHERE id = ? AND born <= ?"
)
_CONTENT_BASE: Final = (
    "UPDATE contents SET refs = refs + 1 WHERE id = (SELECT base FROM contents WHERE id = ?)"
)
_CONTENT_BORN: Final = "UPDATE contents SET born = ? WHERE id = ?"
_REGIONS: Final = (
    "INSERT INTO regions_history (content, region, seq, born, data, died)"
    " SELECT content, region, seq, born, data, ? FROM regions"
    " WHERE content = ? AND region BETWEEN ? AND ? AND born <= ?"
)
_ROWS: Final = (
    "INSERT INTO regions_history (content, region, seq, born, data, died)"
    " SELECT content, region, seq, born, data, ? FROM regions"
    " WHERE content = ? AND region = ? AND seq BETWEEN ? AND ? AND born <= ?"
)


def keep_inode(txn: Txn, ino: int) -> None:
    """A history row counts as one more user of the inode's content."""
    if txn.execute(_INODE, (txn.version, ino, txn.snapshot)).rowcount:
        txn.execute(_INODE_CONTENT, (ino,))
        txn.execute(_INODE_BORN, (txn.version, ino))


def keep_name(txn: Txn, parent: int, name: bytes) -> None:
    txn.execute(_NAME, (txn.version, parent, name, txn.snapshot))


def keep_xattr(txn: Txn, ino: int, name: bytes) -> None:
    txn.execute(_XATTR, (txn.version, ino, name, txn.snapshot))


def keep_xattrs(txn: Txn, ino: int) -> None:
    txn.execute(_XATTRS, (txn.version, ino, txn.snapshot))


def keep_content(txn: Txn, content: int) -> None:
    """Before a content's base changes; a history row counts as one more user of the base."""
    if txn.execute(_CONTENT, (txn.version, content, txn.snapshot)).rowcount:
        txn.execute(_CONTENT_BASE, (content,))
        txn.execute(_CONTENT_BORN, (txn.version, content))


def keep_regions(txn: Txn, content: int, first: int, last: int) -> None:
    txn.execute(_REGIONS, (txn.version, content, first, last, txn.snapshot))


def keep_rows(txn: Txn, content: int, region: int, first: int, last: int) -> None:
    """Single rows of a region, by ``seq``: those that stay must not come up twice."""
    txn.execute(_ROWS, (txn.version, content, region, first, last, txn.snapshot))
