"""Fragmented contents are cut anew, so that they take no more room, and deduplicate, as if written whole."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from graviton_server.maintenance.recut import Counts, Recut
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ContentId
from gravitonfs.errors import Conflict, Damaged, MissingBlocks, NotFound, Stale
from gravitonfs.ports.upkeep import Fragmented

log = logging.getLogger(__name__)

_PAGE: Final = 16


class Rechunked(NamedTuple):
    contents: int
    bytes_read: int
    extents_before: int
    extents_after: int
    flattened: int


class Rechunker:
    """Remembers which contents stay fragmented whatever it does (sparse ones), until they change."""

    def __init__(self, stores: Stores, volume: Volume) -> None:
        self._stores = stores
        self._volume = volume
        self._tried: dict[int, int] = {}

    def run(self, idle_before_ns: int, work: Work) -> Rechunked:
        contents = read = before = after = 0
        while page := self._page(idle_before_ns):
            for item in page:
                self._tried[item.content] = item.version
                work.tell(contents, 0, "contents re-chunked")
                try:
                    counts = self._rechunk(item, work)
                except (Conflict, NotFound, Stale, MissingBlocks) as error:
                    log.debug("content %d is left for later: %s", item.content, error)
                    continue
                except Damaged as error:
                    log.error("content %d is not re-chunked: %s", item.content, error)
                    continue
                contents += 1
                read += counts.bytes_read
                before += counts.before
                after += counts.after
        return Rechunked(contents, read, before, after, self._flatten(work))

    def _page(self, idle_before_ns: int) -> list[Fragmented]:
        found = self._stores.upkeep.fragmented(idle_before_ns, _PAGE + len(self._tried))
        known = {item.content: item.version for item in found}
        self._tried = {c: v for c, v in self._tried.items() if known.get(ContentId(c)) == v}
        return [item for item in found if item.content not in self._tried]

    def _flatten(self, work: Work) -> int:
        done: set[ContentId] = set()
        while found := set(self._stores.upkeep.deep_drafts(_PAGE + len(done))) - done:
            for content in found:
                work.tell(len(done), 0, "drafts flattened")
                try:
                    self._stores.upkeep.flatten(content)
                except (NotFound, Stale):
                    pass  # it went meanwhile
                done.add(content)
            work.give_way()
        return len(done)

    def _rechunk(self, item: Fragmented, work: Work) -> Counts:
        counts = Recut(self._stores.blocks, self._volume, item, work).run()
        if counts.after < counts.before:
            # What the base has beneath what was written is nobody's any more once the map stands alone.
            self._stores.upkeep.flatten(item.content)
        return counts
