"""The block index: block id to its record in a pack. Derived from packs, so it may always be rebuilt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from gravitonfs.core.ids import BlockId, PackNumber

COMPLETE: Final = (1 << 64) - 1
"""The mark of a sealed pack all of which is in the index."""


class Location(NamedTuple):
    """Where a block's record is; ``offset`` is that of the record's header."""

    pack: PackNumber
    offset: int
    stored: int
    plain: int
    codec: int


class PackMark(NamedTuple):
    """Records of a pack up to ``through`` are in the index, under ``number``. Marks are kept by the
    pack's UUID: a number may be given twice, if the commit that gave it first never happened."""

    number: PackNumber
    through: int


Entry = tuple[BlockId, Location]


class BlockIndex(Protocol):
    """Thread-safe. What is written is visible at once; a crash may lose the latest writes, never
    reorder them, so that a mark never promises an entry that is not there."""

    def get(self, ids: Sequence[BlockId]) -> list[Location | None]: ...

    def write(self, uuid: bytes, mark: PackMark, entries: Iterable[Entry]) -> None:
        """Add entries of one pack and its mark, in one atomic step."""

    def marks(self) -> dict[bytes, PackMark]: ...

    def mark(self, uuid: bytes) -> PackMark | None: ...

    def unmark(self, uuid: bytes) -> None: ...

    def remove(self, ids: Sequence[BlockId]) -> None: ...

    def forget(self, number: PackNumber, ids: Iterable[BlockId]) -> None:
        """Drop those of a pack's blocks ``ids`` that the index still places there."""

    def sweep(self, numbers: set[PackNumber]) -> int:
        """As ``forget`` where the packs' blocks are not known: reads the whole index. Returns how many."""

    def entries(self) -> Iterator[Entry]:
        """All of them, in the order of ids."""

    def clear(self) -> None:
        """Start again, empty."""

    def flush(self) -> None:
        """Make what was written durable."""

    def close(self) -> None: ...
