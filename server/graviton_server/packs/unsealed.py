"""The packs that are being written: begun, found, and let go when they are sealed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import new_uuid
from graviton_server.packs.open_pack import OpenPack
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError, Unavailable
from gravitonfs.ports.packs import PackRegistry, PackState
from gravitonfs.ports.target import AppendTarget

UNSEALED: Final = 8
"""Packs begun and not sealed yet, at most: each has up to four windows of memory."""
_WAIT: Final = 20.0
_LOOK: Final = 0.5


class UnsealedPacks:
    """``_lock`` guards ``_packs``; ``_slots`` bounds their number.

    Nobody calls the registry while holding a lock that a sync takes: the database calls that with its
    own gate closed.
    """

    def __init__(
        self,
        target: AppendTarget,
        registry: PackRegistry,
        catalog: Catalog,
        *,
        store_uuid: bytes,
        owner: str,
        begin_as: PackState = PackState.LIVE,
    ) -> None:
        """``begin_as``: the state of a new pack's row."""
        self._target = target
        self._registry = registry
        self._catalog = catalog
        self._store = store_uuid
        self._owner = owner
        self._begin_as = begin_as
        self._lock = threading.Lock()
        self._packs: dict[PackNumber, OpenPack] = {}
        self._slots = threading.Semaphore(UNSEALED)

    def begin(self, help_along: Callable[[], None]) -> OpenPack:
        """The next pack. ``help_along`` is called while there is no slot, and may say why there is none."""
        deadline = time.monotonic() + _WAIT
        while True:
            help_along()
            if self._slots.acquire(timeout=_LOOK):
                return self._begin()
            if time.monotonic() > deadline:
                raise Unavailable(f"the target {self._target.name} does not keep up: packs stay unfinished")

    def begin_ahead(self) -> OpenPack | None:
        """As ``begin``, on a worker that sealing needs: never waits."""
        return self._begin() if self._slots.acquire(blocking=False) else None

    def _begin(self) -> OpenPack:
        try:
            pack = self.create()
        except BaseException:
            self._slots.release()
            raise
        with self._lock:
            self._packs[pack.number] = pack
        return pack

    def create(self) -> OpenPack:
        """A pack with its row and its mark, which nobody else knows yet."""
        uuid = new_uuid()
        number = self._registry.begin(uuid, self._owner, self._begin_as)
        self._catalog.expect(number, uuid)
        try:
            return OpenPack(number, uuid, self._store, self._target)
        except GravitonError:
            self._registry.abandon(number)
            raise

    def all(self) -> list[OpenPack]:
        with self._lock:
            return list(self._packs.values())

    def find(self, number: PackNumber) -> OpenPack | None:
        return self._packs.get(number)

    def pending(self) -> int:
        """Bytes that may not take space in the target yet."""
        return sum(pack.length - pack.durable for pack in self.all())

    def replace(self, old: OpenPack, new: OpenPack) -> None:
        """``new`` takes the place of ``old``, and its slot."""
        with self._lock:
            del self._packs[old.number]
            self._packs[new.number] = new
        old.file.close()

    def release(self, pack: OpenPack) -> None:
        """Sealed, or given up: from now on it is read through the target."""
        with self._lock:
            if self._packs.pop(pack.number, None) is None:
                return
        self._slots.release()
        pack.file.close()
