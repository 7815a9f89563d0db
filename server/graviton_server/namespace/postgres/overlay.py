"""What rows look like after writes that still wait, so that an op which reads them costs no round trip.

Only for the rows that batches of several ops read again: inodes, drafts, the top of a region's rows. A write
that is not listed here makes its row unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from graviton_server.namespace import attributes, contents, data, names, regions, renaming, txn

Row = tuple[Any, ...]
Tag = tuple[str, Any]
Change = Callable[[Row | None, Any], Row | None]
"""(the row as it is known, the write's parameters) to the row after it; None: not known."""


def _created(_: Row | None, p: Any) -> Row:
    return (*p[:11], 0, 0, p[11], p[13])


def _resized(row: Row | None, p: Any) -> Row | None:
    size, mtime, ctime, content, version, _ = p
    return (
        None if row is None else (*row[:6], size, row[7], mtime, ctime, row[10], content, version, *row[13:])
    )


def _resized_same(row: Row | None, p: Any) -> Row | None:
    size, mtime, ctime, version, ino = p
    return None if row is None else _resized(row, (size, mtime, ctime, row[11], version, ino))


def _set(row: Row | None, p: Any) -> Row | None:
    mode, uid, gid, atime, mtime, ctime, _ = p
    return (
        None if row is None else (row[0], mode, row[2], uid, gid, *row[5:7], atime, mtime, ctime, *row[10:])
    )


def _linked(row: Row | None, p: Any) -> Row | None:
    links, ctime, _ = p
    return None if row is None else (*row[:2], links, *row[3:9], ctime, *row[10:])


def _touched(row: Row | None, p: Any) -> Row | None:
    mtime, ctime, _ = p
    return None if row is None else (*row[:8], mtime, ctime, *row[10:])


def _touched_links(row: Row | None, p: Any) -> Row | None:
    mtime, ctime, links, ino = p
    if row is None:
        return None
    return _touched((*row[:2], row[2] + links, *row[3:]), (mtime, ctime, ino))


def _renamed(row: Row | None, p: Any) -> Row | None:
    return None if row is None else (*row[:9], p[0], *row[10:])


def _content(_: Row | None, p: Any) -> Row:
    return (*p[:8], 1)


def _frozen(row: Row | None, p: Any) -> Row | None:
    kind, length, version, digest, _, _ = p
    return None if row is None else (row[0], kind, length, version, digest, *row[5:])


def _laid(row: Row | None, p: Any) -> Row | None:
    if row is None:
        return None
    return (p[2] if row[0] is None else max(row[0], p[2]),)


DIRECTORY: Final = txn._GET.replace("WHERE", "WHERE 0 = 0 AND")
"""A directory's row that is read without a lock, because its change is checked at the end. Touching it
changes nothing of what is looked at, so that many names can come into one directory in one call."""

AFTER: Final[dict[str, Change]] = {
    names._ADD_INODE: _created,
    names._LINKS: _linked,
    data._UPDATE: _resized,
    data._UPDATE_SAME: _resized_same,
    attributes._SET_ATTR: _set,
    renaming._CTIME: _renamed,
    txn._TOUCH: _touched,
    txn._TOUCH_LINKS: _touched_links,
    contents._INSERT: _content,
    contents._FREEZE: _frozen,
    regions._INSERT: _laid,
}
READS: Final[dict[str, Callable[[Any], Tag]]] = {
    txn._GET: lambda p: ("inodes", p[0]),
    DIRECTORY: lambda p: ("inodes", p[0]),
    contents._GET: lambda p: ("contents", p[0]),
    regions._TOP: lambda p: ("regions", (p[0], p[1])),
}
"""Which row a read asks for."""
