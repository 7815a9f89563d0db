"""When a pack cannot be written: its blocks, still in memory, go into another one."""

from __future__ import annotations

import contextlib
import logging

from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import MAX_PACK, RECORD_HEADER
from graviton_server.packs.open_pack import OpenPack
from graviton_server.packs.unsealed import UnsealedPacks
from gravitonfs.errors import Damaged, GravitonError
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRegistry
from gravitonfs.ports.target import AppendTarget

_log = logging.getLogger(__name__)


class Rescue:
    """A pack's ``finishing`` lock keeps sealing and rescue apart."""

    def __init__(
        self, target: AppendTarget, registry: PackRegistry, catalog: Catalog, unsealed: UnsealedPacks
    ) -> None:
        self._target = target
        self._registry = registry
        self._catalog = catalog
        self._unsealed = unsealed

    def run(self, pack: OpenPack) -> OpenPack | None:
        """Store what is in a lost pack in one more, and abandon it, so that whoever relies on what it
        held loses nothing, and nobody begins to rely on it. Returns the new pack, to be sealed, or None
        when there is nothing to do. Raises while that does not work; nothing has changed then."""
        with pack.finishing:
            if self._unsealed.find(pack.number) is not pack:
                return None
            try:
                fresh = self._copy(pack)
                if fresh is None or len(fresh.records) == len(pack.records):
                    self._registry.abandon(pack.number)
            except GravitonError as error:
                _log.error("the blocks of pack %d are still in memory only: %s", pack.number, error)
                raise
            if fresh is None:
                self._unsealed.release(pack)
            else:
                self._catalog.note(fresh.entries(0, len(fresh.records)))
                self._unsealed.replace(pack, fresh)
            return fresh

    def _copy(self, pack: OpenPack) -> OpenPack | None:
        """A new pack with the same blocks, durable; nothing is left of it if that fails. What was durable
        in the lost one and cannot be read back stays where it is."""
        good = pack.durable_records()
        entries = pack.entries(0, len(pack.records))
        if not entries:
            return None
        fresh = self._unsealed.create()
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
