"""Putting blocks into open packs, making them durable, sealing; and what happens when that fails."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from graviton_server.index import COMPLETE, Location, PackMark
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import MAX_PACK, RECORD_HEADER, new_uuid
from graviton_server.packs.lanes import Lane
from graviton_server.packs.open_pack import OpenPack
from graviton_server.packs.room import Room
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Damaged, GravitonError, NoSpace, Unavailable
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRegistry, PackState
from gravitonfs.ports.target import AppendTarget

_log = logging.getLogger(__name__)

SMALL: Final = 128 << 10
"""Puts below this go to a lane of their own, so that they never wait behind large ones."""
_CHUNK: Final = 2 << 20
_UNSEALED: Final = 8
_INDEX_AT: Final = 4096
_SLOT_SECONDS: Final = 20.0


class PackWriting:
    """``_lock`` guards ``_open``, the packs that are not sealed yet, and ``_unsealed``,
    those whose sealing failed; ``_slots`` bounds their number.

    Nobody calls the registry while holding a lock that ``sync_all`` takes: the database calls that
    with its own gate closed.
    """

    def __init__(
        self,
        target: AppendTarget,
        registry: PackRegistry,
        catalog: Catalog,
        *,
        store_uuid: bytes,
        owner: str,
        pack_size: int,
        reserve: int | None,
    ) -> None:
        self._target = target
        self._registry = registry
        self._catalog = catalog
        self._store = store_uuid
        self._owner = owner
        self._lock = threading.Lock()
        self._open: dict[PackNumber, OpenPack] = {}
        self._slots = threading.Semaphore(_UNSEALED)
        self._worker = ThreadPoolExecutor(3, thread_name_prefix="pack-store")
        self._room = Room(target, reserve, self._pending)
        self._closed = False
        self._chunk = min(_CHUNK, pack_size // 4)
        self._unsealed: list[OpenPack] = []
        self._small, self._bulk, self._moved = (self._lane(pack_size) for _ in range(3))
        self.syncs = 0

    def _lane(self, pack_size: int) -> Lane:
        return Lane(
            pack_size,
            self._begin,
            self._begin_ahead,
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

    def _begin(self) -> OpenPack:
        deadline = time.monotonic() + _SLOT_SECONDS
        while True:
            self._retry_seals()
            for pack in self.open_packs():
                if pack.lost and not self._rescue(pack):
                    raise Unavailable(f"the target {self._target.name} fails: see the log for the reason")
            if self._slots.acquire(timeout=0.5):
                return self._open_slot()
            if time.monotonic() > deadline:
                raise Unavailable(f"the target {self._target.name} does not keep up: packs stay unfinished")

    def _begin_ahead(self) -> OpenPack | None:
        """As ``_begin``, on the worker, which sealing needs: never waits."""
        return self._open_slot() if self._slots.acquire(blocking=False) else None

    def _open_slot(self) -> OpenPack:
        try:
            pack = self._new_pack()
        except BaseException:
            self._slots.release()
            raise
        self._catalog.name(pack.number, pack.key)
        with self._lock:
            self._open[pack.number] = pack
        return pack

    def _new_pack(self) -> OpenPack:
        uuid = new_uuid()
        number = self._registry.begin(uuid, self._owner, PackState.LIVE)
        self._catalog.expect(number, uuid)
        try:
            return OpenPack(number, uuid, self._store, self._target)
        except GravitonError:
            self._registry.abandon(number)
            raise

    def _pending(self) -> int:
        return sum(pack.length - pack.durable for pack in self.open_packs())

    def open_packs(self) -> list[OpenPack]:
        with self._lock:
            return list(self._open.values())

    def find(self, number: PackNumber) -> OpenPack | None:
        return self._open.get(number)

    # --- making durable ---

    def sync(self, numbers: Iterable[PackNumber]) -> None:
        """Also moves what a failed flush has left; so an error means that this did not succeed either."""
        for number in set(numbers):
            pack = self._open.get(number)
            if pack is None:
                continue
            try:
                self._sync(pack)
            except NoSpace:
                raise
            except GravitonError:
                if not self._rescue(pack):
                    raise

    def sync_all(self) -> None:
        """Every open pack. Never waits for the database; raises while a pack's bytes are not safe."""
        for pack in self.open_packs():
            if pack.lost and not pack.rescuing.locked():
                self._submit(self._rescue, pack)
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

    def _index(self, pack: OpenPack) -> None:
        with pack.indexing:
            stop = pack.durable_records()
            if pack.closed or stop - pack.indexed < _INDEX_AT // 2:
                return  # sealing indexes the rest
            entries = pack.entries(pack.indexed, stop)
            self._catalog.settle(pack.number, PackMark(pack.uuid, pack.records.end(stop - 1)), entries)
            pack.indexed = stop

    def reindex(self) -> int:
        """The index was emptied: write what of the open packs had been in it again."""
        count = 0
        for pack in self.open_packs():
            with pack.indexing:
                if not pack.forgotten:
                    entries = pack.entries(0, pack.durable_records())
                    self._catalog.settle(pack.number, PackMark(pack.uuid, pack.durable), entries)
                    count += len(entries)
        return count

    # --- sealing ---

    def _submit(self, task: Callable[[OpenPack], object], pack: OpenPack) -> None:
        try:
            self._worker.submit(_logged, task, pack)
        except RuntimeError:
            if not self._closed:
                raise

    def _retire(self, pack: OpenPack) -> None:
        pack.close()
        if not pack.lost:
            self._submit(self._seal_quietly, pack)

    def _seal_quietly(self, pack: OpenPack) -> None:
        try:
            self.seal(pack)
        except GravitonError as error:
            _log.warning("pack %d is not sealed yet: %s", pack.number, error)
            with self._lock:
                self._unsealed.append(pack)

    def _retry_seals(self) -> None:
        with self._lock:
            again, self._unsealed = self._unsealed, []
        for pack in again:
            self._retire(pack)

    def seal(self, pack: OpenPack) -> None:
        """Sync, footer and trailer, sync; index; row. A crash in between is what recovery is for."""
        pack.close()
        self._sync(pack)
        sealed = pack.seal()
        with pack.indexing:
            if not pack.forgotten:
                entries = pack.entries(pack.indexed, len(pack.records))
                self._catalog.settle(pack.number, PackMark(pack.uuid, COMPLETE), entries)
        self._registry.sealed(pack.number, sealed.length, len(pack.records), sealed.footer)
        self._catalog.footers.add(pack.key, pack.records)
        self._release(pack)

    def _release(self, pack: OpenPack) -> None:
        with self._lock:
            if self._open.pop(pack.number, None) is None:
                return
        self._slots.release()
        pack.file.close()

    # --- failing ---

    def _give_up(self, pack: OpenPack, error: GravitonError) -> None:
        """An append or a flush failed. What is not durable is not acknowledged, and is still in memory."""
        pack.close()
        with self._lock:
            if pack.lost:
                return
            pack.lost = True
        _log.error("pack %d is given up: %s", pack.number, error)
        self._submit(self._rescue, pack)

    def _rescue(self, pack: OpenPack) -> bool:
        """Store what is in a lost pack in one more, and abandon it, so that whoever relies on what it
        held loses nothing, and nobody begins to rely on it. Until then every sync of it fails."""
        with pack.rescuing:
            if self._open.get(pack.number) is not pack:
                return True
            try:
                fresh = self._copy(pack)
                if fresh is None or len(fresh.records) == len(pack.records):
                    self._registry.abandon(pack.number)
            except GravitonError as error:
                _log.error("the blocks of pack %d are still in memory only: %s", pack.number, error)
                return False
            self._replace(pack, fresh)
        return True

    def _copy(self, pack: OpenPack) -> OpenPack | None:
        """A new pack with the same blocks, durable; nothing is left of it if that fails. What was durable
        in the lost one and cannot be read back stays where it is."""
        good = pack.durable_records()
        entries = pack.entries(0, len(pack.records))
        if not entries:
            return None
        fresh = self._new_pack()
        try:
            for at, (block, place) in enumerate(entries):
                try:
                    payload = pack.file.read(place.offset + RECORD_HEADER, place.stored)
                except Damaged as error:
                    if at >= good:
                        raise
                    _log.error("block %s of pack %d is damaged: %s", block.hex(), pack.number, error)
                    continue
                fresh.append([Block(block, place.codec, place.plain, payload)], MAX_PACK)
            fresh.close()
            fresh.sync()
        except GravitonError:
            self._registry.abandon(fresh.number)
            with contextlib.suppress(GravitonError):
                fresh.file.close()
                self._target.delete(fresh.key)
            raise
        return fresh

    def _replace(self, pack: OpenPack, fresh: OpenPack | None) -> None:
        """``fresh`` takes the place of a lost pack, and its slot."""
        if fresh is None:
            self._release(pack)
            return
        self._catalog.name(fresh.number, fresh.key)
        self._catalog.note(fresh.entries(0, len(fresh.records)))
        with self._lock:
            self._open[fresh.number] = fresh
            del self._open[pack.number]
        pack.file.close()
        self._submit(self._seal_quietly, fresh)

    def finish(self, number: PackNumber) -> None:
        """Put nothing more into this pack, and make what is in it durable."""
        pack = self._open.get(number)
        if pack is not None:
            pack.close()
            self._sync(pack)

    def withdraw(self, number: PackNumber) -> None:
        """Stop using a pack that nothing may rely on any more."""
        pack = self._open.get(number)
        if pack is not None:
            pack.close()
            pack.forgotten = True

    def close(self) -> None:
        """Seal what is open. What cannot be sealed is left to recovery."""
        self._closed = True
        for lane in (self._small, self._bulk, self._moved):
            for pack in lane.close():
                if len(pack.records) == 0:
                    self._registry.abandon(pack.number)
                    self._release(pack)
        self._worker.shutdown(wait=True)
        errors = []
        for pack in self.open_packs():
            if pack.lost:
                self._rescue(pack)
        for pack in self.open_packs():
            try:
                self.seal(pack)
            except GravitonError as error:
                errors.append(error)
                self._release(pack)  # its row has no length: the next start recovers it
        if errors:
            raise errors[0]


def _logged(task: Callable[[OpenPack], object], pack: OpenPack) -> None:
    """A task of the worker, whose unexpected errors nobody else would see."""
    try:
        task(pack)
    except Exception:
        _log.exception("work on pack %d failed", pack.number)
        raise
