"""The block store's conformance suite on a router over two daemons, each a process of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.store import NamespaceStore
from graviton_server.replication.settings import Settings
from graviton_server.wiring import EngineOptions, TargetEngine
from graviton_server.wiring.replicated import open_replicated, save_rows, save_settings
from graviton_server.wiring.targets import SHARD, Location, new_row
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.replicas import CopyState
from gravitonfs.testing.blockstore_suite import BlockStoreSuite, raw, read_all
from harness.places import make_scratch
from replication.rig import AT_ONCE
from rpc.running import Daemon, daemon

_numbers = itertools.count()


@pytest.fixture(scope="module")
def daemons() -> Iterator[list[tuple[Path, Daemon]]]:
    home = make_scratch()
    one, two = home / "one", home / "two"
    for path in (one, two):
        path.mkdir()
    with daemon(one / "data", one) as first, daemon(two / "data", two) as second:
        yield [(one / "data", first), (two / "data", second)]


@pytest.fixture
def router(daemons: list[tuple[Path, Daemon]], scratch: Path) -> Iterator[TargetEngine]:
    """Shards have one router for good: so each test has the same, with names of its own."""
    uuid = b"router of tests."
    NamespaceStore.create(scratch / "names.db", VolumeFormat(), uuid)
    names = NamespaceStore.open(scratch / "names.db")
    for number, (_, running) in enumerate(daemons):
        place = Location(address=f"graviton://127.0.0.1:{running.port}")
        save_rows(names, [new_row(f"s{number}", SHARD, place)])
    save_settings(names, Settings())
    options = EngineOptions(background=False, maintenance=AT_ONCE, pack_size=1 << 20)
    with open_replicated(names, scratch, options, shared=False) as engine:
        yield engine


class TestShardedBlockStore(BlockStoreSuite):
    @pytest.fixture
    def store(self, router: TargetEngine) -> BlockStore:
        return router.store


def test_packs_are_spread_and_come_back(router: TargetEngine, daemons: list[tuple[Path, Daemon]]) -> None:
    def stored() -> list[int]:
        return [len(list((data / "packs").rglob("*.pack"))) for data, _ in daemons]

    before = stored()
    blocks = [raw(os.urandom(400_000)) for _ in range(40)]
    packs = []
    for block in blocks:
        packs += router.store.put([block])
    router.store.sync(packs)
    assert all(now > then for now, then in zip(stored(), before, strict=True))
    assert router.store.missing([block.id for block in blocks]) == packs
    found = router.store.get([(block.id, pack) for block, pack in zip(blocks, packs, strict=True)])
    assert [bytes(data) for data in found] == [bytes(block.payload) for block in blocks]
    tallies = router.namespace_store.replicas.tally()
    assert {tally.state for tally in tallies} == {CopyState.STORED}
    assert len(tallies) == 2


def test_a_pack_that_its_shard_has_healed_is_good_again(
    router: TargetEngine, daemons: list[tuple[Path, Daemon]]
) -> None:
    block = raw(os.urandom(700_000))
    packs = router.store.put([block])
    router.store.sync(packs)
    row = router.namespace_store.packs.get(packs[0])
    assert row is not None
    payload = bytes(block.payload)
    files = [path for data, _ in daemons for path in (data / "packs").rglob("*.pack")]
    [path] = [path for path in files if payload in path.read_bytes()]
    good = path.read_bytes()
    at = good.index(payload) + 1000
    path.write_bytes(good[:at] + bytes(50) + good[at + 50 :])
    assert router.replication is not None
    checked = router.replication.repair.check_copies(row.uuid, row.length)
    assert checked.good == 0
    assert "is not what was stored" in checked.faults[0][1]
    assert router.replication.unhealthy() == 1
    path.write_bytes(good)
    done = router.replication.round()
    assert (done.made, done.bytes, done.failed) == (1, 0, 0)
    states = {copy.state for copy in router.namespace_store.replicas.copies(row.uuid)}
    assert states == {CopyState.STORED}
    assert read_all(router.store, [block], packs) == [payload]
