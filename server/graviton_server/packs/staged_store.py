"""The block store of an engine whose packs go up whole, among other engines on the same store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from graviton_server.index import BlockIndex
from graviton_server.packs.bundling import Bundling
from graviton_server.packs.filling import IndexFilling
from graviton_server.packs.recovery import RecoveryReport
from graviton_server.packs.staged_recovery import StagedRecovery
from graviton_server.packs.staged_writing import StagedWriting
from graviton_server.packs.staging import StagingTarget
from graviton_server.packs.store import FOOTER_BYTES, PACK_SIZE, PackStore
from graviton_server.packs.tailing import Tailing
from gravitonfs.core.ids import PackNumber
from gravitonfs.ports.packs import LooseBlocks, PackRegistry, PackState

_log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
DEAD_NS: Final = 5 * 60 * 10**9
"""An engine that was silent for so long has no transaction open any more."""


class StagedPackStore(PackStore):
    """As ``PackStore``, with two differences to those who use it: a batch, durable or not, must ``sync``
    the packs that it names while they are ``waiting``; and what others store is found, too.

    ``_stop`` ends the thread that keeps up with other engines; ``folder`` is this engine's own.
    """

    _begin_as = PackState.STORING

    def __init__(
        self,
        target: StagingTarget,
        index: BlockIndex,
        registry: PackRegistry,
        loose: LooseBlocks,
        *,
        store_uuid: bytes,
        owner: str,
        folder: Path,
        pack_size: int = PACK_SIZE,
        min_free: int | None = None,
        block_key: bytes = b"",
        footer_bytes: int = FOOTER_BYTES,
        poll_seconds: float = POLL_SECONDS,
        sweep: Callable[[], object] | None = None,
    ) -> None:
        """``sweep``: removes what uploads of dead processes have left on the target."""
        self._staging = target
        super().__init__(
            target,
            index,
            registry,
            loose,
            store_uuid=store_uuid,
            owner=owner,
            pack_size=pack_size,
            min_free=min_free,
            block_key=block_key,
            footer_bytes=footer_bytes,
        )
        self._sweep = sweep
        self._poll_seconds = poll_seconds
        self._tailing = Tailing(registry, self._catalog, owner)
        self._bundling = Bundling(target, registry, self._catalog, store_uuid)
        self._filling = IndexFilling(target, registry, self._catalog, self._tailing, store_uuid, folder)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _new_writing(self, pack_size: int, reserve: int | None) -> StagedWriting:
        self._staged = StagedWriting(
            self._staging,
            self._registry,
            self._catalog,
            self._unsealed,
            pack_size=pack_size,
            reserve=reserve,
        )
        return self._staged

    def waiting(self, packs: Sequence[PackNumber]) -> bool:
        """Whether a batch that names these packs must wait for ``sync`` first."""
        return self._staged.waiting(packs)

    def when_stored(self, tell: Callable[[], None]) -> None:
        """``tell``: called from now on whenever a pack was stored, in the middle of a call that needs it."""
        before = self._staged.stored

        def both() -> None:
            before()
            tell()

        self._staged.stored = both

    # --- starting and stopping ---

    def _recovery(self) -> StagedRecovery:
        return StagedRecovery(
            self._staging,
            self._index,
            self._registry,
            self._catalog,
            owner=self._owner,
            block_key=self._block_key,
        )

    def recover(self) -> RecoveryReport:
        """Short, however large the store is: what the index lacks is read in the background, and until
        then blocks are found by hints and by the footers themselves."""
        self._tailing.enroll()
        self._catalog.learn = self._tailing.learn
        recovery = self._recovery()
        report = recovery.run()
        self._catalog.behind = self._filling.find
        self._filling.start(recovery.unindexed, recovery.stale)
        self._thread = threading.Thread(target=self._keep_up, name="pack-tail", daemon=True)
        self._thread.start()
        return report

    def _keep_up(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self._tailing.learn()
            except Exception:  # noqa: BLE001  # without this thread the engine would be taken for dead
                _log.exception("keeping up with other engines failed")

    def filled(self, timeout: float | None = None) -> bool:
        """Wait until the index covers all packs there were at the start; False when that took longer."""
        return self._filling.wait(timeout)

    def rebuild_index(self, progress: Callable[[int, int], None] | None = None) -> int:
        """From what the target has, as at a start with an empty index; waits until it is done."""
        self._filling.stop()
        self._index.clear()
        recovery = self._recovery()
        rows = [row for row in recovery.rows() if row.state is PackState.LIVE and row.length]
        self._filling.start(rows, {})
        while not self._filling.wait(0.2):
            if progress is not None:
                progress(*self._filling.progress())
        if progress is not None:
            progress(len(rows), len(rows))
        return self._filling.records + self._writing.reindex()

    def tend(self) -> str:
        """Now and then, by one engine at a time: give up what dead engines had begun, bundle footers, sweep
        up unfinished uploads. A sentence on what was done, empty for nothing."""
        dead = self._registry.abandon_dead(DEAD_NS)
        bundled = self._bundling.run() if self._filling.wait(0) else 0
        if self._sweep is not None:
            self._sweep()
        parts = [f"{len(dead)} packs of dead engines given up"] if dead else []
        if bundled:
            parts.append(f"footers of {bundled} packs bundled")
        return ", ".join(parts)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._filling.stop()
        try:
            super().close()
        finally:
            self._tailing.leave()
