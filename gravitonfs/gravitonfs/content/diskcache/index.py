"""Where each block is, in memory: 145 bytes for one that is there, and 80 for one that is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gravitonfs.content.diskcache.format import Columns
from gravitonfs.content.diskcache.segment import Segment

BYTES_EACH: Final = 192
"""What a record takes, those that are only remembered counted with them."""
_BITS: Final = 22
_MASK: Final = (1 << _BITS) - 1
RECORDS_MAX: Final = _MASK
"""In one segment."""


class Index:
    """By the first 8 bytes of the id: two blocks that have them in common are a miss for one of them. The
    cache's lock is held by every caller.

    ``_ghosts``: whom probation ended for lately, in two generations.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.records = 0
        """In all segments, those that are there twice or were dropped counted too."""
        self._places: dict[int, int] = {}
        self._segments: dict[int, Segment] = {}
        self._ghosts: tuple[set[int], set[int]] = (set(), set())

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def find(self, key: int) -> tuple[Segment, int] | None:
        place = self._places.get(key)
        return None if place is None else (self._segments[place >> _BITS], place & _MASK)

    def add(self, segment: Segment) -> None:
        """All that is in it."""
        self._segments[segment.number] = segment
        self._enter(segment, 0, segment.columns.keys)
        self.records += len(segment.columns)

    def extend(self, segment: Segment, fresh: Columns) -> None:
        """The records that come next in it."""
        self._segments[segment.number] = segment
        first = len(segment.columns)
        segment.columns.extend(fresh)
        self._enter(segment, first, fresh.keys)
        self.records += len(fresh)

    def _enter(self, segment: Segment, first: int, keys: Sequence[int]) -> None:
        start = (segment.number << _BITS) + first
        self._places.update(zip(keys, range(start, start + len(keys)), strict=True))

    def drop(self, key: int, segment: Segment, record: int) -> None:
        if self._places.get(key) == (segment.number << _BITS) + record:
            del self._places[key]

    def is_at(self, key: int, segment: Segment, record: int) -> bool:
        return self._places.get(key) == (segment.number << _BITS) + record

    def forget(self, segment: Segment) -> int:
        """The segment is gone; returns how many blocks went with it. Idempotent."""
        if self._segments.pop(segment.number, None) is None:
            return 0
        places, start = self._places, segment.number << _BITS
        gone = 0
        for record, key in enumerate(segment.columns.keys):
            if places.get(key) == start + record:
                del places[key]
                gone += 1
        self.records -= len(segment.columns)
        return gone

    def remember(self, key: int) -> None:
        recent = self._ghosts[0]
        recent.add(key)
        if len(recent) > self.limit // 4:
            self._ghosts = (set(), recent)

    def remembered(self, key: int) -> bool:
        return any(key in ghosts for ghosts in self._ghosts)
