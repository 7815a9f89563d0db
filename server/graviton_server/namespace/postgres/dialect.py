"""The shared SQL as PostgreSQL reads it: parameter marks, and the few statements that differ."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

from graviton_server.namespace import quotas, reaping, trash, trash_ops, trees, txn

TOUCH_CHECKED: Final = (
    "WITH t AS (UPDATE inodes SET mtime = %s, ctime = %s, nlink = nlink + %s WHERE ino = %s AND nlink > 0"
    " RETURNING 1) SELECT 1 / count(*) FROM t"
)
"""A directory that takes a name has not been removed meanwhile: else the division fails, and the batch
is made again. So creations read their directory without a lock, and lock it only at their end."""


def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


_TREE: Final = (
    "WITH RECURSIVE tree (ino) AS (VALUES (%s::bigint) UNION SELECT n.ino FROM tree CROSS JOIN LATERAL"
    " (SELECT ino FROM names WHERE parent = tree.ino OFFSET 0) n)"
)
"""A look-up for each directory (OFFSET 0): left to choose, the server may read all names for each level."""
_INODE: Final = "CROSS JOIN LATERAL (SELECT * FROM inodes WHERE ino = {} OFFSET 0) i"

_DIFFERENT: Final = {
    quotas.SIZE: (
        f"{_TREE} SELECT count(*), coalesce(sum(CASE WHEN i.mode & 61440 = 32768 THEN i.size ELSE 0 END), 0)"
        f"::bigint FROM tree t {_INODE.format('t.ino')}"
    ),
    quotas.CROSSING: (
        f"{_TREE} SELECT n.parent, n.name, n.ino FROM tree t CROSS JOIN LATERAL"
        " (SELECT parent, name, ino FROM names WHERE parent = t.ino OFFSET 0) n"
        f" {_INODE.format('n.ino')} WHERE i.mode & 61440 <> 16384 AND i.nlink > 1"
        " AND EXISTS (SELECT 1 FROM names o WHERE o.ino = n.ino AND o.parent NOT IN (SELECT ino FROM tree))"
    ),
    trees._MAP: (
        "CREATE TEMP TABLE IF NOT EXISTS clone_map (n bigserial PRIMARY KEY, old bigint NOT NULL UNIQUE,"
        " new bigint NOT NULL) ON COMMIT DROP"
    ),
    # Several daemons reap: each takes what no other has in hand, and nobody else removes names under it.
    reaping.NEXT_DOOMED: _marks(reaping.NEXT_DOOMED) + " FOR UPDATE OF d SKIP LOCKED",
    reaping.NEXT_UNUSED: _marks(reaping.NEXT_UNUSED) + " FOR UPDATE SKIP LOCKED",
    reaping._CHILDREN: _marks(reaping._CHILDREN) + " FOR UPDATE",
    trash.OLDEST: _marks(trash.OLDEST) + " FOR UPDATE SKIP LOCKED",
    trash_ops.LOCK: _marks(trash_ops.LOCK) + " FOR UPDATE",
    trash.BELOW: _marks(trash.BELOW) + " FOR UPDATE",
    txn._TOUCH: TOUCH_CHECKED.replace(", nlink = nlink + %s", ""),
    txn._TOUCH_LINKS: TOUCH_CHECKED,
}
TOUCHES: Final = (txn._TOUCH, txn._TOUCH_LINKS)

_TABLES: Final = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+([a-z_]+)")
_CHANGED: Final = re.compile(r"^\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+([a-z_]+)")


class Statement(NamedTuple):
    text: str
    changes: str | None
    """The table that it changes; None: it only reads."""
    tables: frozenset[str]
    """All that it looks at."""


@cache
def statement(sql: str) -> Statement:
    text = _DIFFERENT.get(sql)
    if text is None:
        text = _marks(sql)
    changed = _CHANGED.match(sql)
    other = None if sql.lstrip().startswith(("SELECT", "WITH")) else "?"
    return Statement(text, changed[1] if changed else other, frozenset(_TABLES.findall(sql)))
