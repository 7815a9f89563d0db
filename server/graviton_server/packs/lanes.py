"""A lane: the place where puts of one sort go, one open pack after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor

from graviton_server.index import Entry, Location
from graviton_server.packs.open_pack import OpenPack
from gravitonfs.core.ids import NO_PACK
from gravitonfs.errors import GravitonError, NoSpace
from gravitonfs.ports.blocks import Block


class Lane:
    """``_turn`` is held while the next pack is opened, which talks to the database; a sync never takes
    it, so that the database may wait for a sync. ``_pack`` changes under it only."""

    def __init__(
        self,
        pack_size: int,
        open_pack: Callable[[], OpenPack],
        open_ahead: Callable[[], OpenPack | None],
        retire: Callable[[OpenPack], None],
        give_up: Callable[[OpenPack, GravitonError], None],
        note: Callable[[Iterable[Entry]], None],
        worker: Executor,
    ) -> None:
        self._pack_size = pack_size
        self._open_pack = open_pack
        self._open_ahead = open_ahead
        self._retire = retire
        self._give_up = give_up
        self._note = note
        self._worker = worker
        self._turn = threading.Lock()
        self._pack: OpenPack | None = None
        self._spare: OpenPack | None = None
        self._spare_for = NO_PACK

    def append(self, blocks: Sequence[Block]) -> list[Location]:
        """Store the blocks together in one pack."""
        while True:
            pack = self._pack
            if pack is not None:
                try:
                    locations = pack.append(blocks, self._pack_size, self._note)
                except NoSpace:
                    raise  # nothing was added
                except GravitonError as error:
                    self._give_up(pack, error)
                    raise
                if locations is not None:
                    if pack.length > self._pack_size * 3 // 4 and self._spare_for != pack.number:
                        self._spare_for = pack.number
                        self._worker.submit(self._prepare)
                    return locations
            self._advance(pack)

    def _advance(self, worn: OpenPack | None) -> None:
        with self._turn:
            if self._pack is not worn:
                return
            self._pack, self._spare = self._spare or self._open_pack(), None
        if worn is not None:
            self._retire(worn)

    def _prepare(self) -> None:
        """On the worker: have the next pack ready, so that nobody waits for it. An error is for those
        who need it then."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._spare is None and self._pack is not None:
                self._spare = self._open_ahead()
        except GravitonError:
            pass
        finally:
            self._turn.release()

    def take(self) -> OpenPack | None:
        """Let go of the pack that is being filled, for the caller to seal; the next put begins another."""
        with self._turn:
            pack = self._pack
            if pack is None or len(pack.records) == 0:
                return None
            self._pack = None
        pack.close()
        return pack

    def current(self) -> list[OpenPack]:
        return [pack for pack in (self._pack, self._spare) if pack is not None]

    def close(self) -> list[OpenPack]:
        """Stop; return the packs that are still open."""
        with self._turn:
            left = self.current()
            self._pack = self._spare = None
        for pack in left:
            pack.close()
        return left
