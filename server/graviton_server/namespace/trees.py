"""Ops on whole trees: Clone (set by set, whatever the number of files) and RemoveTree."""

from __future__ import annotations

import stat
from typing import Final

from graviton_server.namespace import contents, names, orphans, quotas, staging, trash
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.schema import INODE_COLUMNS
from graviton_server.namespace.txn import Inode, Txn, check_name
from gravitonfs.errors import Exists, Invalid, IsADirectory, NotADirectory
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Attr, Clone, Removed, RemoveTree

_COPY_INODE: Final = (
    f"INSERT INTO inodes ({INODE_COLUMNS})"
    " SELECT ?, mode, ?, ?, ?, rdev, size, ?, ?, ?, ?, content, version, flags, ?, volume, target"
    " FROM inodes WHERE ino = ?"
)
_COPY_XATTRS: Final = (
    "INSERT INTO xattrs (ino, name, born, value) SELECT ?, name, ?, value FROM xattrs WHERE ino = ?"
)
_NO_LINKS: Final = "UPDATE inodes SET nlink = 0, ctime = ? WHERE ino = ?"

_MAP: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS clone_map (n INTEGER PRIMARY KEY, old INTEGER NOT NULL UNIQUE,"
    " new INTEGER NOT NULL)"
)
_CLEAR: Final = "DELETE FROM clone_map"
_WALK: Final = (
    "INSERT INTO clone_map (old, new) WITH RECURSIVE tree (ino) AS (VALUES (?) UNION"
    " SELECT n.ino FROM tree JOIN names n ON n.parent = tree.ino) SELECT ino, 0 FROM tree"
)
_COUNT: Final = "SELECT count(*), coalesce(max(n), 0) FROM clone_map"
_NUMBER: Final = "UPDATE clone_map SET new = CASE WHEN old = ? THEN ? ELSE ? + n END"
_FREEZE: Final = (
    "UPDATE contents SET kind = 1, changed = ?, length = i.size, version = i.version FROM inodes i"
    " JOIN clone_map m ON m.old = i.ino WHERE contents.id = i.content AND contents.kind = 0"
)
_ADD_REFS: Final = (
    "UPDATE contents SET refs = refs + u.uses FROM (SELECT i.content AS id, count(*) AS uses FROM clone_map m"
    " JOIN inodes i ON i.ino = m.old WHERE i.content <> 0 GROUP BY i.content) u WHERE contents.id = u.id"
)
_INODES: Final = (
    f"INSERT INTO inodes ({INODE_COLUMNS})"
    " SELECT m.new, i.mode, CASE WHEN i.mode & 61440 = 16384 THEN i.nlink ELSE"
    " (SELECT count(*) FROM names n JOIN clone_map p ON p.old = n.parent WHERE n.ino = i.ino) END,"
    " CASE WHEN ? THEN i.uid ELSE ? END, CASE WHEN ? THEN i.gid ELSE ? END, i.rdev, i.size,"
    " CASE WHEN ? THEN i.atime ELSE ? END, CASE WHEN ? THEN i.mtime ELSE ? END, ?, ?,"
    " i.content, i.version, i.flags, ?, i.volume, i.target"
    " FROM clone_map m JOIN inodes i ON i.ino = m.old"
)
_NAMES: Final = (
    "INSERT INTO names (parent, name, ino, born) SELECT p.new, n.name, c.new, ? FROM clone_map p"
    " JOIN names n ON n.parent = p.old JOIN clone_map c ON c.old = n.ino"
)
_XATTRS: Final = (
    "INSERT INTO xattrs (ino, name, born, value) SELECT m.new, x.name, ?, x.value FROM clone_map m"
    " JOIN xattrs x ON x.ino = m.old"
)
_USAGE: Final = (
    "SELECT count(*), coalesce(sum(CASE WHEN i.mode & 61440 = 32768 THEN i.size ELSE 0 END), 0)"
    " FROM clone_map m JOIN inodes i ON i.ino = m.old"
)


def clone(txn: Txn, op: Clone) -> Attr:
    check_name(op.name)
    if not 0 < op.ino < txn.ino_limit:
        raise Invalid(f"inode number {op.ino} was not granted")
    above = txn.directory(op.parent)
    source = txn.get(op.source)
    there = names.find(txn, op.parent, op.name)
    if there is not None:
        if not op.replace:
            raise Exists(f"{op.name!r} exists already")
        return _replace(txn, op, source, there)
    if source.is_directory:
        if op.tree and names.is_below(txn, op.parent, op.source):
            raise Invalid("a directory cannot be copied into itself")
        if op.tree:
            _copy_tree(txn, op)
        else:
            _copy_inode(txn, op, source, 2)
    else:
        contents.share(txn, source)
        _copy_inode(txn, op, source, 1)
    names.add_name(txn, op.parent, op.name, op.ino)
    txn.touch_directory(above.ino, 1 if source.is_directory else 0)
    txn.tell_entry(op.parent, op.name, op.ino)
    return txn.get(op.ino).attr()


