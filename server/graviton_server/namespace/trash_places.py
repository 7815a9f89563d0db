"""Where in ``.trash`` something is: by day of removal, then by the path that it had.

A directory on such a path is in the trash itself, or still lives: then it is there under its name of now, if
there is something below it that was removed. Of several things with one name the one that lives has the bare
name, else the one removed last; the others have a mark behind it.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from graviton_server.namespace.engine import Execute
from graviton_server.namespace.trash import ROW, TrashRow
from gravitonfs.core.ids import Ino
from gravitonfs.core.trash import DAY_NS, version_ino, version_name

_FROM: Final = f"SELECT {ROW} FROM trash t JOIN inodes i ON i.ino = t.ino WHERE "
_BY_INO: Final = _FROM + "t.ino = ?"
_BY_NAME: Final = (
    _FROM + "t.parent = ? AND t.name = ? AND ((t.removed >= ? AND t.removed < ?) OR (i.mode & 61440) = 16384)"
    " ORDER BY t.removed, t.ino"
)
_IN: Final = (
    _FROM + "t.parent = ? AND ((t.removed >= ? AND t.removed < ?) OR (i.mode & 61440) = 16384)"
    " ORDER BY t.removed, t.ino"
)
_NAMED: Final = (
    "SELECT n.ino, i.mode FROM names n JOIN inodes i ON i.ino = n.ino WHERE n.parent = ? AND n.name = ?"
)
_NAMES: Final = "SELECT name, ino FROM names WHERE parent = ?"
_TAKEN: Final = (
    "SELECT n.name FROM trash t JOIN names n ON n.parent = t.parent AND n.name = t.name"
    " JOIN inodes i ON i.ino = n.ino WHERE t.parent = ? AND (i.mode & 61440) = 16384"
)
_TOP: Final = (
    "WITH RECURSIVE up (ino) AS (VALUES (?) UNION SELECT n.parent FROM up JOIN names n ON n.ino = up.ino)"
    f" SELECT {ROW} FROM up JOIN trash t ON t.ino = up.ino JOIN inodes i ON i.ino = t.ino"
)
_UP: Final = (
    "WITH RECURSIVE up (ino) AS (SELECT DISTINCT parent FROM trash WHERE volume = ? AND removed >= ?"
    " AND removed < ? UNION SELECT coalesce((SELECT n.parent FROM names n WHERE n.ino = up.ino LIMIT 1),"
    " (SELECT t.parent FROM trash t WHERE t.ino = up.ino)) FROM up WHERE up.ino IS NOT NULL)"
)
_WAY: Final = f"{_UP} SELECT n.name, n.ino FROM up JOIN names n ON n.ino = up.ino WHERE n.parent = ?"
_WAY_LOST: Final = f"{_UP} SELECT t.ino FROM up JOIN trash t ON t.ino = up.ino WHERE t.parent = ?"
_NEXT_DAY: Final = "SELECT min(removed) FROM trash WHERE volume = ? AND removed >= ?"


class How(enum.Enum):
    REMOVED = "removed"
    BELOW = "below"
    """It has its name still, in a directory that went as a whole."""
    WAY = "way"
    """A directory that lives, on the path to something removed."""


class Found(NamedTuple):
    """``parent`` and ``name``: where it was, or still is."""

    how: How
    ino: Ino
    parent: Ino
    name: bytes


def days(execute: Execute, volume: int) -> list[int]:
    """On which something was removed."""
    found: list[int] = []
    after = 0
    while (row := execute(_NEXT_DAY, (volume, after)).fetchone()) is not None and row[0] is not None:
        found.append(row[0] // DAY_NS)
        after = (found[-1] + 1) * DAY_NS
    return found


def has_day(execute: Execute, volume: int, day: int) -> bool:
    row = execute(_NEXT_DAY, (volume, day * DAY_NS)).fetchone()
    return row is not None and row[0] is not None and row[0] // DAY_NS == day


def row_of(execute: Execute, ino: Ino) -> TrashRow | None:
    row = execute(_BY_INO, (ino,)).fetchone()
    return None if row is None else TrashRow._make(row)


def top_of(execute: Execute, directory: Ino) -> TrashRow | None:
    """What went as a whole, with the directory in it, or the directory itself."""
    row = execute(_TOP, (directory,)).fetchone()
    return None if row is None else TrashRow._make(row)


def find(execute: Execute, day: int, parent: Ino, shown: bytes) -> Found | None:
    """Of a path's directories it is not asked whether there is something below."""
    ino = version_ino(shown)
    if ino is not None:
        row = row_of(execute, ino)
        if row is not None and row.parent == parent and version_name(*row[2:4], ino) == shown:
            return Found(How.REMOVED, row.ino, parent, row.name)
    named = execute(_NAMED, (parent, shown)).fetchone()
    if named is not None:
        inside = top_of(execute, parent) is not None
        if inside or named[1] & 0o170000 == 0o040000:
            return Found(How.BELOW if inside else How.WAY, Ino(named[0]), parent, shown)
    rows = execute(_BY_NAME, (parent, shown, *_span(day))).fetchall()
    return Found(How.REMOVED, Ino(rows[-1][0]), parent, shown) if rows else None


def listing(execute: Execute, volume: int, day: int, parent: Ino) -> list[tuple[bytes, Ino]]:
    """What is in a directory of a day, by the names that it has there, in their order."""
    span = (volume, *_span(day))
    found: dict[bytes, Ino] = {name: Ino(ino) for name, ino in execute(_WAY, (*span, parent))}
    taken = {name for (name,) in execute(_TAKEN, (parent,))}
    top = top_of(execute, parent)
    if top is not None:
        inside = {name: Ino(ino) for name, ino in execute(_NAMES, (parent,))}
        taken |= inside.keys()
        if top.removed_ns // DAY_NS == day:
            found |= inside
    rows = [TrashRow._make(row) for row in execute(_IN, (parent, *_span(day))).fetchall()]
    last = {row.name: row.ino for row in rows}
    way = {ino for (ino,) in execute(_WAY_LOST, (*span, parent))} if rows else set()
    for row in rows:
        if row.removed_ns // DAY_NS == day or row.ino in way:
            bare = row.name not in taken and last[row.name] == row.ino
            found[row.name if bare else version_name(row.name, row.removed_ns, row.ino)] = row.ino
    return sorted(found.items())


def shown_name(execute: Execute, day: int, row: TrashRow) -> bytes:
    found = find(execute, day, row.parent, row.name)
    bare = found is not None and found.ino == row.ino
    return row.name if bare else version_name(row.name, row.removed_ns, row.ino)


def _span(day: int) -> tuple[int, int]:
    return day * DAY_NS, (day + 1) * DAY_NS
