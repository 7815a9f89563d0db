"""Real parts put together for tests: what wiring does, with rows in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from graviton_server.index.rocks import RocksIndex
from graviton_server.packs.recovery import RecoveryReport
from graviton_server.packs.store import PackStore
from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.core.codec import encode
from gravitonfs.core.hashing import block_id
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.target import AppendTarget
from gravitonfs.testing.memory_registry import MemoryLoose, MemoryRegistry

STORE = bytes(range(16))


def block(plain: bytes, level: int | None = None) -> Block:
    codec, payload = (0, plain) if level is None else encode(plain, level)
    return Block(block_id(plain), codec, len(plain), payload)


def random_blocks(count: int, size: int) -> list[Block]:
    return [block(os.urandom(size)) for _ in range(count)]


def copy_registry(registry: MemoryRegistry) -> MemoryRegistry:
    result = MemoryRegistry()
    result.load(registry.rows(limit=1_000_000))
    return result


def copy_loose(loose: MemoryLoose) -> MemoryLoose:
    result = MemoryLoose()
    result.add(loose.loose_page(1 << 40))
    return result


class Rig:
    """``store`` is open between ``open`` and ``close``;
    ``after_kill`` opens what a kill would leave."""

    def __init__(
        self,
        root: Path,
        *,
        pack_size: int = 1 << 20,
        wrap: Callable[[AppendTarget], AppendTarget] = lambda target: target,
        min_free: int | None = 0,
        registry: MemoryRegistry | None = None,
        loose: MemoryLoose | None = None,
    ) -> None:
        self.root = root
        self.pack_size = pack_size
        self.wrap = wrap
        self.min_free = min_free
        self.registry = registry or MemoryRegistry()
        self.loose = loose or MemoryLoose()
        self.report = RecoveryReport()
        DirectoryTarget.make(root / "target", STORE).close()
        self.open()

    def open(self) -> None:
        self.target = DirectoryTarget(self.root / "target", "local", STORE)
        self.index = RocksIndex(self.root / "index")
        self.store = PackStore(
            self.wrap(self.target),
            self.index,
            self.registry,
            self.loose,
            store_uuid=STORE,
            owner="engine-0",
            pack_size=self.pack_size,
            min_free=self.min_free,
        )
        self.report = self.store.recover()
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.store.close()
            self.index.close()
            self.target.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def after_kill(self, to: Path) -> Rig:
        """What a kill of this process, now, would leave, opened from a copy; rows as they are now.

        Copied again where a pack was sealed or moved in the background meanwhile: that is no one moment."""
        while True:
            rows = self._rows()
            with contextlib.suppress(FileNotFoundError, shutil.Error):
                shutil.copytree(self.root / "target", to / "target")
                shutil.copytree(self.root / "index", to / "index", ignore=shutil.ignore_patterns("LOCK"))
                if rows == self._rows():
                    break
            shutil.rmtree(to)
        return Rig(
            to,
            pack_size=self.pack_size,
            min_free=self.min_free,
            registry=copy_registry(self.registry),
            loose=copy_loose(self.loose),
        )

    def _rows(self) -> object:
        return self.registry.rows(limit=1_000_000), [block.id for block in self.loose.loose_page(1 << 40)]

    def read(self, wanted: Block, hint: int = 0) -> bytes:
        return bytes(next(iter(self.store.get([(wanted.id, hint)]))))  # type: ignore[list-item]

    def pack_files(self) -> list[Path]:
        return sorted((self.root / "target" / "packs").rglob("*.pack"))
