"""What the namespace is going to answer a batch, where all that it depends on is known.

Exactly that, or nothing: what is unusual, or would fail, is left to the namespace. The rules are those of
``graviton_server.namespace``; a state machine compares the two.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import structs

from gravitonfs.content.known_names import UNKNOWN, KnownNames
from gravitonfs.core import acl
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NAME_MAX, NO_CONTENT, NO_INO, ContentId, Ino
from gravitonfs.core.snapshots import PAST
from gravitonfs.ports import ops
from gravitonfs.ports.ops import Attr, Batch, Op, Removed, Result

TakeContent = Callable[[], ContentId | None]
"""A granted content id, if there is one at hand."""
Claims = Callable[[Ino], bool]

_MODE_BITS: Final = 0o177777
_KINDS: Final = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
)
_TARGET_MAX: Final = 4095
_LINKS: Final = 60_000
"""More of one inode are left to the namespace, which has a limit."""
_XATTR_NAMES: Final = 32 << 10
_XATTR_VALUE: Final = 64 << 10
_ACLS: Final = (acl.ACCESS, acl.DEFAULT)


class Predicted(NamedTuple):
    """The batch as it is to be applied, so that its answer is this: with content ids and claims."""

    batch: Batch
    results: tuple[Result, ...]


Step: TypeAlias = tuple[Op, Result] | None


class _View:
    """What is known, as the ops before in the same batch have left it."""

    def __init__(self, known: KnownNames, now: int, take: TakeContent, claims: Claims) -> None:
        self.known = known
        self.now = now
        self.take = take
        self.claims = claims
        self._attrs: dict[Ino, Attr] = {}

    def attr(self, ino: Ino) -> Attr | None:
        if ino >= PAST:
            return None  # a change of it is refused
        return self._attrs.get(ino) or self.known.attr(ino)

    def put(self, op: Op, attr: Attr) -> Step:
        self._attrs[attr.ino] = attr
        return op, attr

    def directory(self, ino: Ino) -> Attr | None:
        """One that takes names."""
        attr = self.attr(ino)
        return attr if attr is not None and stat.S_ISDIR(attr.mode) and attr.nlink > 0 else None

    def found(self, parent: Ino, name: bytes) -> Attr | None:
        ino = self.known.ino(parent, name)
        return None if ino is UNKNOWN or ino == NO_INO else self.attr(ino)

    def absent(self, parent: Ino, name: bytes) -> bool:
        return self.known.ino(parent, name) == NO_INO

    def empty(self, ino: Ino) -> bool:
        node = self.known.node(ino)
        names = None if node is None else node.names
        return names is not None and names.complete and not names.found

    def is_draft(self, attr: Attr) -> bool | None:
        """Whether a write changes the content in place; None: not known."""
        if attr.content == NO_CONTENT:
            return False
        node = self.known.node(attr.ino)
        if node is None or attr.ino in self._attrs:
            return None
        if node.draft:
            return True
        return False if isinstance(node.digest, bytes) else None


def predict(known: KnownNames, batch: Batch, take: TakeContent, claims: Claims) -> Predicted | None:
    """Asks ``claims`` of what loses its last name."""
    view = _View(known, batch.time_ns, take, claims)
    done: list[Op] = []
    results: list[Result] = []
    for op in batch.ops:
        rule = _RULES.get(type(op))
        if rule is None or (len(batch.ops) > 1 and not isinstance(op, _TOGETHER)):
            return None
        step: Step = rule(view, op)
        if step is None:
            return None
        done.append(step[0])
        results.append(step[1])
    return Predicted(structs.replace(batch, ops=tuple(done)), tuple(results))


# --- names -------------------------------------------------------------------------------------------


def _is_name(name: bytes) -> bool:
    return 0 < len(name) <= NAME_MAX and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def _create(view: _View, op: ops.Create) -> Step:
    mode, gid, kind = op.mode & _MODE_BITS, op.gid, op.mode & 0o170000
    above = view.directory(op.parent)
    if above is None or kind not in _KINDS or not _is_name(op.name) or op.ino <= 0:
        return None
    if not view.absent(op.parent, op.name) or view.attr(op.ino) is not None:
        return None
    size = 0
    if kind == stat.S_IFLNK:
        size = len(op.target)
        if not 0 < size <= _TARGET_MAX or b"\0" in op.target:
            return None
    else:
        inherited = view.known.xattrs_at(op.parent)
        if inherited is None or acl.DEFAULT in inherited:
            return None
    directory = kind == stat.S_IFDIR
    if above.mode & stat.S_ISGID:
        gid = above.gid
        if directory:
            mode |= stat.S_ISGID
    rdev = op.rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
    now = view.now
    links = 2 if directory else 1
    attr = Attr(op.ino, mode, links, op.uid, gid, rdev, size, now, now, now, now, NO_CONTENT, 0)
    return view.put(op, attr)


def _link(view: _View, op: ops.Link) -> Step:
    attr = view.attr(op.ino)
    if attr is None or stat.S_ISDIR(attr.mode) or not 0 < attr.nlink < _LINKS or not _is_name(op.name):
        return None
    if view.directory(op.parent) is None or not view.absent(op.parent, op.name):
        return None
    return view.put(op, attr._replace(nlink=attr.nlink + 1, ctime_ns=view.now))


def _losing(view: _View, op: ops.Unlink | ops.Rename, attr: Attr) -> Step:
    """``attr`` has one name less; claimed if it is open."""
    if attr.nlink > 1:
        return op, Removed(attr.ino, attr.nlink - 1, False)
    kept = op.claim or view.claims(attr.ino)
    return structs.replace(op, claim=kept), Removed(attr.ino, 0, kept)


def _unlink(view: _View, op: ops.Unlink) -> Step:
    attr = view.found(op.parent, op.name)
    if attr is None or stat.S_ISDIR(attr.mode):
        return None
    return _losing(view, op, attr)


def _rmdir(view: _View, op: ops.Rmdir) -> Step:
    attr = view.found(op.parent, op.name)
    if attr is None or not stat.S_ISDIR(attr.mode) or not view.empty(attr.ino) or view.claims(attr.ino):
        return None
    return op, Removed(attr.ino, 0, False)


def _rename(view: _View, op: ops.Rename) -> Step:
    moved = view.found(op.parent, op.name)
    if moved is None or op.mode == ops.RenameMode.EXCHANGE or not _is_name(op.new_name):
        return None
    directory = stat.S_ISDIR(moved.mode)
    # That a directory does not move below itself is for the namespace to tell.
    if op.new_parent != op.parent and (directory or view.directory(op.new_parent) is None):
        return None
    if view.absent(op.new_parent, op.new_name):
        return op, Removed(NO_INO, 0, False)
    there = view.found(op.new_parent, op.new_name)
    if there is None or op.mode == ops.RenameMode.NOREPLACE:
        return None
    if there.ino == moved.ino:
        return op, Removed(NO_INO, 0, False)
    if stat.S_ISDIR(there.mode) != directory:
        return None
    if directory:
        if not view.empty(there.ino) or op.claim or view.claims(there.ino):
            return None
        return op, Removed(there.ino, 0, False)
    return _losing(view, op, there)


# --- attributes --------------------------------------------------------------------------------------


def _set_attr(view: _View, op: ops.SetAttr) -> Step:
    attr = view.attr(op.ino)
    if attr is None:
        return None
    if op.mode is not None:
        xattrs = view.known.xattrs_at(op.ino)
        if xattrs is None or acl.ACCESS in xattrs:
            return None
    return view.put(op, op.of(attr, view.now))


def _set_xattr(view: _View, op: ops.SetXattr) -> Step:
    attr, xattrs = view.attr(op.ino), view.known.xattrs_at(op.ino)
    if attr is None or xattrs is None or op.flags or op.name in _ACLS or len(op.value) > _XATTR_VALUE:
        return None
    if not 0 < len(op.name) <= NAME_MAX or b"\0" in op.name:
        return None
    if sum(len(name) + 1 for name in xattrs) > _XATTR_NAMES:
        return None
    return view.put(op, attr._replace(ctime_ns=view.now))


def _remove_xattr(view: _View, op: ops.RemoveXattr) -> Step:
    attr, xattrs = view.attr(op.ino), view.known.xattrs_at(op.ino)
    if attr is None or xattrs is None or op.name not in xattrs or op.name in _ACLS:
        return None
    return view.put(op, attr._replace(ctime_ns=view.now))


# --- bytes -------------------------------------------------------------------------------------------


def _file(view: _View, ino: Ino) -> Attr | None:
    attr = view.attr(ino)
    return attr if attr is not None and stat.S_ISREG(attr.mode) else None


def _write(view: _View, op: ops.Write) -> Step:
    attr = _file(view, op.ino)
    if attr is None:
        return None
    if not op.extents:
        return view.put(op, attr)
    draft = view.is_draft(attr)
    if draft is None or not _in_order(op.extents, op.end):
        return None
    content = attr.content
    if not draft:
        taken = op.content or view.take()
        if taken is None:
            return None
        content = taken
        op = structs.replace(op, content=content)
    mtime = ctime = view.now
    if op.mtime_ns is not None:
        mtime = op.mtime_ns or attr.mtime_ns
        ctime = max(attr.ctime_ns, op.mtime_ns)
    return view.put(
        op,
        attr._replace(
            size=max(attr.size, op.end),
            mtime_ns=mtime,
            ctime_ns=ctime,
            content=content,
            version=attr.version + 1,
        ),
    )


def _in_order(extents: Sequence[Extent], end: int) -> bool:
    at = 0
    for offset, length, _, block_offset, _ in extents:
        if offset < at or length <= 0 or block_offset < 0:
            return False
        at = offset + length
    return at <= end


def _truncate(view: _View, op: ops.Truncate) -> Step:
    attr = _file(view, op.ino)
    if attr is None or op.size not in (0, attr.size):
        return None
    if op.size != attr.size:
        attr = attr._replace(size=0, content=NO_CONTENT, version=attr.version + 1)
    if not op.keep_times:
        attr = attr._replace(mtime_ns=view.now, ctime_ns=view.now)
    return view.put(op, attr)


def _disclaim(view: _View, op: ops.Disclaim) -> Step:
    return op, None


_RULES: Final[dict[type, Callable[[_View, Any], Step]]] = {
    ops.Create: _create,
    ops.Link: _link,
    ops.Unlink: _unlink,
    ops.Rmdir: _rmdir,
    ops.Rename: _rename,
    ops.SetAttr: _set_attr,
    ops.SetXattr: _set_xattr,
    ops.RemoveXattr: _remove_xattr,
    ops.Write: _write,
    ops.Truncate: _truncate,
    ops.Disclaim: _disclaim,
}
_TOGETHER: Final = (ops.SetAttr, ops.Write)
"""May stand in one batch with others."""


def agrees(expected: tuple[Result, ...], told: tuple[Result, ...]) -> bool:
    """But for who else keeps what has lost its last name."""
    return [_plain(result) for result in expected] == [_plain(result) for result in told]


def _plain(result: Result) -> Result:
    return result._replace(kept=False) if isinstance(result, Removed) else result
