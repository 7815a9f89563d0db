"""A pack store that another one takes the place of while it is in use: packs grew in place on one target, and
go up whole to several from then on.

Whoever adds blocks passes a gate; nobody else does. Order of a turn: nobody adds any more -> all packs that
were begun are sealed, so their blocks are durable and indexed -> the other store begins. Where sealing fails
nothing has changed. The store before is left open: readers may be in it.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Final

from typing_extensions import Buffer

from graviton_server.index import Location
from graviton_server.packs.store import PackStore
from graviton_server.packs.upkeep import PackProblem, Record, Relocation
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Busy
from gravitonfs.ports.blocks import Block, StoreCounters

_PATIENCE: Final = 60.0


class TurningStore:
    """A ``BlockStore``, and all that background work needs. ``_gate`` guards ``_adding``, how many calls add
    blocks, ``_turning``, and ``current``, the store in use."""

    def __init__(self, store: PackStore) -> None:
        self.current = store
        self._before: list[PackStore] = []
        self._gate = threading.Condition()
        self._adding = 0
        self._turning = False

    def turn(self, make: Callable[[], PackStore]) -> PackStore:
        """``make`` opens the store that is used from then on; it may raise. Raises ``Busy``, and what keeps
        packs from being sealed: the store is used as before then."""
        with self._gate:
            if self._turning:
                raise Busy("the targets of this store are being changed already")
            self._turning = True
            alone = self._gate.wait_for(lambda: not self._adding, _PATIENCE)
        try:
            if not alone:
                raise Busy("the store is too busy for another target now: try again")
            self.current.finish_all()
            fresh = make()
            self._before.append(self.current)
            self.current = fresh
            return fresh
        finally:
            with self._gate:
                self._turning = False
                self._gate.notify_all()

    def _enter(self) -> PackStore:
        with self._gate:
            while self._turning:
                self._gate.wait()
            self._adding += 1
            return self.current

    def _leave(self) -> None:
        with self._gate:
            self._adding -= 1
            if self._turning and not self._adding:
                self._gate.notify_all()

    # --- what adds blocks ---

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        store = self._enter()
        try:
            return store.put(blocks)
        finally:
            self._leave()

    def sync(self, packs: Sequence[PackNumber]) -> None:
        store = self._enter()
        try:
            store.sync(packs)
        finally:
            self._leave()

    def drain_loose(self) -> int:
        store = self._enter()
        try:
            return store.drain_loose()
        finally:
            self._leave()

    def relocate(self, number: PackNumber, keep: Container[BlockId]) -> Relocation:
        store = self._enter()
        try:
            return store.relocate(number, keep)
        finally:
            self._leave()

    def rebuild_index(self, progress: Callable[[int, int], None] | None = None) -> int:
        store = self._enter()
        try:
            return store.rebuild_index(progress)
        finally:
            self._leave()

    # --- what reads ---

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        return self.current.missing(ids)

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        return self.current.get(wanted)

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        return self.current.stored(wanted)

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        return self.current.get_cached(block, hint)

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        return self.current.near(block, hint, span)

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        return self.current.stored_bytes(ids)

    def counters(self) -> StoreCounters:
        """Of all stores there were: they only rise."""
        each = [store.counters() for store in (*self._before, self.current)]
        return StoreCounters(*(sum(values) for values in zip(*each, strict=True)))

    # --- whole packs ---

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        self.current.forget_packs(packs)

    def locate(self, ids: Sequence[BlockId]) -> list[Location | None]:
        return self.current.locate(ids)

    def catch_up(self) -> bool:
        return self.current.catch_up()

    def records(self, number: PackNumber) -> list[Record]:
        return self.current.records(number)

    def record_offsets(self, number: PackNumber) -> array[int]:
        return self.current.record_offsets(number)

    def verify_pack(self, number: PackNumber) -> Iterator[PackProblem]:
        return self.current.verify_pack(number)

    def seal_open(self) -> None:
        self.current.seal_open()

    def expect(self, number: PackNumber, uuid: bytes) -> None:
        self.current.expect(number, uuid)

    def delete_pack(self, number: PackNumber) -> None:
        self.current.delete_pack(number)

    def filled(self, timeout: float | None = None) -> bool:
        return self.current.filled(timeout)

    def tend(self) -> str:
        return self.current.tend()
