"""The block store of an engine that has its packs on a local target."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final

from typing_extensions import Buffer

from graviton_server.index import BlockIndex, Location
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.reading import PackReading
from graviton_server.packs.recovery import Recovery, RecoveryReport, rebuild
from graviton_server.packs.unsealed import UnsealedPacks
from graviton_server.packs.upkeep import DRAIN_PAGE, PackProblem, PackUpkeep, Record, Relocation
from graviton_server.packs.writing import PackWriting
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.ports.blocks import Block, StoreCounters
from gravitonfs.ports.packs import LooseBlocks, PackRegistry, PackState
from gravitonfs.ports.target import AppendTarget

PACK_SIZE: Final = 32 << 20
FOOTER_BYTES: Final = 16 << 20


class PackStore:
    """A ``BlockStore``. Its parts lock for themselves; ``_lock`` guards the counters.

    One process at a time: whoever opens the store holds the engine's lock file.
    """

    def __init__(
        self,
        target: AppendTarget,
        index: BlockIndex,
        registry: PackRegistry,
        loose: LooseBlocks,
        *,
        store_uuid: bytes,
        owner: str,
        pack_size: int = PACK_SIZE,
        min_free: int | None = None,
        block_key: bytes = b"",
        footer_bytes: int = FOOTER_BYTES,
    ) -> None:
        """``min_free``: bytes of the target that stay free; by default 64 MiB or a twentieth of it."""
        self._target = target
        self._index = index
        self._registry = registry
        self._loose = loose
        self._owner = owner
        self._block_key = block_key
        self._catalog = Catalog(index, registry, target, footer_bytes)
        self._unsealed = UnsealedPacks(
            target, registry, self._catalog, store_uuid=store_uuid, owner=owner, begin_as=self._begin_as
        )
        self._writing = self._new_writing(pack_size, min_free)
        whole = self._begin_as is PackState.STORING  # packs go up whole
        self._reading = PackReading(target, self._catalog, loose, block_key, remote=whole)
        self._upkeep = PackUpkeep(
            target,
            registry,
            loose,
            self._catalog,
            self._writing,
            self._unsealed,
            block_key,
            max(DRAIN_PAGE, pack_size) if whole else DRAIN_PAGE,
        )
        self._lock = threading.Lock()
        self._put = self._put_bytes = self._found = 0

    _begin_as = PackState.LIVE

    def _new_writing(self, pack_size: int, reserve: int | None) -> PackWriting:
        return PackWriting(
            self._target, self._registry, self._catalog, self._unsealed, pack_size=pack_size, reserve=reserve
        )

    # --- BlockStore ---

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        result = [NO_PACK if place is None else place.pack for place in self._catalog.locate(ids)]
        with self._lock:
            self._found += len(result) - result.count(NO_PACK)
        return result

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        places = self._catalog.locate([block.id for block in blocks])
        if None in places and self._catalog.learn():
            places = self._catalog.locate([block.id for block in blocks])
        if None in places:
            fresh = {b.id: b for b, place in zip(blocks, places, strict=True) if place is None}
            new = self._writing.append(list(fresh.values()))
            placed = dict(zip(fresh, new, strict=True))
            places = [place or placed[b.id] for b, place in zip(blocks, places, strict=True)]
            with self._lock:
                self._put += len(new)
                self._put_bytes += sum([place.stored for place in new])
        return [place.pack for place in places if place is not None]

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        return self._reading.get(wanted)

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        return self._reading.stored(wanted)

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        return self._reading.get_cached(block, hint)

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        return self._reading.near(block, hint, span)

    def sync(self, packs: Sequence[PackNumber]) -> None:
        self._writing.sync(packs)

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        for number in packs:
            self._writing.withdraw(number)
            self._catalog.forget(number)

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        places = self._catalog.locate(ids)
        elsewhere = [block for block, place in zip(ids, places, strict=True) if place is None]
        loose = self._loose.loose_get(elsewhere) if elsewhere else {}
        in_packs = sum(place.stored for place in places if place is not None)
        return in_packs + sum(memoryview(block.payload).nbytes for block in loose.values())

    def counters(self) -> StoreCounters:
        with self._lock:
            return StoreCounters(
                self._put,
                self._put_bytes,
                self._found,
                self._reading.blocks,
                self._reading.bytes,
                self._writing.syncs,
            )

    # --- the namespace's group commit ---

    def presync(self) -> None:
        """Make everything put so far durable, so that ``barrier`` has little left to do."""
        self._writing.sync_all()

    def barrier(self) -> None:
        """Make everything put so far durable. Takes no lock that a call into the registry is made
        under, so it may be called with the database's gate closed. When it raises, the group must
        not be committed."""
        self._writing.sync_all()

    # --- work on whole packs: see PackUpkeep ---

    def drain_loose(self) -> int:
        return self._upkeep.drain_loose()

    def filled(self, timeout: float | None = None) -> bool:
        """The start has seen to it."""
        return True

    def tend(self) -> str:
        """There is nothing to do where the target is this process's alone."""
        return ""

    def seal_open(self) -> None:
        """Finish the packs that are being filled, so that they can be collected or compacted."""
        self._writing.seal_open()

    def finish_all(self) -> None:
        """Seal every pack that was begun. See ``PackWriting``."""
        self._writing.finish_all()

    def locate(self, ids: Sequence[BlockId]) -> list[Location | None]:
        """As ``missing``, with the places."""
        return self._catalog.locate(ids)

    def catch_up(self) -> bool:
        """Learn what other engines have stored by now; whether there was anything new."""
        return self._catalog.learn()

    def records(self, number: PackNumber) -> list[Record]:
        return self._upkeep.records(number)

    def record_offsets(self, number: PackNumber) -> array[int]:
        return self._upkeep.record_offsets(number)

    def pack_path(self, number: PackNumber) -> str:
        return self._upkeep.pack_path(number)

    def verify_pack(self, number: PackNumber) -> Iterator[PackProblem]:
        return self._upkeep.verify(number)

    def relocate(self, number: PackNumber, keep: Container[BlockId]) -> Relocation:
        return self._upkeep.relocate(number, keep)

    def expect(self, number: PackNumber, uuid: bytes) -> None:
        """A pack comes whole from elsewhere; the next start enters what is in it."""
        self._catalog.expect(number, uuid)

    def delete_pack(self, number: PackNumber) -> None:
        """Remove the object of a pack whose row is ``deleting``, and what look-ups still know of it."""
        key = self._catalog.key(number)
        self._writing.discard(number)
        self.forget_packs([number])
        self._target.delete(key)
        self._catalog.footers.drop(key)

    # --- starting and stopping ---

    def _recovery(self) -> Recovery:
        return Recovery(
            self._target,
            self._index,
            self._registry,
            self._catalog,
            owner=self._owner,
            block_key=self._block_key,
        )

    def recover(self) -> RecoveryReport:
        """At the start, before anything else: finish what a dead process left, complete the index."""
        return self._recovery().run()

    def rebuild_index(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Empty the index and fill it from the packs; how many records. ``progress(done, of)``: packs."""
        self._index.clear()
        count = rebuild(self._recovery(), progress)
        return count + self._writing.reindex()

    def close(self) -> None:
        """Seal what is open, finish the index. The target, the registry and the index stay open."""
        self._writing.close()
        self._index.flush()
