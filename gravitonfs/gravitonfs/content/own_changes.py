"""What a session's own batches make of what it knows: each op's effects, told by its answer.

Exactly as the namespace has it, or not known any more. What cannot be told makes all unknown.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gravitonfs.content.known_names import UNKNOWN, KnownNames
from gravitonfs.core import acl
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.ports import ops
from gravitonfs.ports.ops import ANY, Attr, Batch, Removed, Reply, Result


class Touches(NamedTuple):
    """What batches change, as far as it can be told before."""

    inos: set[Ino]
    names: set[tuple[Ino, bytes]]


def touches(known: KnownNames, batches: Iterable[Batch]) -> Touches:
    found = Touches(set(), set())
    for batch in batches:
        for op in batch.ops:
            _touches(known, found, op)
    return found


def _touches(known: KnownNames, found: Touches, op: Any) -> None:
    name: tuple[Ino, bytes]
    for name in _names(op):
        found.names.add(name)
        found.inos.add(name[0])
        ino = known.ino(*name)
        if ino is not UNKNOWN:
            found.inos.add(ino)
    ino = getattr(op, "ino", NO_INO)
    if ino:
        found.inos.add(ino)
    if isinstance(op, ops.Disclaim):
        found.inos.update(op.inos)


def _names(op: Any) -> list[tuple[Ino, bytes]]:
    if isinstance(op, ops.Rename):
        return [(op.parent, op.name), (op.new_parent, op.new_name)]
    if isinstance(op, (ops.Create, ops.Link, ops.Unlink, ops.Rmdir)):
        return [(op.parent, op.name)]
    return []


def follow(known: KnownNames, batch: Batch, reply: Reply) -> None:
    """The batch has been applied, or has failed: then nothing has changed."""
    if reply.failure is not None:
        return
    for op, result in zip(batch.ops, reply.results, strict=True):
        effect = _EFFECTS.get(type(op))
        if effect is None:
            known.clear()
        else:
            effect(known, op, result, batch.time_ns)


# --- names -------------------------------------------------------------------------------------------


def _create(known: KnownNames, op: ops.Create, attr: Result, now: int) -> None:
    assert isinstance(attr, Attr)
    node = known.set_attr(attr, None)
    directory = stat.S_ISDIR(attr.mode)
    if stat.S_ISLNK(attr.mode):
        node.target = op.target
        known.set_xattrs(attr.ino, {})
    if directory:
        known.names_of(attr.ino, complete=True)
    if not op.parent:
        return
    above = known.xattrs_at(op.parent)
    if above is not None and acl.DEFAULT not in above:
        known.set_xattrs(attr.ino, {})
    known.set_name(op.parent, op.name, attr.ino)
    _touch(known, op.parent, now, 1 if directory else 0)


def _link(known: KnownNames, op: ops.Link, attr: Result, now: int) -> None:
    assert isinstance(attr, Attr)
    known.set_attr(attr)
    known.set_name(op.parent, op.name, attr.ino)
    _touch(known, op.parent, now)


def _unlink(known: KnownNames, op: ops.Unlink, removed: Result, now: int) -> None:
    assert isinstance(removed, Removed)
    known.set_name(op.parent, op.name, NO_INO)
    _lose(known, removed, now)
    _touch(known, op.parent, now)


def _rmdir(known: KnownNames, op: ops.Rmdir, removed: Result, now: int) -> None:
    assert isinstance(removed, Removed)
    known.set_name(op.parent, op.name, NO_INO)
    known.drop_whole(removed.ino)
    _touch(known, op.parent, now, -1)


def _lose(known: KnownNames, removed: Removed, now: int) -> None:
    """An inode has one name less."""
    attr = known.attr(removed.ino)
    if removed.links and attr is not None:
        known.set_attr(attr._replace(nlink=removed.links, ctime_ns=now))
    else:
        known.drop_whole(removed.ino)


def _rename(known: KnownNames, op: ops.Rename, removed: Result, now: int) -> None:
    assert isinstance(removed, Removed)
    old, new = (op.parent, op.name), (op.new_parent, op.new_name)
    moved, there = known.ino(*old), known.ino(*new)
    if moved is UNKNOWN or there is UNKNOWN or (known_kind := _is_directory(known, moved)) is None:
        known.clear()  # an inode that we know by another name may have changed
    elif op.mode == ops.RenameMode.EXCHANGE:
        _exchange(known, op, moved, there, known_kind, now)
    elif there != moved:
        replaced = there if removed.ino else NO_INO
        gone = bool(replaced) and bool(_is_directory(known, replaced))
        known.set_name(*old, NO_INO)
        known.set_name(*new, moved)
        _changed(known, moved, now)
        if removed.ino and known_kind:
            known.drop_whole(removed.ino)
        elif removed.ino:
            _lose(known, removed, now)
        if op.parent == op.new_parent:
            _touch(known, op.parent, now, -1 if gone else 0)
        else:
            _touch(known, op.parent, now, -1 if known_kind else 0)
            _touch(known, op.new_parent, now, (1 if known_kind else 0) - (1 if gone else 0))


def _exchange(known: KnownNames, op: ops.Rename, moved: Ino, there: Ino, directory: bool, now: int) -> None:
    other = _is_directory(known, there)
    if there == moved:
        return
    known.set_name(op.parent, op.name, there)
    known.set_name(op.new_parent, op.new_name, moved)
    _changed(known, moved, now)
    _changed(known, there, now)
    if op.parent == op.new_parent:
        _touch(known, op.parent, now)
    elif other is None:
        known.drop(op.parent)
        known.drop(op.new_parent)
    else:
        links = int(other) - int(directory)
        _touch(known, op.parent, now, links)
        _touch(known, op.new_parent, now, -links)


def _is_directory(known: KnownNames, ino: Ino) -> bool | None:
    attr = known.attr(ino)
    return None if attr is None else stat.S_ISDIR(attr.mode)


def _changed(known: KnownNames, ino: Ino, now: int) -> None:
    attr = known.attr(ino)
    if attr is not None:
        known.set_attr(attr._replace(ctime_ns=now))


def _touch(known: KnownNames, directory: Ino, now: int, links: int = 0) -> None:
    attr = known.attr(directory)
    if attr is not None:
        known.set_attr(attr._replace(mtime_ns=now, ctime_ns=now, nlink=attr.nlink + links))


# --- attributes and bytes ----------------------------------------------------------------------------


def _set_attr(known: KnownNames, op: ops.SetAttr, attr: Result, _: int) -> None:
    assert isinstance(attr, Attr)
    known.set_attr(attr)
    if op.mode is not None and acl.ACCESS in (known.xattrs_at(op.ino) or ()):
        known.drop_xattrs(op.ino)  # its mask has changed


def _truncate(known: KnownNames, op: ops.Truncate, attr: Result, _: int) -> None:
    assert isinstance(attr, Attr)
    before = known.attr(op.ino)
    same = before is not None and (before.content, before.version) == (attr.content, attr.version)
    known.set_attr(attr, UNKNOWN if same or before is None else None)


def _write(known: KnownNames, op: ops.Write, attr: Result, _: int) -> None:
    """What was written and not sealed is a draft, which has no digest."""
    assert isinstance(attr, Attr)
    if op.extents:
        expected = op.expect in (ANY, attr.version - 1) and attr.size == op.end
        node = known.set_attr(attr, op.seal if expected else None)
        node.draft = node.digest is None
    else:
        node = known.set_attr(attr)
        sealed = op.seal is not None and op.expect in (ANY, attr.version) and attr.size == op.end
        if sealed and attr.content:
            node.draft = False
            if node.digest is None:
                node.digest = op.seal


def _append(known: KnownNames, op: ops.Append, attr: Result, _: int) -> None:
    assert isinstance(attr, Attr)
    known.set_attr(attr, None if op.length else UNKNOWN)


def _set_xattr(known: KnownNames, op: ops.SetXattr, attr: Result, _: int) -> None:
    assert isinstance(attr, Attr)
    known.set_attr(attr)
    _with_xattr(known, op.ino, op.name, op.value)


def _remove_xattr(known: KnownNames, op: ops.RemoveXattr, attr: Result, _: int) -> None:
    assert isinstance(attr, Attr)
    known.set_attr(attr)
    _with_xattr(known, op.ino, op.name, None)


def _with_xattr(known: KnownNames, ino: Ino, name: bytes, value: bytes | None) -> None:
    before = known.xattrs_at(ino)
    if name in (acl.ACCESS, acl.DEFAULT):
        known.drop_xattrs(ino)
    elif before is not None:
        after = {key: kept for key, kept in before.items() if key != name}
        known.set_xattrs(ino, after if value is None else after | {name: value})


def _disclaim(known: KnownNames, op: ops.Disclaim, _: Result, __: int) -> None:
    for ino in op.inos:
        known.drop_whole(ino)


def _nothing(known: KnownNames, op: object, _: Result, __: int) -> None:
    pass


_EFFECTS: Final[dict[type, Any]] = {
    ops.Create: _create,
    ops.Link: _link,
    ops.Unlink: _unlink,
    ops.Rmdir: _rmdir,
    ops.Rename: _rename,
    ops.SetAttr: _set_attr,
    ops.Truncate: _truncate,
    ops.Write: _write,
    ops.Append: _append,
    ops.SetXattr: _set_xattr,
    ops.RemoveXattr: _remove_xattr,
    ops.Disclaim: _disclaim,
    ops.SetRecord: _nothing,
    ops.AddBlobRef: _nothing,
    ops.DropBlobRef: _nothing,
    ops.Retain: _nothing,
}
"""Any other op makes all unknown."""
