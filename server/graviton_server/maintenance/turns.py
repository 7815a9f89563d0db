"""Whose turn it is: of several engines on one store, one collects, one tidies up.

All that is done is a conditional change anyway, so two at once would lose nothing: they would only do the
same work twice, and copy the same packs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from graviton_server.maintenance.work import Work
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.upkeep import HeldDump, Housekeeping

log = logging.getLogger(__name__)

LASTS: Final = 60.0
"""Seconds for which a turn, or a running dump, is believed without hearing of it again."""
_RENEWED: Final = 6
"""So many times while it lasts."""
_LOOK: Final = 0.5


class Alone:
    """Implements ``Housekeeping`` where one process has the store open: every turn is its own. What keeps
    its dumps' packs is reading the dumps."""

    def take_turn(self, what: str, seconds: float, rest: float = 0.0) -> bool:
        return True

    def end_turn(self, what: str) -> None:
        pass

    def begin_dump(self, owner: str, name: str, seconds: float) -> None:
        pass

    def renew_dump(self, owner: str, name: str, seconds: float) -> bool:
        return True

    def keep_dump(self, owner: str, name: str, packs: Sequence[PackNumber]) -> list[PackNumber]:
        return []

    def drop_dump(self, owner: str, name: str) -> None:
        pass

    def retire_dump(self, owner: str, name: str) -> None:
        pass

    def kept_dumps(self, owner: str) -> list[str]:
        return []

    def retired_dumps(self, owner: str) -> list[str]:
        return []

    def all_dumps(self) -> list[HeldDump]:
        return []

    def pinned_packs(self) -> frozenset[PackNumber]:
        return frozenset()

    def held_packs(self, but: tuple[str, str] | None = None) -> frozenset[PackNumber]:
        return frozenset()


@contextmanager
def turn(house: Housekeeping, what: str, work: Work, rest: float = 0.0) -> Iterator[bool]:
    """Is it ours? If so it stays ours until the end; ``work`` stops where that could not be kept up."""
    if not house.take_turn(what, LASTS, rest):
        yield False
        return
    try:
        with kept_up(lambda: house.take_turn(what, LASTS), work):
            yield True
    finally:
        try:
            house.end_turn(what)
        except GravitonError as error:
            log.info("the turn of %s ends by itself: %s", what, error)


@contextmanager
def own_turn(house: Housekeeping, what: str, work: Work) -> Iterator[None]:
    """Wait for it, as long as whoever asked does."""
    while True:
        with turn(house, what, work) as ours:
            if ours:
                yield
                return
        work.tell(0, 0, "waiting for another engine of this store")
        work.cancelled.wait(_LOOK)


@contextmanager
def kept_up(renew: Callable[[], bool], work: Work) -> Iterator[None]:
    """Says time and again that the work goes on; False from ``renew``: others think it has ended."""
    ended = threading.Event()

    def renewing() -> None:
        while not ended.wait(LASTS / _RENEWED):
            try:
                if not renew():
                    work.lose("others took over: this engine was not heard of for too long")
                    return
            except GravitonError as error:
                log.info("whose turn it is could not be told: %s", error)

    thread = threading.Thread(target=renewing, name="turn", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
