"""Ops that remove or move, where what they name is in the trash: it is erased, or brought back."""

from __future__ import annotations

from typing import Final

from graviton_server.namespace import names, orphans, renaming, trash, trees
from graviton_server.namespace import trash_places as places
from graviton_server.namespace.history import keep_inode
from graviton_server.namespace.trash import TrashRow
from graviton_server.namespace.trash_places import Found, How
from graviton_server.namespace.txn import Inode, Txn, check_name
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.core.trash import DIRECTORY_INO, is_trash, trash_parted
from gravitonfs.errors import (
    Exists,
    Invalid,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    ReadOnly,
)
from gravitonfs.ports.namespace import Touched
from gravitonfs.ports.ops import Removed, RemoveTree, Rename, RenameMode, Rmdir, Unlink

_PAUSE_NS: Final = 60 * 10**9
"""Removals with less than this between one and the next are taken for one: of a tree, file by file."""
_LOCKED: Final = 200

_TREE: Final = (
    "WITH RECURSIVE tree (ino) AS (VALUES (?) UNION"
    " SELECT t.ino FROM tree JOIN trash t ON t.parent = tree.ino)"
    f" SELECT {trash.ROW}, EXISTS (SELECT 1 FROM names n WHERE n.parent = t.parent AND n.name = t.name)"
    " FROM tree JOIN trash t ON t.ino = tree.ino JOIN inodes i ON i.ino = t.ino"
)
LOCK: Final = f"SELECT ino FROM trash WHERE ino IN ({', '.join('?' * _LOCKED)}) ORDER BY ino"
_SUBDIRECTORIES: Final = (
    "SELECT count(*) FROM names n JOIN inodes i ON i.ino = n.ino"
    " WHERE n.parent = ? AND (i.mode & 61440) = 16384"
)
_NAME_BACK: Final = (
    "INSERT INTO names (parent, name, ino, born) SELECT parent, name, ino, CAST(? AS BIGINT) FROM trash"
    " WHERE ino = ?"
)
_ROOT: Final = "SELECT root FROM volumes WHERE id = ?"


# --- what front ends call ------------------------------------------------------------------------


def unlink(txn: Txn, op: Unlink) -> Removed:
    if not is_trash(op.parent):
        return names.unlink(txn, op)
    found = _must_find(txn, op.parent, op.name)
    inode = txn.get(found.ino)
    if inode.is_directory:
        raise IsADirectory(f"{op.name!r} is a directory")
    if found.how is How.BELOW:
        _leave(txn, found, inode)
        return _told(txn, op.parent, op.name, names.lose_name(txn, inode, op.claim))
    return _told(txn, op.parent, op.name, Removed(found.ino, 0, _erase(txn, found.ino)))


def rmdir(txn: Txn, op: Rmdir) -> Removed:
    if not is_trash(op.parent):
        return names.rmdir(txn, op)
    found = _must_find(txn, op.parent, op.name)
    inode = txn.get(found.ino)
    if not inode.is_directory:
        raise NotADirectory(f"{op.name!r} is no directory")
    if found.how is How.WAY:
        day, _ = trash_parted(op.parent)
        if places.listing(txn.execute, txn.volume, day, found.ino):
            raise NotEmpty(f"{op.name!r} is not empty")
        return Removed(NO_INO, 0, False)  # it is shown no longer
    names.must_be_empty(txn, inode.ino, op.name)
    if txn.execute(trash.ANY_BELOW, (inode.ino,)).fetchone() is not None:
        raise NotEmpty(f"{op.name!r} is not empty")
    return _told(txn, op.parent, op.name, _remove_whole(txn, found, inode))


def remove_tree(txn: Txn, op: RemoveTree) -> Removed:
    if not is_trash(op.parent):
        return trees.remove_tree(txn, op)
    found = _must_find(txn, op.parent, op.name)
    if found.how is How.WAY:
        raise ReadOnly(f"the directory {op.name!r} is in use: name what was removed from it")
    return _told(txn, op.parent, op.name, _remove_whole(txn, found, txn.get(found.ino)))


def rename(txn: Txn, op: Rename) -> Removed:
    if is_trash(op.new_parent):
        raise ReadOnly("nothing is moved into the trash: what is removed goes there by itself")
    if not is_trash(op.parent):
        return renaming.rename(txn, op)
    check_name(op.new_name)
    found = _must_find(txn, op.parent, op.name)
    if found.how is How.WAY:
        raise ReadOnly(f"the directory {op.name!r} was not removed: name what was removed from it")
    if op.mode == RenameMode.EXCHANGE:
        raise Invalid("nothing is moved into the trash: what is removed goes there by itself")
    _must_live(txn, op.new_parent)
    if names.find(txn, op.new_parent, op.new_name) is not None:
        raise Exists(f"{op.new_name!r} exists: move it away, or bring back under another name")
    inode = txn.get(found.ino)
    if found.how is How.BELOW:
        _leave(txn, found, inode)
    else:
        _come_back(txn, found, inode)
    if txn.ledger is not None:
        txn.ledger.returned(txn, op.new_parent, inode)
    names.add_name(txn, op.new_parent, op.new_name, inode.ino)
    txn.touch_directory(op.new_parent, 1 if inode.is_directory else 0)
    txn.tell_entry(op.new_parent, op.new_name, inode.ino)
    return _told(txn, op.parent, op.name, Removed(NO_INO, 0, False), inode.ino)