def _replace(txn: Txn, op: Clone, source: Inode, there: Inode) -> Attr:
    """The copy takes the name of a file, in one step."""
    if there.is_directory:
        raise IsADirectory(f"{op.name!r} is a directory")
    if source.is_directory:
        raise NotADirectory(f"{op.name!r} is no directory")
    if there.ino == source.ino:
        raise Invalid("a file cannot replace itself by its copy")
    if source.mode & 0o170000 == there.mode & 0o170000 == stat.S_IFREG:
        contents.share(txn, source)
        if txn.ledger is not None:
            txn.ledger.add(txn, op.parent, source.size - there.size, 0)
        staging.take_content(txn, there, source, source.mtime_ns if op.preserve else txn.now)
        txn.tell(Touched.ATTR | Touched.DATA, there.ino)
        return txn.get(there.ino).attr()
    contents.share(txn, source)
    _copy_inode(txn, op, source, 1)
    if txn.ledger is not None:
        txn.ledger.lost(txn, op.parent, there)
    names.point_name(txn, op.parent, op.name, op.ino)
    names.lose_name(txn, there, False, (op.parent, op.name))
    txn.touch_directory(op.parent)
    txn.tell_entry(op.parent, op.name, op.ino)
    return txn.get(op.ino).attr()


def _copy_inode(txn: Txn, op: Clone, source: Inode, links: int) -> None:
    uid, gid, atime, mtime = op.uid, op.gid, txn.now, txn.now
    if op.preserve:
        uid, gid, atime, mtime = source.uid, source.gid, source.atime_ns, source.mtime_ns
    txn.execute(
        _COPY_INODE,
        (op.ino, links, uid, gid, atime, mtime, txn.now, txn.now, txn.version, source.ino),
    )
    if source.flags:
        txn.execute(_COPY_XATTRS, (op.ino, txn.version, source.ino))
    txn.inodes += 1
    size = quotas.bytes_of(source)
    txn.bytes += size
    if txn.ledger is not None:
        txn.ledger.came(txn, op.parent, op.ino, size)


def _copy_tree(txn: Txn, op: Clone) -> None:
    execute, keep = txn.execute, op.preserve
    execute(_MAP)
    execute(_CLEAR)
    execute(_WALK, (op.source,))
    count, last = execute(_COUNT).fetchone()
    first = txn.grant(txn, last + 1)
    execute(_NUMBER, (op.source, op.ino, first))
    execute(_FREEZE, (txn.clock,))
    execute(_ADD_REFS)
    now = txn.now
    execute(
        _INODES,
        (keep, op.uid, keep, op.gid, keep, now, keep, now, now, now, txn.version),
    )
    execute(_NAMES, (txn.version,))
    execute(_XATTRS, (txn.version,))
    size = execute(_USAGE).fetchone()[1]
    execute(_CLEAR)
    txn.inodes += count
    txn.bytes += size
    if txn.ledger is not None:
        txn.ledger.came(txn, op.parent, op.ino, size, count)


def remove_tree(txn: Txn, op: RemoveTree) -> Removed:
    inode = names.must_find(txn, op.parent, op.name)
    if txn.ledger is not None:
        _uncharge(txn, txn.ledger, op, inode)
    names.delete_name(txn, op.parent, op.name)
    if not inode.is_directory:
        txn.touch_directory(op.parent)
        result = names.lose_name(txn, inode, False, (op.parent, op.name))
    else:
        txn.touch_directory(op.parent, -1)
        if not trash.keep(txn, inode, op.parent, op.name):
            if txn.snapshot:
                keep_inode(txn, inode.ino)
            txn.execute(_NO_LINKS, (txn.now, inode.ino))
            orphans.doom(txn, inode.ino)
        result = Removed(inode.ino, 0, False)
    txn.tell_entry(op.parent, op.name, inode.ino)
    txn.tell(Touched.ATTR, inode.ino)
    return result


def _uncharge(txn: Txn, ledger: quotas.Ledger, op: RemoveTree, inode: Inode) -> None:
    """What goes no longer counts for quotas above, though it is freed later."""
    if not inode.is_directory:
        ledger.lost(txn, op.parent, inode)
        return
    for parent, name, ino in ledger.removed(txn, op.parent, inode.ino):
        names.delete_name(txn, parent, name)
        names.lose_name(txn, txn.get(ino), False)
        txn.tell_entry(parent, name, ino)
        txn.tell(Touched.ATTR, ino)
    ledger.removed_tree(txn, op.parent, inode.ino)
