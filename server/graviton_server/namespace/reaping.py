"""Freeing what nothing names any more, a bounded number of rows at a time. Lock held."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace import names, orphans, trash
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.txn import Inode, Txn
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Stale
from gravitonfs.ports.namespace import Touched

NEXT_DOOMED: Final = (
    "SELECT d.ino, coalesce(i.volume, 0) FROM doomed d LEFT JOIN inodes i ON i.ino = d.ino LIMIT 1"
)
NEXT_UNUSED: Final = "SELECT id FROM contents WHERE refs = 0 LIMIT ?"
_CHILDREN: Final = "SELECT name, ino FROM names WHERE parent = ? ORDER BY name LIMIT ?"
_PARDON: Final = "DELETE FROM doomed WHERE ino = ?"
_NO_LINKS: Final = "UPDATE inodes SET nlink = 0 WHERE ino = ?"
_DELETE_ROWS: Final = (
    "DELETE FROM regions WHERE (content, region, seq) IN"
    " (SELECT content, region, seq FROM regions WHERE content = ? LIMIT ?)"
)
_DELETE_OLD_ROWS: Final = "DELETE FROM regions_history WHERE content = ?"
_OLD_BASES: Final = "SELECT base FROM contents_history WHERE id = ? AND base <> 0"
_DELETE_OLD: Final = "DELETE FROM contents_history WHERE id = ?"
_BASE: Final = "SELECT base FROM contents WHERE id = ?"
_DELETE: Final = "DELETE FROM contents WHERE id = ?"
_DROP_REF: Final = "UPDATE contents SET refs = refs - 1 WHERE id = ?"
_NOT_RAGGED: Final = "DELETE FROM ragged WHERE content = ?"


def empty_directory(txn: Txn, ino: Ino, limit: int) -> int:
    """Take up to ``limit`` names out of a doomed directory; free it when there are no more."""
    children = txn.execute(_CHILDREN, (ino, limit)).fetchall()
    for name, child in children:
        names.delete_name(txn, ino, name)
        try:
            inode = txn.get(child)
        except Stale:
            continue
        if inode.is_directory:
            if txn.snapshot:
                keep_inode(txn, child)
            txn.execute(_NO_LINKS, (child,))
            orphans.doom(txn, child)
        elif names.lose_name(txn, inode, False).kept:
            # Whoever has it open learns that its last name is gone.
            txn.tell(Touched.ATTR, child)
    count = len(children)
    if count < limit:
        count += trash.erase_below(txn, ino, limit - count)
    if count < limit:
        txn.execute(_PARDON, (ino,))
        _free_directory(txn, ino)
        return count + 1
    return count


def _free_directory(txn: Txn, ino: Ino) -> None:
    try:
        inode: Inode = txn.get(ino)
    except Stale:
        return
    if stat.S_ISDIR(inode.mode) and orphans.last_link_gone(txn, inode, False):
        txn.tell(Touched.ATTR, ino)


def free_content(txn: Txn, content: int, limit: int) -> int:
    """Delete up to ``limit`` rows of a content that nothing uses; the content itself with the last."""
    deleted = txn.execute(_DELETE_ROWS, (content, limit)).rowcount
    if deleted >= limit:
        return deleted
    for (base,) in txn.execute(_OLD_BASES, (content,)).fetchall():
        txn.execute(_DROP_REF, (base,))
    txn.execute(_DELETE_OLD, (content,))
    txn.execute(_DELETE_OLD_ROWS, (content,))
    row = txn.execute(_BASE, (content,)).fetchone()
    if row is not None and row[0]:
        txn.execute(_DROP_REF, (row[0],))
    txn.execute(_NOT_RAGGED, (content,))
    txn.execute(_DELETE, (content,))
    return deleted + 1
