"""Engines whose packs go up whole, on one target and one set of rows: each with a directory of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from graviton_server.index.rocks import RocksIndex
from graviton_server.packs.recovery import RecoveryReport
from graviton_server.packs.staged_store import StagedPackStore
from graviton_server.targets.directory import DirectoryTarget
from graviton_server.targets.staged import MEMORY, StagedTarget
from gravitonfs.core.ids import PackNumber
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRow, PackState
from gravitonfs.ports.target import Target
from gravitonfs.testing.memory_registry import MemoryLoose, MemoryRegistry
from packs.rig import STORE


class Shared:
    """What all engines of a store share."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.registry = MemoryRegistry()
        self.loose = MemoryLoose()

    def rows(self, *states: PackState) -> list[PackRow]:
        return [row for row in self.registry.rows(limit=100_000) if row.state in states]

    def keys(self) -> set[str]:
        return {item.key for item in self.target.list("packs/")}


class StagedRig:
    """One engine; it polls others only when it is asked for something."""

    def __init__(
        self,
        shared: Shared,
        root: Path,
        *,
        owner: str = "engine-0",
        pack_size: int = 1 << 20,
        wrap: Callable[[Target], Target] = lambda target: target,
        poll_seconds: float = 3600.0,
        memory: int = MEMORY,
    ) -> None:
        self.memory = memory
        self.shared = shared
        self.root = root
        self.owner = owner
        self.pack_size = pack_size
        self.wrap = wrap
        self.poll_seconds = poll_seconds
        self.report = RecoveryReport()
        root.mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self) -> None:
        self.staged = StagedTarget(self.wrap(self.shared.target), self.root / "staging", self.memory)
        self.index = RocksIndex(self.root / "index")
        self.store = StagedPackStore(
            self.staged,
            self.index,
            self.shared.registry,
            self.shared.loose,
            store_uuid=STORE,
            owner=self.owner,
            folder=self.root / "footers",
            pack_size=self.pack_size,
            min_free=0,
            poll_seconds=self.poll_seconds,
        )
        self.report = self.store.recover()
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            try:
                self.store.close()
            finally:
                self.index.close()
                self.staged.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def after_kill(self, to: Path) -> StagedRig:
        """This engine, killed now, and started again from a copy of its directory. Rows and target are
        the same, so the old one is only good for being closed (which may fail) afterwards."""
        shutil.copytree(self.root, to, ignore=shutil.ignore_patterns("LOCK"))
        return StagedRig(self.shared, to, owner=self.owner, pack_size=self.pack_size)

    def stored(self, blocks: list[Block]) -> list[PackNumber]:
        packs = self.store.put(blocks)
        self.store.sync(packs)
        return packs

    def read(self, wanted: Block, hint: int = 0) -> bytes:
        return bytes(next(iter(self.store.get([(wanted.id, PackNumber(hint))]))))

    def staging_files(self) -> list[Path]:
        return sorted((self.root / "staging").iterdir())


def directory(path: Path) -> DirectoryTarget:
    return DirectoryTarget.make(path, STORE)
