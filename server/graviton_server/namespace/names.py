"""Ops on names: Create, Link, Unlink, Rmdir."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace import orphans, trash
from graviton_server.namespace.engine import DuplicateKey
from graviton_server.namespace.history import keep_inode, keep_name
from graviton_server.namespace.inheritance import inherit
from graviton_server.namespace.txn import ACL_DEFAULT, ROW, Inode, Txn, check_name
from gravitonfs.core.ids import NO_CONTENT, Ino
from gravitonfs.core.snapshots import DIRECTORY
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.errors import (
    Exists,
    Invalid,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    ReadOnly,
    TooManyLinks,
)
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Attr, Create, Link, Removed, Rmdir, Unlink

LINK_MAX: Final = 65_000
TARGET_MAX: Final = 4095
_OURS: Final = {DIRECTORY: "snapshots are read", TRASH: "removed files are kept"}
_STAYS: Final = {
    DIRECTORY: "snapshots cannot be changed here: 'graviton snapshot delete' lets one go",
    TRASH: "the trash stays where it is: 'graviton gc --empty-trash' empties it",
}
_KINDS: Final = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
)
_MODE_BITS: Final = 0o177777

_ADD_NAME: Final = "INSERT INTO names (parent, name, ino, born) VALUES (?, ?, ?, ?)"
_DELETE_NAME: Final = "DELETE FROM names WHERE parent = ? AND name = ?"
_POINT_NAME: Final = "UPDATE names SET ino = ?, born = ? WHERE parent = ? AND name = ?"
_ADD_INODE: Final = (
    "INSERT INTO inodes (ino, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, btime, content,"
    " version, flags, born, volume, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?)"
)
_NAMED: Final = (
    "SELECT " + ", ".join(f"i.{column.strip()}" for column in ROW.split(",")) + " FROM names n"
    " JOIN inodes i ON i.ino = n.ino WHERE n.parent = ? AND n.name = ?"
)
_ROOT: Final = "SELECT 1 FROM volumes WHERE root = ?"
_ANY_NAME: Final = "SELECT 1 FROM names WHERE parent = ? LIMIT 1"
_LINKS: Final = "UPDATE inodes SET nlink = ?, ctime = ? WHERE ino = ?"
_IS_BELOW: Final = (
    "WITH RECURSIVE up (ino) AS (VALUES (?) UNION SELECT n.parent FROM up JOIN names n ON n.ino = up.ino)"
    " SELECT 1 FROM up WHERE ino = ?"
)


def create(txn: Txn, op: Create) -> Attr:
    mode, gid, ino, now = op.mode & _MODE_BITS, op.gid, op.ino, txn.now
    kind = mode & 0o170000
    if kind not in _KINDS:
        raise Invalid(f"mode {op.mode:o} has no file type")
    if not 0 < ino < txn.ino_limit:
        raise Invalid(f"inode number {ino} was not granted")
    target = _target(op, kind)
    flags = 0
    is_directory = kind == stat.S_IFDIR
    parent = op.parent
    if parent:
        name = op.name
        check_name(name)
        above = txn.directory(parent)
        if above.mode & stat.S_ISGID:
            gid = above.gid
            if is_directory:
                mode |= stat.S_ISGID
        add_name(txn, parent, name, ino)
        if above.flags & ACL_DEFAULT and kind != stat.S_IFLNK:
            mode, flags = inherit(txn, parent, ino, mode)
        txn.touch_directory(parent, 1 if is_directory else 0)
        if txn.changes is not None:
            txn.tell_entry(parent, name, ino)
        links = 2 if is_directory else 1
        if txn.ledger is not None:
            txn.ledger.came(txn, parent, ino)
    else:
        orphans.claim(txn, ino, txn.session)
        links = 0
    size = len(op.target) if target is not None else 0
    rdev = op.rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
    try:
        txn.execute(
            _ADD_INODE,
            (ino, mode, links, op.uid, gid, rdev, size, now, now, now, now, flags, txn.version, txn.volume,
             target),
        )  # fmt: skip
    except DuplicateKey:
        raise Invalid(f"inode number {ino} is in use") from None
    txn.inodes += 1
    return Attr(ino, mode, links, op.uid, gid, rdev, size, now, now, now, now, NO_CONTENT, 0)


def _target(op: Create, kind: int) -> bytes | None:
    if kind != stat.S_IFLNK:
        return None
    if not op.target or b"\0" in op.target:
        raise Invalid("a symlink needs a target without NUL")
    if len(op.target) > TARGET_MAX:
        raise NameTooLong(f"a symlink's target has at most {TARGET_MAX} bytes")
    return op.target


def add_name(txn: Txn, parent: Ino, name: bytes, ino: Ino) -> None:
    if name in _OURS and _is_root(txn, parent):
        raise Exists(f"{name.decode()} is where {_OURS[name]}: choose another name")
    try:
        txn.execute(_ADD_NAME, (parent, name, ino, txn.version))
    except DuplicateKey:
        raise Exists(f"{name!r} exists already") from None


def delete_name(txn: Txn, parent: Ino, name: bytes) -> None:
    if txn.snapshot:
        keep_name(txn, parent, name)
    txn.execute(_DELETE_NAME, (parent, name))


def point_name(txn: Txn, parent: Ino, name: bytes, ino: Ino) -> None:
    """Let an existing name stand for another inode."""
    if txn.snapshot:
        keep_name(txn, parent, name)
    txn.execute(_POINT_NAME, (ino, txn.version, parent, name))


def find(txn: Txn, parent: Ino, name: bytes) -> Inode | None:
    row = txn.execute(_NAMED, (parent, name)).fetchone()
    if row is None or row[14] != txn.volume:
        txn.directory(parent)
        if name in _OURS and _is_root(txn, parent):
            raise ReadOnly(_STAYS[name])
        return None
    return Inode._make(row)


def _is_root(txn: Txn, ino: Ino) -> bool:
    return txn.execute(_ROOT, (ino,)).fetchone() is not None


def must_find(txn: Txn, parent: Ino, name: bytes) -> Inode:
    inode = find(txn, parent, name)
    if inode is None:
        check_name(name)
        raise NotFound(f"there is no {name!r}")
    return inode


def link(txn: Txn, op: Link) -> Attr:
    check_name(op.name)
    txn.directory(op.parent)
    inode = txn.get(op.ino)
    if inode.is_directory:
        raise NotPermitted("a directory cannot have a second name")
    if inode.nlink >= LINK_MAX:
        raise TooManyLinks(f"a file has at most {LINK_MAX} names")
    if inode.nlink == 0:
        raise NotFound(f"inode {op.ino} has no name any more")
    if txn.ledger is not None:
        txn.ledger.linked(txn, op.ino, op.parent)
    add_name(txn, op.parent, op.name, op.ino)
    txn.touch_directory(op.parent)
    _set_links(txn, inode, inode.nlink + 1)
    if txn.changes is not None:
        txn.tell_entry(op.parent, op.name, op.ino)
        txn.tell(Touched.ATTR, op.ino)
    return inode._replace(nlink=inode.nlink + 1, ctime_ns=txn.now).attr()


def _set_links(txn: Txn, inode: Inode, links: int) -> None:
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(_LINKS, (links, txn.now, inode.ino))


def lose_name(txn: Txn, inode: Inode, claim: bool, place: tuple[Ino, bytes] | None = None) -> Removed:
    """An inode that is no directory has lost one name. ``place``: where, if it may go to the trash."""
    links = inode.nlink - 1
    if links > 0:
        _set_links(txn, inode, links)
        return Removed(inode.ino, links, False)
    if place is not None and trash.keep(txn, inode, *place):
        return Removed(inode.ino, 0, claim)
    return Removed(inode.ino, 0, orphans.last_link_gone(txn, inode, claim))


def unlink(txn: Txn, op: Unlink) -> Removed:
    inode = must_find(txn, op.parent, op.name)
    if inode.is_directory:
        raise IsADirectory(f"{op.name!r} is a directory")
    if txn.ledger is not None:
        txn.ledger.lost(txn, op.parent, inode)
    delete_name(txn, op.parent, op.name)
    txn.touch_directory(op.parent)
    result = lose_name(txn, inode, op.claim, (op.parent, op.name))
    if txn.changes is not None:
        txn.tell_entry(op.parent, op.name, inode.ino)
        txn.tell(Touched.ATTR, inode.ino)
    return result


def rmdir(txn: Txn, op: Rmdir) -> Removed:
    inode = must_find(txn, op.parent, op.name)
    if not inode.is_directory:
        raise NotADirectory(f"{op.name!r} is no directory")
    must_be_empty(txn, inode.ino, op.name)
    if txn.ledger is not None:
        txn.ledger.lost(txn, op.parent, inode)
    delete_name(txn, op.parent, op.name)
    txn.touch_directory(op.parent, -1)
    kept = lose_directory(txn, inode, False, (op.parent, op.name))
    if txn.changes is not None:
        txn.tell_entry(op.parent, op.name, inode.ino)
        txn.tell(Touched.ATTR, inode.ino)
    return Removed(inode.ino, 0, kept)


def lose_directory(txn: Txn, inode: Inode, claim: bool, place: tuple[Ino, bytes]) -> bool:
    """An empty one has lost its name. Is it kept for a session?"""
    if trash.keep(txn, inode, *place):
        return claim
    return orphans.last_link_gone(txn, inode, claim)


def must_be_empty(txn: Txn, ino: Ino, name: bytes) -> None:
    if txn.execute(_ANY_NAME, (ino,)).fetchone() is not None:
        raise NotEmpty(f"{name!r} is not empty")


def is_below(txn: Txn, ino: Ino, top: Ino) -> bool:
    """Is ``ino`` the directory ``top`` or inside it?"""
    return txn.execute(_IS_BELOW, (ino, top)).fetchone() is not None
