"""Which segment goes when room is needed: S3-FIFO (Yang and others, SOSP 2023), by segments of a log.

What comes in is on probation, in a tenth of the room once all of it is used. Blocks that were asked for again
by then move on to the protected chain; the others go, and are remembered for a while: who comes back is
protected at once. A long read from front to back so passes through the tenth and pushes nothing else out.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gravitonfs.content.diskcache.segment import Segment

PROBATION: Final = 0
PROTECTED: Final = 1
HITS: Final = 3
"""More are not counted: so many times a protected block outlives its turn."""
_SHARE: Final = 10


class Chains:
    """Segments that are not written to any more, oldest first. For one thread."""

    def __init__(self) -> None:
        self._chains: tuple[deque[Segment], deque[Segment]] = (deque(), deque())
        self.bytes = 0

    def add(self, segment: Segment) -> None:
        self._chains[segment.chain].append(segment)
        self.bytes += segment.size

    def oldest(self, budget: int) -> Segment | None:
        """The one to give up; None where there is none."""
        probation, protected = self._chains
        held = sum(segment.size for segment in probation)
        chain = probation if probation and (held * _SHARE > budget or not protected) else protected
        return chain[0] if chain else None

    def remove(self, segment: Segment) -> None:
        self._chains[segment.chain].remove(segment)
        self.bytes -= segment.size
