"""Contents: drafts, frozen and sealed ones, who uses them, and what drafts stand on.

``refs`` counts the inodes with this content, the drafts that stand on it, the history rows of both, and
references to it as a blob. At 0 nothing names it any more; ``reap`` frees it later, so that an unlink
stays O(1).

A draft has exactly one inode, whose row has the draft's length and version; the columns here are
filled in when it becomes immutable.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from graviton_server.namespace.engine import DuplicateKey
from graviton_server.namespace.txn import Inode, Txn
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NO_CONTENT, ContentId
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.namespace import ContentKind

MAX_DEPTH: Final = 4
"""Contents that a draft may stand on, one upon the other."""

ROW: Final = "id, kind, length, version, digest, base, base_limit, depth, refs"
_GET: Final = f"SELECT {ROW} FROM contents WHERE id = ?"
_INSERT: Final = (
    "INSERT INTO contents (id, kind, length, version, digest, base, base_limit, depth, refs, changed, born)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"
)
_ADD_REF: Final = "UPDATE contents SET refs = refs + 1 WHERE id = ?"
_DROP_REF: Final = "UPDATE contents SET refs = refs - 1 WHERE id = ?"
_FREEZE: Final = "UPDATE contents SET kind = ?, length = ?, version = ?, digest = ?, changed = ? WHERE id = ?"
_COPY_LEVEL: Final = (
    "INSERT INTO regions (content, region, seq, born, data)"
    " SELECT ?, region, seq, ?, data FROM regions WHERE content = ?"
)

_DRAFT: Final = int(ContentKind.DRAFT)
_FROZEN: Final = int(ContentKind.FROZEN)
_SEALED: Final = int(ContentKind.SEALED)


class Content(NamedTuple):
    """A row of ``contents``; regions of the base show through below ``base_limit`` (a region number)."""

    id: ContentId
    kind: int
    length: int
    version: int
    digest: bytes | None
    base: ContentId
    base_limit: int
    depth: int
    refs: int


def get(txn: Txn, content: ContentId) -> Content:
    row = txn.execute(_GET, (content,)).fetchone()
    if row is None:
        raise NotFound(f"content {content} does not exist any more")
    return Content._make(row)


def new(
    txn: Txn, length: int, version: int, digest: bytes | None, offered: ContentId = NO_CONTENT
) -> ContentId:
    """A content that stands on nothing: a draft, or sealed where the digest is known. ``offered``: the id
    that it is to have, if any."""
    content = offered or txn.next_content()
    kind = _DRAFT if digest is None else _SEALED
    _insert(txn, (content, kind, length, version, digest, NO_CONTENT, 0, 0, txn.clock, txn.version))
    return content


def _insert(txn: Txn, row: tuple[object, ...]) -> None:
    try:
        txn.execute(_INSERT, row)
    except DuplicateKey:
        raise Invalid(f"content id {row[0]} is in use") from None


def draft_of(txn: Txn, inode: Inode, offered: ContentId = NO_CONTENT) -> Content:
    """The inode's draft, made now where its content is immutable; the caller stores its id."""
    if not inode.content:
        content = new(txn, inode.size, inode.version, None, offered)
        return Content(content, _DRAFT, inode.size, inode.version, None, NO_CONTENT, 0, 0, 1)
    found = get(txn, inode.content)
    if found.kind == _DRAFT:
        txn.touched[found.id] = txn.clock
        return found
    return _stand_on(txn, found, offered)


def _stand_on(txn: Txn, base: Content, offered: ContentId) -> Content:
    """A draft on an immutable content, taking over the inode's reference to it.

    On a chain that is as deep as allowed it stands beside the top one, with a copy of its rows.
    """
    content = offered or txn.next_content()
    if base.depth >= MAX_DEPTH:
        limit, depth, below = base.base_limit, base.depth, base.base
        txn.execute(_COPY_LEVEL, (content, txn.version, base.id))
        txn.execute(_ADD_REF, (below,))
        txn.execute(_DROP_REF, (base.id,))
    else:
        limit, depth, below = -(-base.length // REGION), base.depth + 1, base.id
    draft = Content(content, _DRAFT, base.length, base.version, None, below, limit, depth, 1)
    row = (content, _DRAFT, base.length, base.version, None, below, limit, depth, txn.clock, txn.version)
    _insert(txn, row)
    return draft


def seal(txn: Txn, content: ContentId, length: int, version: int, digest: bytes) -> None:
    txn.execute(_FREEZE, (_SEALED, length, version, digest, txn.clock, content))


def share(txn: Txn, inode: Inode) -> None:
    """One more inode gets this inode's content, which is immutable from now on."""
    if not inode.content:
        return
    if get(txn, inode.content).kind == _DRAFT:
        txn.execute(_FREEZE, (_FROZEN, inode.size, inode.version, None, txn.clock, inode.content))
    txn.execute(_ADD_REF, (inode.content,))


def add_user(txn: Txn, content: ContentId) -> None:
    """One more keeps this content, which is immutable already."""
    if content:
        txn.execute(_ADD_REF, (content,))


def release(txn: Txn, content: ContentId) -> None:
    """An inode, or whoever else kept it, no longer has this content."""
    if content:
        txn.execute(_DROP_REF, (content,))
