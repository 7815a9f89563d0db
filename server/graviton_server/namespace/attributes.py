"""Ops on attributes: SetAttr, SetXattr, RemoveXattr; ACLs among them."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace.history import keep_inode, keep_xattr
from graviton_server.namespace.txn import ACL_ACCESS, ACL_DEFAULT, XATTRS, Inode, Txn
from gravitonfs.core import acl
from gravitonfs.core.ids import NAME_MAX, Ino
from gravitonfs.errors import (
    AccessDenied,
    Exists,
    Invalid,
    NoAttribute,
    NoSpace,
    OutOfRange,
    Unsupported,
)
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Attr, RemoveXattr, SetAttr, SetXattr

VALUE_MAX: Final = 64 * 1024
TOTAL_MAX: Final = 64 * 1024
"""Of all names of an inode: more could not be listed, listxattr(2) returns at most 64 KiB."""
CREATE: Final = 1
REPLACE: Final = 2

_SET_ATTR: Final = (
    "UPDATE inodes SET mode = ?, uid = ?, gid = ?, atime = ?, mtime = ?, ctime = ? WHERE ino = ?"
)
_SET_FLAGS: Final = "UPDATE inodes SET mode = ?, ctime = ?, flags = ? WHERE ino = ?"
_GET: Final = "SELECT value FROM xattrs WHERE ino = ? AND name = ?"
_PUT: Final = (
    "INSERT INTO xattrs (ino, name, born, value) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (ino, name) DO UPDATE SET born = excluded.born, value = excluded.value"
)
_DELETE: Final = "DELETE FROM xattrs WHERE ino = ? AND name = ?"
_OTHERS: Final = "SELECT coalesce(sum(length(name) + 1), 0) FROM xattrs WHERE ino = ? AND name NOT IN (?, ?)"


def set_attr(txn: Txn, op: SetAttr) -> Attr:
    inode = txn.get(op.ino)
    new = op.of(inode.attr(), txn.now)
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    if op.mode is not None and inode.flags & ACL_ACCESS:
        access = acl.parse(_value(txn, inode.ino, acl.ACCESS))
        _put(txn, inode.ino, acl.ACCESS, acl.serialize(acl.with_mode(access, new.mode)))
    txn.execute(_SET_ATTR, (new.mode, new.uid, new.gid, new.atime_ns, new.mtime_ns, new.ctime_ns, inode.ino))
    txn.tell(Touched.ATTR, inode.ino)
    return new


def _value(txn: Txn, ino: Ino, name: bytes) -> bytes:
    row = txn.execute(_GET, (ino, name)).fetchone()
    if row is None:
        raise NoAttribute(f"inode {ino} has no attribute {name!r}")
    value: bytes = row[0]
    return value


def _put(txn: Txn, ino: Ino, name: bytes, value: bytes) -> None:
    if txn.snapshot:
        keep_xattr(txn, ino, name)
    txn.execute(_PUT, (ino, name, txn.version, value))


def _remove(txn: Txn, ino: Ino, name: bytes) -> bool:
    if txn.snapshot:
        keep_xattr(txn, ino, name)
    return txn.execute(_DELETE, (ino, name)).rowcount > 0


def _finish(txn: Txn, inode: Inode, mode: int, flags: int) -> Attr:
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(_SET_FLAGS, (mode, txn.now, flags, inode.ino))
    txn.tell(Touched.ATTR, inode.ino)
    return inode._replace(mode=mode, ctime_ns=txn.now).attr()


def set_xattr(txn: Txn, op: SetXattr) -> Attr:
    inode = txn.get(op.ino)
    if not 0 < len(op.name) <= NAME_MAX or b"\0" in op.name:
        raise OutOfRange(f"an attribute's name has 1 to {NAME_MAX} bytes")
    if len(op.value) > VALUE_MAX:
        raise NoSpace(f"an attribute's value has at most {VALUE_MAX} bytes")
    if op.flags not in (0, CREATE, REPLACE):
        raise Invalid(f"flags {op.flags} of setxattr are unknown")
    if op.flags:
        there = txn.execute(_GET, (inode.ino, op.name)).fetchone() is not None
        if op.flags == CREATE and there:
            raise Exists(f"attribute {op.name!r} exists already")
        if op.flags == REPLACE and not there:
            raise NoAttribute(f"there is no attribute {op.name!r}")
    if op.name == acl.ACCESS:
        return _set_access(txn, inode, op.value)
    if op.name == acl.DEFAULT:
        return _set_default(txn, inode, op.value)
    names = txn.execute(_OTHERS, (inode.ino, op.name, acl.ACCESS)).fetchone()[0] if inode.flags else 0
    if names + len(op.name) + 1 > TOTAL_MAX:
        raise NoSpace("the names of an inode's attributes would have more than 64 KiB")
    _put(txn, inode.ino, op.name, op.value)
    return _finish(txn, inode, inode.mode, inode.flags | XATTRS)


def _check_takes_acl(inode: Inode) -> None:
    if inode.mode & 0o170000 == stat.S_IFLNK:
        raise Unsupported("a symlink has no ACL")


def _set_access(txn: Txn, inode: Inode, value: bytes) -> Attr:
    """An ACL that says no more than a mode is kept as the mode alone, as local file systems do."""
    _check_takes_acl(inode)
    access = acl.parse(value)
    if not access:
        _remove(txn, inode.ino, acl.ACCESS)
        return _finish(txn, inode, inode.mode, inode.flags & ~ACL_ACCESS)
    mode = inode.mode & ~0o777 | acl.mode_bits(access)
    if acl.is_minimal(access):
        _remove(txn, inode.ino, acl.ACCESS)
        return _finish(txn, inode, mode, inode.flags & ~ACL_ACCESS)
    _put(txn, inode.ino, acl.ACCESS, acl.serialize(access))
    return _finish(txn, inode, mode, inode.flags | ACL_ACCESS)


def _set_default(txn: Txn, inode: Inode, value: bytes) -> Attr:
    _check_takes_acl(inode)
    default = acl.parse(value)
    if not default:
        _remove(txn, inode.ino, acl.DEFAULT)
        return _finish(txn, inode, inode.mode, inode.flags & ~ACL_DEFAULT)
    if not inode.is_directory:
        raise AccessDenied("only a directory has a default ACL")
    _put(txn, inode.ino, acl.DEFAULT, acl.serialize(default))
    return _finish(txn, inode, inode.mode, inode.flags | ACL_DEFAULT)


def remove_xattr(txn: Txn, op: RemoveXattr) -> Attr:
    inode = txn.get(op.ino)
    if not _remove(txn, inode.ino, op.name):
        raise NoAttribute(f"there is no attribute {op.name!r}")
    flags = inode.flags
    if op.name == acl.ACCESS:
        flags &= ~ACL_ACCESS
    elif op.name == acl.DEFAULT:
        flags &= ~ACL_DEFAULT
    return _finish(txn, inode, inode.mode, flags)
