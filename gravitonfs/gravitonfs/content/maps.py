"""Maps of small immutable contents that were read ahead, until somebody opens the files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId

_EXTENTS_MAX = 16_384


class Laid(NamedTuple):
    """What one batch has laid over a file: ``extents``, between two (content, version)s. ``whole``: they are
    all that the file has, whatever was there before."""

    before: tuple[ContentId, int]
    after: tuple[ContentId, int]
    extents: tuple[Extent, ...]
    whole: bool


class SmallMaps:
    """Of one volume. The oldest go first. Thread-safe: ``_lock`` guards the maps and their size.

    A content's bytes never change, and what its map says is at worst where they no longer are: then it is
    dropped, and the namespace asked.
    """

    def __init__(self, limit: int = _EXTENTS_MAX) -> None:
        """``limit``: extents, at about 300 bytes each."""
        self._limit = limit
        self._lock = threading.Lock()
        self._maps: OrderedDict[ContentId, tuple[Extent, ...]] = OrderedDict()
        self._extents = 0
        self.epoch = 0
        """Rises when all that was known before may be wrong."""

    def __contains__(self, content: ContentId) -> bool:
        return content in self._maps

    def get(self, content: ContentId) -> tuple[Extent, ...] | None:
        return self._maps.get(content)

    def add(self, maps: Mapping[ContentId, tuple[Extent, ...]], epoch: int) -> None:
        """What was asked in this epoch."""
        with self._lock:
            if epoch != self.epoch:
                return
            for content, extents in maps.items():
                if content not in self._maps:
                    self._maps[content] = extents
                    self._extents += len(extents) + 1
            while self._extents > self._limit:
                _, extents = self._maps.popitem(last=False)
                self._extents -= len(extents) + 1

    def clear(self) -> None:
        """The database may be another one now, where numbers have other meanings."""
        with self._lock:
            self.epoch += 1
            self._maps.clear()
            self._extents = 0

    def drop(self, content: ContentId) -> None:
        with self._lock:
            extents = self._maps.pop(content, None)
            if extents is not None:
                self._extents -= len(extents) + 1
