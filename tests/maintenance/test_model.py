"""Hypothesis drives a volume and its maintenance against a plain dictionary."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from graviton_server.control.restoring import restore
from graviton_server.maintenance.collect import give_up
from graviton_server.maintenance.mark import Mark
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.work import Work
from gravitonfs.content.ingest import Piece, Stored
from gravitonfs.core.snapshots import DIRECTORY
from gravitonfs.errors import MissingBlocks
from gravitonfs.ports.ops import Write
from gravitonfs.ports.packs import PackState
from harness.places import make_scratch
from maintenance.rig import Rig, noise

NAMES = [f"n{number}" for number in range(6)]
SEEDS = st.integers(0, 5)
SIZES = st.sampled_from([0, 1, 5_000, 70_000, 300_000, 1_200_000, 3_000_000])


class VolumeMachine(RuleBasedStateMachine):
    """``held`` and ``stored``: blocks that a writer has looked up or put, and not named yet. ``mark``:
    one that was made some steps ago, as if collection were slow."""

    def __init__(self) -> None:
        super().__init__()
        self.home: Path = make_scratch()
        self.files: dict[str, bytes] = {}
        self.kept: dict[str, dict[str, bytes]] = {}
        self.snapshots = 0
        self.held: tuple[bytes, list[Piece]] | None = None
        self.stored: Stored | None = None
        self.mark: Mark | None = None
        self.rig = Rig(self.home / "data")

    @rule(name=st.sampled_from(NAMES), seed=SEEDS, size=SIZES)
    def put(self, name: str, seed: int, size: int) -> None:
        data = noise(size, seed)
        self.rig.put(name, data)
        self.files[name] = data

    @rule(name=st.sampled_from(NAMES), copy=st.sampled_from(NAMES))
    def clone(self, name: str, copy: str) -> None:
        if name in self.files and copy not in self.files:
            self.rig.clone(name, copy)
            self.files[copy] = self.files[name]

    @rule(name=st.sampled_from(NAMES), at=st.integers(0, 3_000_000), seed=SEEDS, durable=st.booleans())
    def patch(self, name: str, at: int, seed: int, durable: bool) -> None:
        if name not in self.files:
            return
        patch = noise(3_000, 100 + seed)
        self.rig.patch(name, at, patch, durable=durable)
        data = bytearray(self.files[name])
        data.extend(bytes(max(0, at + len(patch) - len(data))))
        data[at : at + len(patch)] = patch
        self.files[name] = bytes(data)

    @rule(name=st.sampled_from(NAMES))
    def unlink(self, name: str) -> None:
        if name in self.files:
            self.rig.unlink(name)
            del self.files[name]

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def snapshot(self) -> None:
        self.snapshots += 1
        name = f"s{self.snapshots}"
        self.rig.engine.namespace_store.create_snapshot("main", name)
        self.kept[name] = dict(self.files)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.kept)))
        self.rig.engine.namespace_store.delete_snapshot("main", name)
        del self.kept[name]

    @precondition(lambda self: self.kept and self.files)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def bring_back(self, data: st.DataObject, name: str) -> None:
        snapshot = data.draw(st.sampled_from(sorted(self.kept)))
        if name in self.kept[snapshot]:
            path = f"/{name}".encode()
            restore(self.rig.volume, snapshot, path, None, force=True, check=lambda files: None)
            self.files[name] = self.kept[snapshot][name]

    @rule(seed=SEEDS)
    def begin_write(self, seed: int) -> None:
        """A writer cuts, asks and puts; the batch comes later."""
        data = noise(1_200_000, seed)
        ingest = self.rig.volume.ingest
        lengths = ingest.chunker().cut(memoryview(data), final=True)
        self.held = (data, ingest.hash_pieces(0, memoryview(data), lengths))
        self.stored = ingest.store_pieces(self.held[1])

    @rule(name=st.sampled_from(NAMES))
    def finish_write(self, name: str) -> None:
        """The batch names what was stored then; where that went away it is stored again."""
        if self.held is None or self.stored is None or name in self.files:
            return
        data, pieces = self.held
        ingest, attr = self.rig.volume.ingest, self.rig.create(name)
        try:
            ingest.apply(self.stored, (Write(attr.ino, self.stored.extents, len(data)),), durable=False)
        except MissingBlocks as refusal:
            self.rig.engine.store.forget_packs(list(refusal.packs))
            ingest.commit_pieces(pieces, lambda extents: (Write(attr.ino, extents, len(data)),))
        self.files[name] = data

    @rule()
    def begin_collection(self) -> None:
        self.rig.engine.namespace_store.upkeep.reap(10_000)
        self.mark = mark_live(self.rig.stores, Work())

    @rule()
    def finish_collection(self) -> None:
        """Condemn by a mark that is as old as it is."""
        if self.mark is not None:
            dead = [number for number, pack in self.mark.packs.items() if not pack.live]
            give_up(self.rig.stores, dead, self.mark, Work())
            self.mark = None

    @rule()
    def collect(self) -> None:
        assert self.rig.maintenance.collect().missing == 0
        self.mark = None

    @rule()
    def drain(self) -> None:
        self.rig.engine.store.drain_loose()

    @rule()
    def seal(self) -> None:
        self.rig.engine.store.seal_open()

    @rule()
    def settle(self) -> None:
        assert self.rig.maintenance.settle(60)
        self.mark = None

    @rule()
    def rebuild_index(self) -> None:
        assert self.rig.maintenance.check(rebuild_index=True).clean

    @rule()
    def reopen(self) -> None:
        self.mark = None
        self.held = None
        self.rig.reopen()

    @invariant()
    def every_file_reads_back(self) -> None:
        assert sorted(self.rig.names()) == sorted(self.files)
        for name, data in self.files.items():
            assert self.rig.read_cold(name) == data

    @invariant()
    def every_snapshot_reads_back(self) -> None:
        for name, files in self.kept.items():
            past = self.rig.volume.namespace.resolve([DIRECTORY, name.encode()])[-1]
            entries = self.rig.volume.namespace.entries(past.ino, None, 100)
            assert sorted(entry.name.decode() for entry in entries) == sorted(files)
            for entry in entries:
                self.rig.engine.content.cache.clear()
                data = bytes(self.rig.volume.reader(entry.attr).read(0, entry.attr.size))
                assert data == files[entry.name.decode()]

    @invariant()
    def packs_that_files_name_are_live(self) -> None:
        mark = mark_live(self.rig.stores, Work())
        assert not mark.missing
        assert not mark.short
        rows = self.rig.engine.namespace_store.packs.rows()
        assert Counter(row.state for row in rows)[PackState.STORING] == 0

    def teardown(self) -> None:
        try:
            self.rig.assert_sound()
            for name in self.kept:
                self.rig.engine.namespace_store.delete_snapshot("main", name)
            for name in self.files:
                self.rig.unlink(name)
            self.rig.maintenance.collect()
            self.rig.maintenance.collect()
            assert self.rig.engine.namespace_store.upkeep.reap(10_000) == 0
            assert list(self.rig.engine.namespace_store.upkeep.extent_rows()) == []
        finally:
            self.rig.close()
            shutil.rmtree(self.home)


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


TestVolume = VolumeMachine.TestCase
TestVolume.settings = _settings(10)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_volume_for_long() -> None:
    run_state_machine_as_test(VolumeMachine, settings=_settings(400))
