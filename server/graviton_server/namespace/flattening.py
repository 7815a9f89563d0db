"""Letting a content stand on its own: what shows through from its bases is copied into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from graviton_server.namespace import contents
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.contents import Content
from graviton_server.namespace.history import keep_content
from gravitonfs.core.ids import ContentId

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

FLATTEN_REGIONS: Final = 128
"""At once, with the lock held."""

_COPY_UP: Final = (
    "INSERT INTO regions (content, region, seq, born, data)"
    " SELECT ?, region, seq, ?, data FROM regions WHERE content = ? AND region BETWEEN ? AND ?"
    " AND region NOT IN (SELECT region FROM regions WHERE content = ?)"
)
_NEXT_REGION: Final = "SELECT min(region) FROM regions WHERE content = ? AND region >= ? AND region < ?"
_SET_BASE: Final = "UPDATE contents SET base = ?, base_limit = ?, depth = ? WHERE id = ?"
_ADD_REF: Final = "UPDATE contents SET refs = refs + 1 WHERE id = ?"


class Flattener:
    def __init__(self, store: NamespaceStore) -> None:
        self._store = store

    def flatten(self, content: ContentId) -> None:
        """Some regions at a time; each copy changes nothing that a reader sees."""
        store = self._store
        while True:
            with store.lock:
                store.check_readable()
                found = contents.get(store.applier.txn, content)
                if not found.base:
                    return
                start = 0
                base = found.base
            while start >= 0:
                with store.lock:
                    start = self._copy_some(content, base, start)
            with store.lock:
                found = contents.get(store.applier.txn, content)
                if found.base == base:
                    store.change(self._leave_base, found, store.applier.moment())

    def _copy_some(self, content: ContentId, base: ContentId, start: int) -> int:
        """Copy the next regions that show through; returns where to go on, -1 at the end."""
        store = self._store
        store.check_readable()
        found = contents.get(store.applier.txn, content)
        if found.base != base:
            return -1
        first: int | None = store.execute(_NEXT_REGION, (base, start, found.base_limit)).fetchone()[0]
        if first is None:
            return -1
        last: int = min(first + FLATTEN_REGIONS, found.base_limit) - 1
        moment = store.applier.moment()
        store.change(store.execute, _COPY_UP, (content, moment.version, base, first, last, content))
        return last + 1

    def _leave_base(self, found: Content, moment: Moment) -> None:
        store = self._store
        txn = store.applier.outside_batch(store.roster.volume_of_content(found.id), moment)
        base = contents.get(txn, found.base)
        if txn.snapshot:
            keep_content(txn, found.id)
        below = base.base
        limit = min(found.base_limit, base.base_limit) if below else 0
        if below:
            txn.execute(_ADD_REF, (below,))
        txn.execute(_SET_BASE, (below, limit, base.depth, found.id))
        contents.release(txn, found.base)
