"""Filling the index in the background with what it lacks at a start: from bundles of footers, then from the
rows that still carry one, and only then pack by pack.

As soon as all footers are here (a few large requests), every block can be found; entering them into the
index takes longer, and nobody waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from graviton_server.index import COMPLETE, Location, PackMark
from graviton_server.packs.bundle import PREFIX, Bundle, BundledPack, Layout, pack_of
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.recovery import entries
from graviton_server.packs.tailing import Tailing
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, FormatError, GravitonError, NotFound, Unavailable
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.target import ObjectInfo, Target

_log = logging.getLogger(__name__)

FEW: Final = 32
"""So few packs are read without looking at bundles."""
WAIT: Final = 30.0
_RETRY: Final = 2.0
_AGAIN: Final = 600.0
_PAGE: Final = 64
_PIECE: Final = 32 << 17
_READERS: Final = 4


class _Stopped(Exception):
    pass


class HeldBundle:
    """A bundle on the local disk, with the packs of it that the index lacks."""

    def __init__(self, path: Path, data: memoryview, rows: dict[bytes, PackRow]) -> None:
        self._path = path
        bundle = Bundle(data)
        self.layout = bundle.layout
        self.packs = bundle.packs
        self.rows = rows
        path.write_bytes(data)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()  # the descriptor keeps it; nothing is left of it after a crash

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._fd)

    def read(self) -> Bundle:
        return Bundle(os.pread(self._fd, self.layout.length, 0))

    def find(self, block: BlockId) -> Location | None:
        layout = self.layout
        for start in range(layout.ids, layout.offsets, _PIECE):
            data = os.pread(self._fd, min(_PIECE, layout.offsets - start), start)
            at = data.find(block)
            while at >= 0:
                if at % 32 == 0 and (place := self._place((start - layout.ids + at) // 32)):
                    return place
                at = data.find(block, at + 1)
        return None

    def _place(self, record: int) -> Location | None:
        pack = pack_of(self.packs, record)
        row = self.rows.get(pack.uuid)
        if row is None:
            return None
        offset, stored, plain = (
            int.from_bytes(os.pread(self._fd, 4, column + 4 * record), "little")
            for column in (self.layout.offsets, self.layout.stored, self.layout.plain)
        )
        codec = os.pread(self._fd, 1, self.layout.codecs + record)[0]
        return Location(row.number, offset, stored, plain, codec)


class IndexFilling:
    """``_lock`` guards ``_bundles``, those that are not entered yet. ``_covered``: every pack's footer is
    here or in the index; ``_done``: the index has them all."""

    def __init__(
        self,
        target: Target,
        registry: PackRegistry,
        catalog: Catalog,
        tailing: Tailing,
        store_uuid: bytes,
        folder: Path,
    ) -> None:
        self._target = target
        self._registry = registry
        self._catalog = catalog
        self._tailing = tailing
        self._store = store_uuid
        self._folder = folder
        self._lock = threading.Lock()
        self._bundles: list[HeldBundle] = []
        self._covered = threading.Event()
        self._done = threading.Event()
        self._stop = threading.Event()
        self._covered.set()
        self._done.set()
        self._thread: threading.Thread | None = None
        self._entered = self._total = 0
        self._complete_at = float("-inf")
        self.records = 0

    def start(self, rows: list[PackRow], stale: dict[bytes, int]) -> None:
        """``rows``: live packs that the index lacks; ``stale``: marks of packs that are gone."""
        self._entered, self._total, self.records = 0, len(rows), 0
        if not rows and not stale:
            return
        self._stop.clear()
        self._covered.clear()
        self._done.clear()
        self._thread = threading.Thread(
            target=self._run, args=({row.uuid: row for row in rows}, stale), name="index-fill", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """The next start goes on where this has stopped."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._bundles.clear()

    def wait(self, timeout: float | None) -> bool:
        return self._done.wait(timeout)

    def progress(self) -> tuple[int, int]:
        """Packs done, of how many."""
        return self._entered, self._total

    def find(self, block: BlockId) -> Location | None:
        """A block that the index does not know, as long as it is incomplete. Waits until the footers are
        here; ``Unavailable`` when that takes too long: nobody may take it for lost."""
        if self._done.is_set() and not self._start_again():
            return None
        if not self._covered.wait(WAIT):
            raise Unavailable("the block index is still being read from the target")
        with self._lock:
            bundles = list(self._bundles)
        for bundle in bundles:
            place = bundle.find(block)
            if place is not None:
                return place
        return self._catalog.index.get([block])[0]  # entered meanwhile

    def _start_again(self) -> bool:
        """Before a block is taken for lost, everything is read once more: where it was stored twice, the
        index knew one place, and another engine's collector may have kept the other."""
        with self._lock:
            now = time.monotonic()
            if now - self._complete_at < _AGAIN:
                return False
            self._complete_at = now
            rows = [row for row in self._rows() if row.state is PackState.LIVE and row.length]
            self.start(rows, {})
            return bool(rows)

    def _rows(self) -> Iterator[PackRow]:
        after = NO_PACK
        while page := self._registry.rows(after, 4096):
            yield from page
            after = page[-1].number

    # --- the thread ---

    def _run(self, wanted: dict[bytes, PackRow], stale: dict[bytes, int]) -> None:
        with contextlib.suppress(_Stopped):
            while True:
                try:
                    self._fill(wanted, stale)
                    break
                except GravitonError as error:
                    _log.warning("filling the block index is tried again: %s", error)
                    if self._stop.wait(_RETRY):
                        return
                except Exception:  # noqa: BLE001  # else nobody would be told
                    _log.exception("filling the block index failed: it stays incomplete")
                    self._covered.set()
                    break
            self._done.set()

    def _fill(self, wanted: dict[bytes, PackRow], stale: dict[bytes, int]) -> None:
        self._drop(stale)
        if len(wanted) > FEW:
            self._fetch_bundles(wanted)
        self._from_rows(wanted)
        self._from_packs(wanted)
        self._covered.set()
        while self._bundles:
            self._enter(self._bundles[0])
            with self._lock:
                self._bundles.pop(0)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _drop(self, stale: dict[bytes, int]) -> None:
        if stale:
            self._catalog.index.sweep({PackNumber(number) for number in stale.values()})
            for uuid in list(stale):
                self._catalog.index.unmark(uuid)
                del stale[uuid]

    def _fetch_bundles(self, wanted: dict[bytes, PackRow]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        found = list(self._target.list(PREFIX))
        with ThreadPoolExecutor(_READERS, thread_name_prefix="footers") as pool:
            for item, data in zip(found, pool.map(self._fetch, found), strict=True):
                self._check()
                if data is not None:
                    self._hold(item.key, data, wanted)

    def _fetch(self, item: ObjectInfo) -> memoryview | None:
        if self._stop.is_set():
            return None
        try:
            data = memoryview(self._target.get(item.key, 0, item.length))
            Layout(data).verify(data, self._store)
            return data
        except (Damaged, FormatError, NotFound) as error:
            _log.warning("%s is not used: %s", item.key, error)
            return None

    def _hold(self, key: str, data: memoryview, wanted: dict[bytes, PackRow]) -> None:
        names = [pack.uuid for pack in Layout(data).packs(data)]
        rows = {uuid: wanted[uuid] for uuid in names if uuid in wanted}
        if not rows:
            return
        held = HeldBundle(self._folder / key.rsplit("/", 1)[-1], data, rows)
        with self._lock:
            self._bundles.append(held)
        for uuid in rows:
            del wanted[uuid]

    def _from_rows(self, wanted: dict[bytes, PackRow]) -> None:
        rows = list(wanted.values())
        for start in range(0, len(rows), _PAGE):
            self._check()
            page = rows[start : start + _PAGE]
            footers = self._registry.footers([row.number for row in page])
            for row in page:
                if row.number in footers:
                    self._enter_one(row, footers[row.number], wanted)

    def _from_packs(self, wanted: dict[bytes, PackRow]) -> None:
        if len(wanted) > FEW:
            _log.info("the footers of %d packs are read from the packs themselves", len(wanted))
        for row in list(wanted.values()):
            self._check()
            self._enter_one(row, b"", wanted)

    def _enter_one(self, row: PackRow, footer: bytes, wanted: dict[bytes, PackRow]) -> None:
        try:
            self._tailing.enter(row, footer)
            self.records += row.blocks
        except (NotFound, Damaged) as error:
            _log.error("pack %d is not in the index: %s", row.number, error)
        self._entered += 1
        del wanted[row.uuid]

    def _enter(self, held: HeldBundle) -> None:
        bundle = held.read()
        for pack, row in self._needed(held):
            self._check()
            records = bundle.of(pack)
            self._catalog.index.write(row.uuid, PackMark(row.number, COMPLETE), entries(row.number, records))
            self._entered += 1
            self.records += pack.records

    @staticmethod
    def _needed(held: HeldBundle) -> Iterator[tuple[BundledPack, PackRow]]:
        for pack in held.packs:
            row = held.rows.get(pack.uuid)
            if row is not None:
                yield pack, row
