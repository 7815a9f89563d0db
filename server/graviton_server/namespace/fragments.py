"""Contents that were changed in small pieces: folded when they are idle, and told to the re-chunker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import regions
from graviton_server.namespace.applying import Moment
from gravitonfs.core.extents import EXTENT_SIZE, REGION
from gravitonfs.core.ids import ContentId
from gravitonfs.ports.upkeep import Fragmented

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

FOLD_REGIONS: Final = 2
"""At once, with the lock held: a region of 16,384 extents takes some 10 ms."""

_RAGGED_AFTER: Final = (
    "SELECT r.content, coalesce(c.changed, 0) FROM ragged r LEFT JOIN contents c ON c.id = r.content"
    " WHERE r.content > ? ORDER BY r.content LIMIT ?"
)
_RAGGED_UP_TO: Final = _RAGGED_AFTER.replace("r.content > ?", "r.content <= ?")
_SIZES: Final = (
    "SELECT coalesce(i.size, c.length), coalesce(i.version, c.version) FROM contents c"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0"
    " WHERE c.id = ? AND c.refs > 0"
)
_STORED: Final = (
    "SELECT count(DISTINCT region), coalesce(sum(length(data)), 0) FROM regions WHERE content = ?"
)
_NOT_RAGGED: Final = "DELETE FROM ragged WHERE content = ?"


class Fragments:
    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._ragged_after = 0

    def find(self, idle_before_ns: int, limit: int) -> list[Fragmented]:
        """Candidates are noted by the writes that make them; one that is fine is noted no longer.

        Each is folded first, a few regions at a time, with the lock free between them.
        """
        result: list[Fragmented] = []
        for content in self._ragged(idle_before_ns, limit):
            while not self._fold(content):
                time.sleep(0)
            found = self._judge(content)
            if found is not None:
                result.append(found)
        return result

    def _ragged(self, idle_before_ns: int, limit: int) -> list[ContentId]:
        """Idle candidates, going round, so that those nobody can mend do not hide the others."""
        store = self._store
        with store.reading() as execute:
            after = self._ragged_after
            rows = execute(_RAGGED_AFTER, (after, limit)).fetchall()
            if len(rows) < limit:
                rows += execute(_RAGGED_UP_TO, (after, limit - len(rows))).fetchall()
            if rows:
                self._ragged_after = rows[-1][0]
            touched = store.applier.txn.touched
            return [
                ContentId(content)
                for content, changed in rows
                if max(touched.get(content, 0), changed) < idle_before_ns
            ]

    def _fold(self, content: ContentId) -> bool:
        store = self._store
        folded: list[bool] = []
        with store.lock:
            store.change(self._fold_some, content, store.applier.moment(), folded)
        return folded[0]

    def _fold_some(self, content: ContentId, moment: Moment, folded: list[bool]) -> None:
        store = self._store
        txn = store.applier.outside_batch(store.roster.volume_of_content(content), moment)
        folded.append(regions.fold_idle(txn, content, FOLD_REGIONS))

    def _judge(self, content: ContentId) -> Fragmented | None:
        """Has a content many extents for its size? Its rows are folded: they are what a reader sees."""
        store = self._store
        with store.reading() as execute:
            row = execute(_SIZES, (content,)).fetchone()
            if row is not None:
                length, version = row
                used, size = execute(_STORED, (content,)).fetchone()
                count = size // EXTENT_SIZE
                if count > 2 * (min(length, used * REGION) // store.format.block_average) + 8:
                    return Fragmented(content, version, length, count)
            store.change(store.execute, _NOT_RAGGED, (content,))
        return None
