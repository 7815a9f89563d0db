"""Inodes without names: kept while a session claims them, freed when none does. Ops: Disclaim, Retain."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace import contents
from graviton_server.namespace.history import keep_inode, keep_xattrs
from graviton_server.namespace.txn import Inode, Txn
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Stale
from gravitonfs.ports.ops import Disclaim, Retain

RETAINED: Final = -1
"""Stands for a session in claims that outlive every session (Retain)."""

_CLAIM: Final = "INSERT INTO claims (ino, session) VALUES (?, ?) ON CONFLICT DO NOTHING"
_DROP: Final = "DELETE FROM claims WHERE ino = ? AND session = ?"
_KEPT: Final = "SELECT 1 FROM claims WHERE ino = ? UNION ALL SELECT 1 FROM trash WHERE ino = ?"
_DELETE: Final = "DELETE FROM inodes WHERE ino = ?"
_DELETE_XATTRS: Final = "DELETE FROM xattrs WHERE ino = ?"
_NO_LINKS: Final = "UPDATE inodes SET nlink = 0, ctime = ? WHERE ino = ?"
_DOOM: Final = "INSERT INTO doomed (ino) VALUES (?) ON CONFLICT DO NOTHING"


def claim(txn: Txn, ino: Ino, session: int) -> None:
    txn.execute(_CLAIM, (ino, session))


def last_link_gone(txn: Txn, inode: Inode, mine: bool) -> bool:
    """An inode has lost its last name: keep it for those who have it open, or free it. Kept?"""
    sessions = txn.claimants(txn, inode.ino)
    if mine and txn.session not in sessions:
        sessions.append(txn.session)
    if not sessions:
        free(txn, inode)
        return False
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(_NO_LINKS, (txn.now, inode.ino))
    for session in sessions:
        claim(txn, inode.ino, session)
    return True


def free(txn: Txn, inode: Inode) -> None:
    """Remove an inode that nothing names; what is below a directory is left to ``reap``."""
    if txn.snapshot:
        keep_inode(txn, inode.ino)
        keep_xattrs(txn, inode.ino)
    txn.execute(_DELETE, (inode.ino,))
    if inode.flags:
        txn.execute(_DELETE_XATTRS, (inode.ino,))
    if inode.content:
        contents.release(txn, inode.content)
    txn.inodes -= 1
    if inode.mode & 0o170000 == stat.S_IFREG:
        txn.bytes -= inode.size


def doom(txn: Txn, ino: Ino) -> None:
    """A directory whose names are to be removed in the background."""
    txn.execute(_DOOM, (ino,))


def drop_claim(txn: Txn, ino: Ino, session: int) -> None:
    """End one session's claim; free the inode if it was the last one, there is no name, and it is not in the
    trash."""
    txn.execute(_DROP, (ino, session))
    if txn.execute(_KEPT, (ino, ino)).fetchone() is not None:
        return
    try:
        inode = txn.get(ino)
    except Stale:
        return
    if inode.nlink == 0:
        free(txn, inode)


def disclaim(txn: Txn, op: Disclaim) -> None:
    for ino in op.inos:
        drop_claim(txn, ino, txn.session)


def retain(txn: Txn, op: Retain) -> None:
    txn.get(op.ino)
    if op.keep:
        claim(txn, op.ino, RETAINED)
    else:
        drop_claim(txn, op.ino, RETAINED)
