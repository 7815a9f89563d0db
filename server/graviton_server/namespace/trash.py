"""The trash: what has lost its last name stays where it was, without one, until it is brought back or erased.

An inode in the trash has no links, and a row that says when it went, and from under which parent and name.
A directory goes there as an inode too, so that the path of what was in it is known. What is in the trash is
counted in the volume's usage, and is as much a root of collection as any inode.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from graviton_server.namespace import orphans
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.txn import Inode, Txn
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.upkeep import TrashUsage

ROW: Final = "t.ino, t.parent, t.name, t.removed, i.mode"
_FROM: Final = "FROM trash t JOIN inodes i ON i.ino = t.ino"

_ADD: Final = "INSERT INTO trash (ino, volume, parent, name, removed) VALUES (?, ?, ?, ?, ?)"
DROP: Final = "DELETE FROM trash WHERE ino = ?"
ANY_BELOW: Final = "SELECT 1 FROM trash WHERE parent = ? LIMIT 1"
OLDEST: Final = "SELECT ino, volume FROM trash WHERE removed < ? AND volume = ? ORDER BY removed, ino LIMIT ?"
BELOW: Final = "SELECT ino, volume FROM trash WHERE parent = ? LIMIT ?"


class TrashRow(NamedTuple):
    ino: Ino
    parent: Ino
    name: bytes
    removed_ns: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return self.mode & 0o170000 == 0o040000


def keep(txn: Txn, inode: Inode, parent: Ino, name: bytes) -> bool:
    """Instead of freeing what has lost its last name. False: it is to be freed.

    So is what lived for a moment: journals of databases, files that editors and compilers make and remove.
    Whoever made it just now can make it again.
    """
    if txn.trash is None:
        return False
    if 0 <= txn.now - inode.btime_ns < txn.trash and not (inode.is_directory and _has_below(txn, inode.ino)):
        return False
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(orphans._NO_LINKS, (txn.now, inode.ino))
    txn.execute(_ADD, (inode.ino, txn.volume, parent, name, txn.clock))
    return True


def _has_below(txn: Txn, ino: Ino) -> bool:
    """Its path is needed."""
    return txn.execute(ANY_BELOW, (ino,)).fetchone() is not None


def erase(txn: Txn, ino: Ino) -> bool:
    """For good; what is in a directory is erased in the background. Who has it open keeps it. Kept?"""
    inode = txn.get(ino)
    if inode.is_directory:
        orphans.doom(txn, ino)
        return False
    kept = orphans.last_link_gone(txn, inode, False)
    txn.tell(Touched.ATTR, ino)
    return kept


def erase_below(txn: Txn, parent: Ino, limit: int) -> int:
    """What was removed in a directory that is erased, up to so many. How many there were."""
    rows = txn.execute(BELOW, (parent, limit)).fetchall()
    for ino, _ in rows:
        txn.execute(DROP, (ino,))
        erase(txn, Ino(ino))
    return len(rows)


def expire(txn: Txn, before_ns: int, limit: int) -> int:
    """Erase what the volume lost before then, the oldest first, up to so many. How many there were."""
    rows = txn.execute(OLDEST, (before_ns, txn.volume, limit)).fetchall()
    for ino, _ in rows:
        txn.execute(DROP, (ino,))
        erase(txn, Ino(ino))
    return len(rows)


_USAGE: Final = (
    "WITH RECURSIVE kept (ino) AS (SELECT ino FROM trash UNION"
    " SELECT n.ino FROM kept JOIN names n ON n.parent = kept.ino)"
    " SELECT count(*), CAST(coalesce(sum(CASE WHEN (i.mode & 61440) = 32768 THEN i.size ELSE 0 END), 0)"
    " AS BIGINT) FROM kept JOIN inodes i ON i.ino = kept.ino"
)


def usage(execute: Execute) -> TrashUsage:
    """Of all volumes, with what is below directories that went as a whole."""
    return TrashUsage(*execute(_USAGE).fetchone())
