"""What a new inode takes from its directory's default ACL."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace.txn import ACL_ACCESS, ACL_DEFAULT, Txn
from gravitonfs.core import acl
from gravitonfs.core.ids import Ino

_GET: Final = "SELECT value FROM xattrs WHERE ino = ? AND name = ?"
_ADD: Final = "INSERT INTO xattrs (ino, name, born, value) VALUES (?, ?, ?, ?)"


def inherit(txn: Txn, parent: Ino, ino: Ino, mode: int) -> tuple[int, int]:
    """Give ``ino`` the ACLs that ``parent`` hands down; returns its mode and inode flags."""
    row = txn.execute(_GET, (parent, acl.DEFAULT)).fetchone()
    if row is None:
        return mode, 0
    default = acl.parse(row[0])
    flags = 0
    access, bits = acl.inherited(default, mode)
    if not acl.is_minimal(access):
        txn.execute(_ADD, (ino, acl.ACCESS, txn.version, acl.serialize(access)))
        flags |= ACL_ACCESS
    if mode & 0o170000 == stat.S_IFDIR:
        txn.execute(_ADD, (ino, acl.DEFAULT, txn.version, row[0]))
        flags |= ACL_DEFAULT
    return mode & ~0o777 | bits, flags
