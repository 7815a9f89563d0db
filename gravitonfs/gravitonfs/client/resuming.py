"""Going on with the session of a dead process, from what its journal says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gravitonfs.core.ids import Ino
from gravitonfs.journal.records import rewritten
from gravitonfs.ports.ops import Attr, Batch, Reply

Heard = Callable[[Sequence[Reply]], None]


class Resumed(NamedTuple):
    """``answered``: with what their answers were; only these were promised to anybody. ``known``: of inodes
    whose bytes or changes of size the journal has, the contents and versions that the dead process had seen
    or made. ``heard`` is told what is answered now."""

    handle: bytes
    answered: Sequence[tuple[Batch, Reply]]
    unanswered: Sequence[Batch]
    known: dict[Ino, set[tuple[int, int]]]
    heard: Heard

    def foreign(self, batches: Sequence[Batch], attr_of: Callable[[Ino], Attr | None]) -> set[Ino]:
        """The inodes that these batches would overwrite although somebody else has changed them since: a
        batch that a crash has undone may come back after days."""
        found = set()
        for ino in {ino for batch in batches for ino in rewritten(batch)} & self.known.keys():
            attr = attr_of(ino)
            if attr is not None and (attr.content, attr.version) not in self.known[ino]:
                found.add(ino)
        return found