# --- finding -------------------------------------------------------------------------------------


def _must_find(txn: Txn, parent: Ino, name: bytes) -> Found:
    if parent == DIRECTORY_INO:
        raise ReadOnly(
            "a day of the trash cannot be changed as a whole: 'graviton gc --empty-trash' erases all"
        )
    check_name(name)
    day, directory = trash_parted(parent)
    found = places.find(txn.execute, day, directory, name)
    if found is None:
        raise NotFound(f"there is no {name!r} in the trash")
    return found


def _must_live(txn: Txn, directory: Ino) -> None:
    """Not below something that was removed."""
    txn.directory(directory)
    (root,) = txn.execute(_ROOT, (txn.volume,)).fetchone()
    if not names.is_below(txn, directory, Ino(root)):
        raise NotFound(f"directory {directory} has been removed")


def _told(txn: Txn, parent: Ino, name: bytes, result: Removed, ino: Ino = NO_INO) -> Removed:
    txn.tell_entry(parent, name, ino or result.ino)
    txn.tell(Touched.ATTR, ino or result.ino)
    return result


# --- erasing -------------------------------------------------------------------------------------


def _erase(txn: Txn, ino: Ino) -> bool:
    if not txn.execute(trash.DROP, (ino,)).rowcount:
        raise NotFound(f"inode {ino} is not in the trash any more")
    return trash.erase(txn, ino)


def _remove_whole(txn: Txn, found: Found, inode: Inode) -> Removed:
    if found.how is How.REMOVED:
        return Removed(inode.ino, 0, _erase(txn, inode.ino))
    _leave(txn, found, inode)
    if not inode.is_directory:
        return names.lose_name(txn, inode, False)
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    txn.execute(orphans._NO_LINKS, (txn.now, inode.ino))
    orphans.doom(txn, inode.ino)
    return Removed(inode.ino, 0, False)


def _leave(txn: Txn, found: Found, inode: Inode) -> None:
    """The name in a directory that went as a whole."""
    if txn.ledger is not None:
        if inode.is_directory:
            txn.ledger.removed_tree(txn, found.parent, inode.ino)
        else:
            txn.ledger.lost(txn, found.parent, inode)
    names.delete_name(txn, found.parent, found.name)
    if txn.get(found.parent).nlink:
        txn.touch_directory(found.parent, -1 if inode.is_directory else 0)


# --- bringing back -------------------------------------------------------------------------------


def _come_back(txn: Txn, found: Found, inode: Inode) -> None:
    """Without its name; with a directory comes what was removed from it together with it."""
    row = places.row_of(txn.execute, found.ino)
    if row is None or not txn.execute(trash.DROP, (found.ino,)).rowcount:
        raise NotFound(f"{found.name!r} is not in the trash any more")
    if txn.ledger is not None:
        txn.ledger.returning()
    below = _together(txn, row) if inode.is_directory else {}
    _link(txn, row, below)
    levels = list(below.get(row.ino, ()))
    while levels:
        one = levels.pop()
        if txn.ledger is not None:
            txn.ledger.returned(txn, one.parent, txn.get(one.ino))
        txn.execute(_NAME_BACK, (txn.version, one.ino))
        txn.execute(trash.DROP, (one.ino,))
        _link(txn, one, below)
        txn.tell_entry(one.parent, one.name, one.ino)
        levels += below.get(one.ino, ())


def _link(txn: Txn, row: TrashRow, below: dict[Ino, list[TrashRow]]) -> None:
    links = 1
    if row.is_directory:
        links = 2 + txn.execute(_SUBDIRECTORIES, (row.ino,)).fetchone()[0]
        links += sum(one.is_directory for one in below.get(row.ino, ()))
    if txn.snapshot:
        keep_inode(txn, row.ino)
    txn.execute(names._LINKS, (links, txn.now, row.ino))
    txn.tell(Touched.ATTR, row.ino)


def _together(txn: Txn, top: TrashRow) -> dict[Ino, list[TrashRow]]:
    """By directory; of several with one name the last one. Those that nobody else takes meanwhile."""
    rows = [(TrashRow._make(row[:-1]), row[-1]) for row in txn.execute(_TREE, (top.ino,)).fetchall()]
    rows.sort(key=lambda found: (-found[0].removed_ns, -found[0].ino))
    last = top.removed_ns
    chosen: dict[tuple[Ino, bytes], TrashRow] = {}
    for row, taken in rows:
        if last - row.removed_ns > _PAUSE_NS:
            break
        last = row.removed_ns
        if not taken:
            chosen.setdefault((row.parent, row.name), row)
    locked = _lock(txn, [row.ino for row in chosen.values()])
    below: dict[Ino, list[TrashRow]] = {}
    for row in chosen.values():
        if row.ino in locked:
            below.setdefault(row.parent, []).append(row)
    return below


def _lock(txn: Txn, inos: list[Ino]) -> set[int]:
    locked: set[int] = set()
    inos = sorted(inos)
    for start in range(0, len(inos), _LOCKED):
        some = inos[start : start + _LOCKED]
        padded = (*some, *[NO_INO] * (_LOCKED - len(some)))
        locked.update(row[0] for row in txn.execute(LOCK, padded).fetchall())
    return locked
