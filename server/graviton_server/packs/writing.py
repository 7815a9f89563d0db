"""Putting blocks into open packs, making them durable, sealing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from graviton_server.index import COMPLETE, Location, PackMark
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import RECORD_HEADER
from graviton_server.packs.lanes import Lane
from graviton_server.packs.open_pack import OpenPack
from graviton_server.packs.rescue import Rescue
from graviton_server.packs.room import Room
from graviton_server.packs.unsealed import UnsealedPacks
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError, NoSpace, Unavailable
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRegistry
from gravitonfs.ports.target import AppendTarget

_log = logging.getLogger(__name__)

SMALL: Final = 128 << 10
"""Puts below this go to a lane of their own, so that they never wait behind large ones."""
_CHUNK: Final = 2 << 20
_INDEX_AT: Final = 4096


class PackWriting:
    """``_lock`` guards ``_waiting``, the packs whose sealing failed, and every pack's ``lost``."""

    def __init__(
        self,
        target: AppendTarget,
        registry: PackRegistry,
        catalog: Catalog,
        unsealed: UnsealedPacks,
        *,
        pack_size: int,
        reserve: int | None,
        workers: int = 3,
        chunk: int | None = None,
    ) -> None:
        """``chunk``: so many bytes of a put are sure to lie together, less than a pack has."""
        self._registry = registry
        self._catalog = catalog
        self._unsealed = unsealed
        self._rescue = Rescue(target, registry, catalog, unsealed)
        self._room = Room(target.name, target.space, reserve, unsealed.pending)
        self._chunk = chunk or min(_CHUNK, pack_size // 4)
        self._lock = threading.Lock()
        self._waiting: list[OpenPack] = []
        self._worker = ThreadPoolExecutor(workers, thread_name_prefix="pack-store")
        self._closed = False
        self._small, self._bulk, self._moved = (self._lane(pack_size) for _ in range(3))
        self.syncs = 0

    def _lane(self, pack_size: int) -> Lane:
        return Lane(
            pack_size,
            lambda: self._unsealed.begin(self._help_along),
            self._unsealed.begin_ahead,
            self._retire,
            self._give_up,
            self._catalog.note,
            self._worker,
        )

    # --- appending ---

    def append(self, blocks: Sequence[Block], *, moved: bool = False) -> list[Location]:
        """Store the blocks, known or not, in an open pack (``moved``: one of their own)."""
        if self._closed:
            raise Unavailable("the pack store is closed")
        sizes = [memoryview(block.payload).nbytes + RECORD_HEADER for block in blocks]
        total = sum(sizes)
        self._room.claim(total)
        lane = self._moved if moved else self._small if total < SMALL else self._bulk
        if total <= self._chunk:
            return lane.append(blocks)
        result: list[Location] = []
        start = size = 0
        for at, length in enumerate(sizes):
            if size + length > self._chunk and at > start:
                result += lane.append(blocks[start:at])
                start, size = at, 0
            size += length
        return result + lane.append(blocks[start:])

    def _help_along(self) -> None:
        """Before a pack is begun: those that are stuck must get on, or the caller be told why not."""
        with self._lock:
            again, self._waiting = self._waiting, []
        for pack in again:
            self._retire(pack)
        for pack in self._unsealed.all():
            if pack.lost:
                self._mend(pack)

    # --- making durable ---

    def sync(self, numbers: Iterable[PackNumber]) -> None:
        """Also moves what a failed flush has left; so an error means that this did not succeed either."""
        for number in set(numbers):
            pack = self._unsealed.find(number)
            if pack is None:
                continue
            try:
                self._sync(pack)
            except NoSpace:
                raise
            except GravitonError:
                self._mend(pack)

    def sync_all(self) -> None:
        """Every open pack. Never waits for the database; raises while a pack's bytes are not safe."""
        for pack in self._unsealed.all():
            if pack.lost and not pack.finishing.locked():
                self._submit(self._mend, pack)
            if pack.dirty:
                self._sync(pack)

    def _sync(self, pack: OpenPack) -> None:
        if pack.lost:
            raise Unavailable(f"pack {pack.number} could not be written; its blocks are being moved")
        try:
            pack.sync()
        except NoSpace:
            raise
        except GravitonError as error:
            self._give_up(pack, error)
            raise
        self.syncs += 1
        if len(pack.records) - pack.indexed >= _INDEX_AT:
            self._submit(self._index, pack)

    def _give_up(self, pack: OpenPack, error: GravitonError) -> None:
        """An append or a flush failed. What is not durable is not acknowledged, and is still in memory."""
        pack.close()
        with self._lock:
            if pack.lost:
                return
            pack.lost = True
        _log.error("pack %d is given up: %s", pack.number, error)
        self._submit(self._mend, pack)

    def _mend(self, pack: OpenPack) -> None:
        fresh = self._rescue.run(pack)
        if fresh is not None:
            self._submit(self.seal, fresh)

    def finish(self, number: PackNumber) -> None:
        """Put nothing more into this pack, and make what is in it durable."""
        pack = self._unsealed.find(number)
        if pack is not None:
            pack.close()
            self._sync(pack)

    def withdraw(self, number: PackNumber) -> None:
        """Stop using a pack that nothing may rely on any more."""
        pack = self._unsealed.find(number)
        if pack is not None:
            pack.close()
            pack.forgotten = True

    def discard(self, number: PackNumber) -> None:
        """Let go of a pack that is about to be deleted."""
        self.withdraw(number)
        pack = self._unsealed.find(number)
        if pack is not None:
            self._unsealed.release(pack)

    # --- the index ---

    def _index(self, pack: OpenPack) -> None:
        with pack.indexing:
            stop = pack.durable_records()
            if pack.closed or stop - pack.indexed < _INDEX_AT // 2:
                return  # sealing indexes the rest
            entries = pack.entries(pack.indexed, stop)
            self._catalog.settle(pack.uuid, PackMark(pack.number, pack.records.end(stop - 1)), entries)
            pack.indexed = stop

    def reindex(self) -> int:
        """The index was emptied: write what of the open packs had been in it again."""
        count = 0
        for pack in self._unsealed.all():
            with pack.indexing:
                if not pack.forgotten:
                    entries = pack.entries(0, pack.durable_records())
                    self._catalog.settle(pack.uuid, PackMark(pack.number, pack.durable), entries)
                    count += len(entries)
        return count

    # --- sealing ---

    def _submit(self, task: Callable[[OpenPack], object], pack: OpenPack) -> None:
        try:
            self._worker.submit(self._work, task, pack)
        except RuntimeError:
            if not self._closed:
                raise

    def _work(self, task: Callable[[OpenPack], object], pack: OpenPack) -> None:
        """A task of the worker, whose errors nobody else would see."""
        try:
            task(pack)
        except GravitonError as error:
            _log.warning("pack %d stays unfinished: %s", pack.number, error)
            with self._lock:
                if not pack.lost:
                    self._waiting.append(pack)
        except Exception:
            _log.exception("work on pack %d failed", pack.number)
            raise

    def _retire(self, pack: OpenPack) -> None:
        pack.close()
        if not pack.lost:
            self._submit(self.seal, pack)

    def seal_open(self) -> None:
        """Finish what is being filled now, so that collection can take it."""
        for lane in (self._small, self._bulk, self._moved):
            pack = lane.take()
            if pack is not None and not pack.lost:
                self._work(self.seal, pack)

    def seal(self, pack: OpenPack) -> None:
        """Sync, footer and trailer, sync; index; row. A crash in between is what recovery is for."""
        pack.close()
        with pack.finishing:
            if self._unsealed.find(pack.number) is pack:
                self._seal(pack)

    def _seal(self, pack: OpenPack) -> None:
        self._sync(pack)
        try:
            sealed = pack.seal()
        except NoSpace:
            raise
        except GravitonError as error:
            self._give_up(pack, error)
            raise
        with pack.indexing:
            if not pack.forgotten:
                entries = pack.entries(pack.indexed, len(pack.records))
                self._catalog.settle(pack.uuid, PackMark(pack.number, COMPLETE), entries)
        self._registry.sealed(pack.number, sealed.length, len(pack.records), sealed.footer)
        self._catalog.footers.add(pack.key, pack.records)
        self._unsealed.release(pack)

    def finish_all(self) -> None:
        """Seal every pack that was begun, while nobody appends; the next append would begin another one.
        Raises where one cannot be sealed: it stays as it is, to be mended as ever."""
        self._close_lanes()
        for work in (self._rescue_lost, self.seal):
            for pack in self._unsealed.all():
                work(pack)
        if self._unsealed.all():
            raise Unavailable("packs that were begun cannot be finished now: try again")

    def _close_lanes(self) -> None:
        for lane in (self._small, self._bulk, self._moved):
            for pack in lane.close():
                if len(pack.records) == 0:
                    self._registry.abandon(pack.number)
                    self._unsealed.release(pack)

    def close(self) -> None:
        """Seal what is open. What cannot be sealed is left to recovery."""
        self._closed = True
        self._close_lanes()
        self._worker.shutdown(wait=True)
        errors: list[GravitonError] = []
        for work in (self._rescue_lost, self.seal):
            for pack in self._unsealed.all():
                try:
                    work(pack)
                except GravitonError as error:
                    errors.append(error)
        for pack in self._unsealed.all():
            self._unsealed.release(pack)  # its row has no length: the next start recovers it
        if errors:
            raise errors[0]

    def _rescue_lost(self, pack: OpenPack) -> None:
        if pack.lost:
            self._rescue.run(pack)
