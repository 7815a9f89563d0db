"""Which blocks the clients of a volume may name and read. A block's id is a capability (docs/adr/0033).

With ``dedupe-scope = volume``, and more than one volume, those are the blocks whose bytes a client has sent,
and those that it was told of as part of its volume's contents. Nothing is written down: what is forgotten
here, or was told by another daemon, is sent or asked for once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from blake3 import blake3

from gravitonfs.core.ids import BlockId, Ino
from gravitonfs.errors import NotFound
from gravitonfs.ports.ops import Batch
from gravitonfs.ports.store import SessionStore
from gravitonfs.ports.wire import STAMP

REMEMBERED: Final = 1 << 18
"""Blocks, about 90 bytes each: 64 GiB of average ones. Half of them go when it is full, the oldest."""
_UNSTAMPED: Final = bytes(STAMP)
_ROWS_FOR: Final = 1.0
"""Seconds for which it is not asked again which volumes there are."""


class Reach:
    """Thread-safe; ``_lock`` guards everything. ``whole_store``: everybody may name every block."""

    def __init__(self, sessions: SessionStore, *, whole_store: bool, remembered: int = REMEMBERED) -> None:
        self._sessions = sessions
        self._whole_store = whole_store
        self._half = remembered // 2
        self._lock = threading.Lock()
        self._young: set[tuple[Ino, bytes]] = set()
        self._old: set[tuple[Ino, bytes]] = set()
        self._roots: dict[str, Ino] = {}
        self._asked_at = float("-inf")

    def _bounded(self, volume: str) -> Ino | None:
        """The root of a volume whose clients do not see all blocks: names are given anew, roots never."""
        if self._whole_store:
            return None
        roots = self.volumes()
        if len(roots) == 1:
            return None
        found = roots.get(volume)
        if found is None:  # or it has just been made
            self._asked_at = float("-inf")
            found = self.volumes().get(volume)
        if found is None:
            raise NotFound(f"there is no volume {volume!r}")
        return found

    def volumes(self) -> dict[str, Ino]:
        """Their roots."""
        with self._lock:
            if time.monotonic() < self._asked_at + _ROWS_FOR:
                return self._roots
        roots = {row.name: row.root for row in self._sessions.volume_rows()}
        with self._lock:
            self._roots, self._asked_at = roots, time.monotonic()
        return roots

    def learn(self, volume: str, blocks: Iterable[BlockId]) -> None:
        """A client of the volume has sent these, or was told of them."""
        root = self._bounded(volume)
        if root is None:
            return
        with self._lock:
            self._young.update((root, block[:16]) for block in blocks)
            if len(self._young) > self._half:
                self._old, self._young = self._young, set()

    def unknown(self, volume: str, blocks: Sequence[BlockId]) -> set[BlockId]:
        """Those of them that the volume's clients may not name."""
        root = self._bounded(volume)
        if root is None:
            return set()
        with self._lock:
            keys = {block: (root, block[:16]) for block in blocks}
            known = {key for key in keys.values() if key in self._young or key in self._old}
            self._young |= known  # what is used is remembered longer
        return {block for block, key in keys.items() if key not in known}


class Stamps:
    """Prove that a daemon of this store has seen a batch before, and all that it names: a client that sends
    it again after a crash has its blocks' bytes no more."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake3(b"batches" + secret).digest()

    def of(self, session: int, batch: Batch, named: Iterable[BlockId]) -> bytes:
        blocks = sorted(named)
        if not blocks:
            return _UNSTAMPED
        head = session.to_bytes(8, "little") + batch.number.to_bytes(8, "little")
        return blake3(head + b"".join(blocks), key=self._key).digest(STAMP)
