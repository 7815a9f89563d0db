"""What a sole session may add by itself where its volume has quotas, so that nothing it answered is refused.

Nobody else adds anything meanwhile, and whoever sets a quota takes the volume from its sole session first. So
what the fullest of all quotas leaves may be used up anywhere; what would be more, or would move something
from one quota to another, is left to the namespace. What is removed is not counted before it is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from gravitonfs.content.known_names import KnownNames
from gravitonfs.content.predicting import Predicted
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Room
from gravitonfs.ports.ops import Append, Attr, Batch, Clone, Create, Link, Publish, Rename, Truncate, Write

AGAIN: Final = 1.0
"""Seconds after which it is asked again, where there was too little."""


class Headroom:
    """``admits`` with the cache's lock held; all by one thread at a time."""

    def __init__(self, ask: Callable[[], Room | None]) -> None:
        self._ask = ask
        self._epoch = -1
        self._room: Room | None = None
        self._bytes = self._inodes = 0
        """Used of it since it was asked."""
        self._short = False
        self._asked = 0.0

    def admits(self, known: KnownNames, predicted: Predicted) -> bool:
        """Whether the batch may be answered: it counts as answered then."""
        if self._epoch != known.epoch:
            return False
        if self._room is None:
            return True
        size, inodes = self._bytes, self._inodes
        sizes: dict[Ino, int] = {}
        for op, result in zip(predicted.batch.ops, predicted.results, strict=True):
            if isinstance(op, Link) or (isinstance(op, Rename) and op.parent != op.new_parent):
                return False
            if isinstance(op, Create):
                inodes += 1
            elif isinstance(result, Attr):
                before = sizes.get(result.ino)
                if before is None:
                    attr = known.attr(result.ino)
                    before = attr.size if attr is not None else 0
                size += max(result.size - before, 0)
                sizes[result.ino] = result.size
        if self._more_than(self._room.free_bytes, size, self._bytes) or self._more_than(
            self._room.free_inodes, inodes, self._inodes
        ):
            self._short = True
            return False
        self._bytes, self._inodes = size, inodes
        return True

    @staticmethod
    def _more_than(free: int | None, wanted: int, used: int) -> bool:
        return free is not None and wanted > used and wanted > free

    def spend(self, known: KnownNames, batches: Sequence[Batch]) -> None:
        """These are about to be applied by the namespace itself: no more than this comes of them."""
        if self._room is None or self._epoch != known.epoch:
            return
        for batch in batches:
            for op in batch.ops:
                if isinstance(op, Create):
                    self._inodes += 1
                elif isinstance(op, Append):
                    self._bytes += op.length
                elif isinstance(op, Write | Truncate):
                    attr = known.attr(op.ino)
                    end = op.end if isinstance(op, Write) else op.size
                    self._bytes += max(end - (attr.size if attr is not None else 0), 0)
                elif isinstance(op, Clone | Publish | Rename):
                    self._epoch = -1  # it is asked again

    def refresh(self, known: KnownNames, settle: Callable[[], None]) -> None:
        """Ask, where it is not known; ``settle``: what was answered is applied when it returns."""
        now, epoch = time.monotonic(), known.epoch
        if epoch == self._epoch and not (self._short and now - self._asked > AGAIN):
            return
        try:
            settle()
            room = self._ask()
        except GravitonError:
            return  # and nothing is answered here for now
        self._asked = now
        self._epoch, self._room, self._short = epoch, room, False
        self._bytes = self._inodes = 0
