"""What background work needs of an engine."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from graviton_server.index import Location
from graviton_server.maintenance.archive import Archive
from graviton_server.maintenance.snapshotting import SnapshotStore
from graviton_server.maintenance.turns import Alone
from graviton_server.packs.upkeep import PackProblem, Record, Relocation
from graviton_server.replication.repair import Repair
from gravitonfs.core.ids import BlockId, Ino, PackNumber
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.packs import LooseBlocks, PackRegistry
from gravitonfs.ports.quotas import QuotaRow
from gravitonfs.ports.target import Target
from gravitonfs.ports.upkeep import Housekeeping, Upkeep


class PackKeeper(BlockStore, Protocol):
    """The side of a pack store that its front ends do not see. Thread-safe."""

    def locate(self, ids: Sequence[BlockId]) -> list[Location | None]:
        """As ``missing``, with the place of each."""

    def catch_up(self) -> bool:
        """Learn what other engines have stored by now; whether there was anything new."""

    def records(self, number: PackNumber) -> list[Record]:
        """What is in a pack, in order. Raises ``NotFound``, or ``Damaged`` without a good footer."""

    def record_offsets(self, number: PackNumber) -> array[int]:
        """Where each record of a sealed pack begins. Raises as ``records``."""

    def verify_pack(self, number: PackNumber) -> Iterator[PackProblem]:
        """Read and hash all of a pack; everything that is wrong with it."""

    def relocate(self, number: PackNumber, keep: Container[BlockId]) -> Relocation:
        """Copy blocks of a pack, verified, into new ones; look-ups lead there from now on. ``sync`` the
        new packs before the old one is given up."""

    def seal_open(self) -> None:
        """Finish the packs that are being filled, so that they can be collected or compacted."""

    def delete_pack(self, number: PackNumber) -> None:
        """Remove the object of a pack whose row is ``deleting``. Repeating it is harmless."""

    def rebuild_index(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Make the index anew from the packs; how many records."""

    def drain_loose(self) -> int:
        """Put the loose blocks that are there now into packs; how many."""

    def filled(self, timeout: float | None = None) -> bool:
        """Wait until look-ups cover all packs there were at the start; False when that took longer."""

    def tend(self) -> str:
        """What a store on a shared target needs now and then; a sentence on what was done, or nothing."""


@dataclass
class Stores:
    """What changes when a store gets a second target is replaced in it.

    ``packs`` are the rows, ``blocks`` the bytes; ``owner`` is the name that this engine's rows have;
    ``tended``: the target is shared, so ``blocks.tend`` has something to do."""

    upkeep: Upkeep
    packs: PackRegistry
    loose: LooseBlocks
    blocks: PackKeeper
    target: Target
    block_key: bytes = b""
    owner: str = "engine-0"
    tended: bool = False
    housekeeping: Housekeeping = field(default_factory=Alone)
    snapshots: SnapshotStore | None = None
    copies: Repair | None = None
    """Where there are several targets."""
    is_shard: Callable[[], bool] = lambda: False
    """The packs are another store's, which alone knows what is needed of them."""
    archive: Archive | None = None
    """Dumps on the targets."""
    quotas: Callable[[], Iterable[tuple[str, QuotaRow]]] = lambda: ()
    """Of volumes: name and quota."""
    counting: Callable[[], Iterable[tuple[str, Ino]]] = lambda: ()
    """Volume and directory of quotas that are being counted."""
    finish_count: Callable[[str, Ino], object] = lambda volume, directory: None
    """One of them, to the end."""
