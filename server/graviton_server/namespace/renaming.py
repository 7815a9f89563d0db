"""Op: Rename, with its two flags."""

from __future__ import annotations

from typing import Final

from graviton_server.namespace import names
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.txn import Inode, Txn, check_name
from gravitonfs.core.ids import NO_INO
from gravitonfs.errors import Exists, Invalid, IsADirectory, NotADirectory, NotFound
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Removed, Rename, RenameMode

_CTIME: Final = "UPDATE inodes SET ctime = ? WHERE ino = ?"


def rename(txn: Txn, op: Rename) -> Removed:
    check_name(op.new_name)
    inode = names.must_find(txn, op.parent, op.name)
    if op.new_parent != op.parent:
        txn.directory(op.new_parent)
        if inode.is_directory and names.is_below(txn, op.new_parent, inode.ino):
            raise Invalid(f"{_shown(op.name)} cannot move below itself")
    there = names.find(txn, op.new_parent, op.new_name)
    if op.mode == RenameMode.EXCHANGE:
        return _exchange(txn, op, inode, there)
    if there is not None:
        if op.mode == RenameMode.NOREPLACE:
            raise Exists(f"{op.new_name!r} exists already")
        if there.ino == inode.ino:
            return Removed(NO_INO, 0, False)
        _may_replace(txn, op, inode, there)
    return _move(txn, op, inode, there)


def _may_replace(txn: Txn, op: Rename, inode: Inode, there: Inode) -> None:
    if there.is_directory:
        if not inode.is_directory:
            raise IsADirectory(f"{op.new_name!r} is a directory")
        names.must_be_empty(txn, there.ino, op.new_name)
    elif inode.is_directory:
        raise NotADirectory(f"{op.new_name!r} is no directory")


def _move(txn: Txn, op: Rename, inode: Inode, there: Inode | None) -> Removed:
    if txn.ledger is not None:
        if op.parent != op.new_parent:
            txn.ledger.moved(txn, inode, op.parent, op.new_parent)
        if there is not None:
            txn.ledger.lost(txn, op.new_parent, there)
    names.delete_name(txn, op.parent, op.name)
    moved = 1 if inode.is_directory else 0
    replaced = 1 if there is not None and there.is_directory else 0
    if there is None:
        names.add_name(txn, op.new_parent, op.new_name, inode.ino)
    else:
        names.point_name(txn, op.new_parent, op.new_name, inode.ino)
    if op.parent == op.new_parent:
        txn.touch_directory(op.parent, -replaced)
    else:
        txn.touch_directory(op.parent, -moved)
        txn.touch_directory(op.new_parent, moved - replaced)
    _changed(txn, inode)
    result = Removed(NO_INO, 0, False)
    if there is not None:
        place = (op.new_parent, op.new_name)
        if there.is_directory:
            result = Removed(there.ino, 0, names.lose_directory(txn, there, op.claim, place))
        else:
            result = names.lose_name(txn, there, op.claim, place)
    if txn.changes is not None:
        txn.tell_entry(op.parent, op.name, inode.ino)
        txn.tell_entry(op.new_parent, op.new_name, inode.ino)
        txn.tell(Touched.ATTR, inode.ino)
        if there is not None:
            txn.tell(Touched.ATTR, there.ino)
    return result


def _changed(txn: Txn, inode: Inode) -> None:
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(_CTIME, (txn.now, inode.ino))


def _exchange(txn: Txn, op: Rename, inode: Inode, there: Inode | None) -> Removed:
    if there is None:
        raise NotFound(f"there is no {op.new_name!r} to exchange with")
    if there.ino == inode.ino:
        return Removed(NO_INO, 0, False)
    links = 0
    if op.parent != op.new_parent:
        if there.is_directory and names.is_below(txn, op.parent, there.ino):
            raise Invalid(f"{_shown(op.new_name)} cannot move below itself")
        links = (1 if there.is_directory else 0) - (1 if inode.is_directory else 0)
        if txn.ledger is not None:
            txn.ledger.moved(txn, inode, op.parent, op.new_parent)
            txn.ledger.moved(txn, there, op.new_parent, op.parent)
    names.point_name(txn, op.parent, op.name, there.ino)
    names.point_name(txn, op.new_parent, op.new_name, inode.ino)
    txn.touch_directory(op.parent, links)
    if op.parent != op.new_parent:
        txn.touch_directory(op.new_parent, -links)
    _changed(txn, inode)
    _changed(txn, there)
    if txn.changes is not None:
        txn.tell_entry(op.parent, op.name, there.ino)
        txn.tell_entry(op.new_parent, op.new_name, inode.ino)
        txn.tell(Touched.ATTR, inode.ino)
        txn.tell(Touched.ATTR, there.ino)
    return Removed(NO_INO, 0, False)


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))
