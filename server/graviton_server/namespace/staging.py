"""Op: Publish. A staged inode's content becomes visible under a name, whole."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace import contents, names, orphans
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.inheritance import inherit
from graviton_server.namespace.txn import ACL_ACCESS, ACL_DEFAULT, Inode, Txn, check_name
from gravitonfs.core.ids import NO_CONTENT
from gravitonfs.errors import Conflict, Invalid, IsADirectory
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Attr, Publish

_TAKE: Final = "UPDATE inodes SET size = ?, mtime = ?, ctime = ?, content = ?, version = ? WHERE ino = ?"
_NO_CONTENT: Final = "UPDATE inodes SET content = 0, size = 0 WHERE ino = ?"
_NAME: Final = "UPDATE inodes SET nlink = 1, mode = ?, gid = ?, flags = ?, ctime = ? WHERE ino = ?"
_UNCLAIM: Final = "DELETE FROM claims WHERE ino = ?"
_EMPTY: Final = (0, 0)


def publish(txn: Txn, op: Publish) -> Attr:
    check_name(op.name)
    staged = txn.file(op.staged)
    if staged.nlink:
        raise Invalid(f"inode {op.staged} has a name already")
    there = names.find(txn, op.parent, op.name)
    _check_expected(op, there)
    if there is None:
        return _give_name(txn, op, staged, None)
    if there.is_directory:
        raise IsADirectory(f"{op.name!r} is a directory")
    if there.mode & 0o170000 != stat.S_IFREG:
        return _give_name(txn, op, staged, there)
    return _give_content(txn, op, staged, there)


def _check_expected(op: Publish, there: Inode | None) -> None:
    if op.absent and there is not None:
        raise Conflict(f"{op.name!r} exists already")
    if op.expect is None:
        return
    if there is None:
        raise Conflict(f"{op.name!r} does not exist any more")
    empty = not there.content and op.expect == _EMPTY
    if not empty and (there.content, there.version) != op.expect:
        raise Conflict(f"{op.name!r} has changed since it was read")


def _give_name(txn: Txn, op: Publish, staged: Inode, there: Inode | None) -> Attr:
    """The staged inode itself takes the name (from a symlink or a device, where one stands there)."""
    above = txn.directory(op.parent)
    mode, flags = staged.mode, staged.flags
    gid = above.gid if above.mode & stat.S_ISGID else staged.gid
    if above.flags & ACL_DEFAULT and not flags & ACL_ACCESS:
        mode, inherited = inherit(txn, op.parent, staged.ino, mode)
        flags |= inherited
    if txn.ledger is not None:
        txn.ledger.came(txn, op.parent, staged.ino, staged.size)
    if there is None:
        names.add_name(txn, op.parent, op.name, staged.ino)
    else:
        if txn.ledger is not None:
            txn.ledger.lost(txn, op.parent, there)
        names.point_name(txn, op.parent, op.name, staged.ino)
        names.lose_name(txn, there, False, (op.parent, op.name))
    txn.touch_directory(op.parent)
    if txn.snapshot:
        keep_inode(txn, staged.ino)
    txn.execute(_NAME, (mode, gid, flags, txn.now, staged.ino))
    txn.execute(_UNCLAIM, (staged.ino,))
    txn.tell_entry(op.parent, op.name, staged.ino)
    return staged._replace(mode=mode, gid=gid, nlink=1, ctime_ns=txn.now).attr()


def _give_content(txn: Txn, op: Publish, staged: Inode, there: Inode) -> Attr:
    """The file that stands there gets the bytes and keeps all else; the staged inode goes."""
    if txn.ledger is not None:
        txn.ledger.add(txn, op.parent, staged.size - there.size, 0)
    take_content(txn, there, staged, staged.mtime_ns)
    if txn.snapshot:
        keep_inode(txn, staged.ino)
    txn.execute(_NO_CONTENT, (staged.ino,))
    txn.execute(_UNCLAIM, (staged.ino,))
    txn.bytes -= staged.size
    orphans.free(txn, staged._replace(content=NO_CONTENT, size=0))
    txn.tell(Touched.ATTR | Touched.DATA, there.ino)
    return there._replace(
        size=staged.size, mtime_ns=staged.mtime_ns, ctime_ns=txn.now, content=staged.content,
        version=staged.version,
    ).attr()  # fmt: skip


def take_content(txn: Txn, target: Inode, source: Inode, mtime: int) -> None:
    """Point an inode at another's content; the caller has settled who holds the reference."""
    if txn.snapshot:
        keep_inode(txn, target.ino)
    txn.execute(_TAKE, (source.size, mtime, txn.now, source.content, source.version, target.ino))
    contents.release(txn, target.content)
    txn.bytes += source.size - target.size
