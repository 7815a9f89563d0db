"""Packs that go up whole: a sync closes, uploads and publishes them.

Order for one pack: row ``storing``, durable → footer and trailer, locally → the object on the target →
row ``live`` with the footer, durable → the index → the local file goes. Before ``live`` nothing can rely
on it, so the group commit has nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from graviton_server.index import COMPLETE, PackMark
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.open_pack import OpenPack
from graviton_server.packs.room import Room
from graviton_server.packs.staging import StagingTarget
from graviton_server.packs.unsealed import UnsealedPacks
from graviton_server.packs.writing import PackWriting
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError, NoSpace, Unavailable
from gravitonfs.ports.packs import PackRegistry

_CHUNK: Final = 10 << 20
"""A writer's segment stays together: what is read together comes in one request."""


class StagedWriting(PackWriting):
    def __init__(
        self,
        target: StagingTarget,
        registry: PackRegistry,
        catalog: Catalog,
        unsealed: UnsealedPacks,
        *,
        pack_size: int,
        reserve: int | None,
    ) -> None:
        super().__init__(
            target,
            registry,
            catalog,
            unsealed,
            pack_size=pack_size,
            reserve=reserve,
            workers=6,
            chunk=min(_CHUNK, pack_size // 3),
        )
        self._staging = target
        self._room = Room(target.name, target.staging_space, reserve, lambda: 0)
        self.stored: Callable[[], None] = lambda: None
        """Told when nothing waits for some pack any more."""

    def waiting(self, numbers: Sequence[PackNumber]) -> bool:
        """Whether a batch that names one of these packs must wait for ``sync``."""
        return any(self._unsealed.find(number) is not None for number in numbers)

    def sync(self, numbers: Iterable[PackNumber]) -> None:
        packs = [pack for number in set(numbers) if (pack := self._unsealed.find(number)) is not None]
        for pack in packs:
            pack.close()
        if not packs:
            return
        if self._closed:
            raise Unavailable("the pack store is closed")
        self.syncs += 1
        others = [self._worker.submit(self._tried, pack) for pack in packs[1:]]
        failed = [self._tried(packs[0]), *(one.result() for one in others)]
        for error in failed:
            if error is not None:
                raise error

    def _tried(self, pack: OpenPack) -> GravitonError | None:
        try:
            self._finish(pack)
        except GravitonError as error:
            return error
        return None

    def _finish(self, pack: OpenPack) -> None:
        if pack.lost:
            self._mend(pack)  # its blocks have another pack now: a batch that names this one is refused
        else:
            self.seal(pack)

    def sync_all(self) -> None:
        """Nothing relies on what is not on the target yet."""

    def _sync(self, pack: OpenPack) -> None:
        self._finish(pack)

    def _seal(self, pack: OpenPack) -> None:
        if pack.lost:
            raise Unavailable(f"pack {pack.number} could not be written; its blocks are being moved")
        if len(pack.records) == 0:
            self._registry.abandon(pack.number)
            self._unsealed.release(pack)
            return
        try:
            sealed = pack.seal()
        except NoSpace:
            raise
        except GravitonError as error:
            self._give_up(pack, error)
            raise
        self._staging.upload(pack.key)  # an error leaves all as it was: the next sync tries again
        if not self._registry.publish(pack.number, sealed.length, len(pack.records), sealed.footer):
            taken = Unavailable(
                f"pack {pack.number} was given up by a cleaner: this engine was taken for dead"
            )
            self._give_up(pack, taken)
            raise taken
        with pack.indexing:
            if not pack.forgotten:
                entries = pack.entries(0, len(pack.records))
                self._catalog.settle(pack.uuid, PackMark(pack.number, COMPLETE), entries)
        self._catalog.told(pack.number, pack.uuid, sealed.length, pack.records)
        self._unsealed.release(pack)
        self.stored()

    def close(self) -> None:
        """Upload what is left. What cannot go up stays in its file, for the next start."""
        for pack in self._unsealed.all():
            if len(pack.records):
                self._staging.keep(pack.key)
        super().close()
