"""The ports' suites, on the real implementations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.content.verify import VerifyingBlockStore
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.testing.blockstore_suite import BlockStoreSuite
from gravitonfs.testing.faulty import Faults, FaultyBlockStore, FaultyTarget
from gravitonfs.testing.target_suite import AppendTargetSuite
from packs.rig import STORE, Rig


@pytest.fixture
def append_target(tmp_path: Path) -> Iterator[DirectoryTarget]:
    made = DirectoryTarget.make(tmp_path / "target", STORE)
    yield made
    made.close()


@pytest.fixture
def target(append_target: DirectoryTarget) -> DirectoryTarget:
    return append_target


class TestDirectoryTarget(AppendTargetSuite):
    pass


class TestDirectoryTargetWithoutDirectWrites(AppendTargetSuite):
    @pytest.fixture
    def append_target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectoryTarget]:
        monkeypatch.setattr("os.O_DIRECT", 0o20000000 | 0o100000 | 0o200000)  # refused everywhere
        made = DirectoryTarget.make(tmp_path / "target", STORE)
        yield made
        made.close()


class TestFaultyTargetWithoutFaults(AppendTargetSuite):
    @pytest.fixture
    def append_target(self, tmp_path: Path) -> Iterator[FaultyTarget]:
        made = DirectoryTarget.make(tmp_path / "target", STORE)
        yield FaultyTarget(made, Faults())
        made.close()

    @pytest.fixture
    def target(self, append_target: FaultyTarget) -> FaultyTarget:
        return append_target


class TestPackStore(BlockStoreSuite):
    @pytest.fixture
    def store(self, rig: Rig) -> BlockStore:
        return rig.store


class TestPackStoreOfLargePacks(BlockStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[BlockStore]:
        rig = Rig(tmp_path, pack_size=32 << 20)
        yield rig.store
        rig.close()


class TestVerifyingBlockStore(BlockStoreSuite):
    @pytest.fixture
    def store(self, rig: Rig) -> BlockStore:
        return VerifyingBlockStore(rig.store, block_max=1 << 20)


class TestFaultyBlockStoreWithoutFaults(BlockStoreSuite):
    @pytest.fixture
    def store(self, rig: Rig) -> BlockStore:
        return FaultyBlockStore(rig.store, Faults())
