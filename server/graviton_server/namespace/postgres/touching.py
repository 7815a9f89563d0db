"""Which rows a statement of the shared code touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from graviton_server.namespace import (
    attributes,
    contents,
    data,
    names,
    orphans,
    regions,
    renaming,
    trash,
    txn,
)
from graviton_server.namespace.postgres.dialect import TOUCHES, statement
from graviton_server.namespace.postgres.exchange import Params, Query, Write

Tag = tuple[str, Any]


def _last_is(table: str) -> Callable[[Params], Tag]:
    return lambda params: (table, params[-1])


def _first_is(table: str) -> Callable[[Params], Tag]:
    return lambda params: (table, params[0])


CHANGES: Final[dict[str, Callable[[Params], Tag]]] = {
    names._ADD_NAME: lambda params: ("names", (params[0], params[1])),
    names._DELETE_NAME: lambda params: ("names", (params[0], params[1])),
    names._POINT_NAME: lambda params: ("names", (params[2], params[3])),
    names._ADD_INODE: _first_is("inodes"),
    names._LINKS: _last_is("inodes"),
    attributes._SET_ATTR: _last_is("inodes"),
    renaming._CTIME: _last_is("inodes"),
    txn._TOUCH: _last_is("inodes"),
    txn._TOUCH_LINKS: _last_is("inodes"),
    data._UPDATE: _last_is("inodes"),
    data._UPDATE_SAME: _last_is("inodes"),
    orphans._DELETE: _last_is("inodes"),
    orphans._NO_LINKS: _last_is("inodes"),
    trash._ADD: _first_is("trash"),
    trash.DROP: _first_is("trash"),
    contents._INSERT: _first_is("contents"),
    contents._ADD_REF: _last_is("contents"),
    contents._DROP_REF: _last_is("contents"),
    contents._FREEZE: _last_is("contents"),
    regions._INSERT: lambda params: ("regions", (params[0], params[1])),
}
"""The one row, or region, that a write touches; of others the whole table counts as changed."""


def last_touches(queue: list[Write | Query]) -> list[Write | Query]:
    """Busy directories' rows are locked only at the end, in the order of their numbers, and once each.

    Stays as it is where the directory is changed otherwise as well.
    """
    touches = [item for item in queue if isinstance(item, Write) and item.sql in TOUCHES]
    if not touches:
        return queue
    inos = {write.params[-1] for write in touches}
    for item in queue:
        if isinstance(item, Write) and item.sql not in TOUCHES:
            tag = CHANGES.get(item.sql)
            changed = statement(item.sql).changes if tag is None else None
            if changed == "inodes" or (tag is not None and tag(item.params) in {("inodes", i) for i in inos}):
                return queue
    rest = [item for item in queue if not (isinstance(item, Write) and item.sql in TOUCHES)]
    return [*rest, *_merged(touches)]


def _merged(touches: list[Write]) -> list[Query]:
    """Of each directory the last times, and all links together."""
    merged: dict[int, tuple[Any, Any, int]] = {}
    for write in touches:
        mtime, ctime, *links, ino = write.params
        before = merged.get(ino)
        merged[ino] = (mtime, ctime, sum(links) + (0 if before is None else before[2]))
    return [_touch(ino, *merged[ino]) for ino in sorted(merged)]


def _touch(ino: int, mtime: int, ctime: int, links: int) -> Query:
    if links:
        return Query(statement(txn._TOUCH_LINKS).text, (mtime, ctime, links, ino))
    return Query(statement(txn._TOUCH).text, (mtime, ctime, ino))
