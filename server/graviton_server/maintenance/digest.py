"""Idle contents without a digest are read once and sealed, so that copies can be recognised."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from graviton_server.maintenance.contents import Writing, reader_of, stream
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.hashing import content_hasher
from gravitonfs.errors import Conflict, Damaged, NotFound, Stale
from gravitonfs.ports.ops import Seal
from gravitonfs.ports.upkeep import Undigested, Upkeep

log = logging.getLogger(__name__)

_PAGE: Final = 256


class Digested(NamedTuple):
    contents: int
    bytes: int


class Digester:
    """Remembers which contents cannot be read, so that it does not try them for ever."""

    def __init__(self, upkeep: Upkeep, volume: Volume, writing: Writing) -> None:
        self._upkeep = upkeep
        self._volume = volume
        self._writing = writing
        self._unreadable: dict[int, int] = {}

    def run(self, idle_before_ns: int, work: Work) -> Digested:
        """Seal what has not changed since ``idle_before_ns`` and is not open for writing."""
        contents = size = 0
        passed: set[int] = set()
        while page := self._page(idle_before_ns, passed):
            for item in page:
                passed.add(item.content)
                work.tell(size, 0, "bytes digested")
                if self._in_use(item) or not self._seal(item, work):
                    continue
                contents += 1
                size += item.length
        return Digested(contents, size)

    def _page(self, idle_before_ns: int, passed: set[int]) -> Sequence[Undigested]:
        found = self._upkeep.undigested(idle_before_ns, _PAGE + len(passed) + len(self._unreadable))
        return [
            item
            for item in found
            if item.content not in passed and self._unreadable.get(item.content) != item.version
        ]

    def _in_use(self, item: Undigested) -> bool:
        return any(self._writing(ino) for ino in self._upkeep.users(item.content))

    def _seal(self, item: Undigested, work: Work) -> bool:
        reader = reader_of(self._volume, item.content, item.version, item.length)
        hasher = content_hasher()
        try:
            for piece in stream(reader, 0, item.length, work):
                hasher.update(piece)
            self._volume.submit(Seal(item.content, item.version, hasher.digest()))
        except (Conflict, NotFound, Stale):
            return False  # it changed or went meanwhile: nothing is lost but the reading
        except Damaged as error:
            log.error("content %d cannot be digested: %s", item.content, error)
            self._unreadable[item.content] = item.version
            return False
        return True
