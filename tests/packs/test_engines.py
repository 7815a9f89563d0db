"""Several engines on one store: what one has stored, the others read and deduplicate at once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.faulty import Faults, FaultyTarget
from harness.waiting import wait_until
from packs.rig import random_blocks
from packs.staged_rig import Shared, StagedRig, directory


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def shared(tmp_path: Path, faults: Faults) -> Iterator[Shared]:
    target = directory(tmp_path / "target")
    yield Shared(FaultyTarget(target, faults))
    target.close()


@pytest.fixture
def engines(shared: Shared, tmp_path: Path) -> Iterator[list[StagedRig]]:
    made = [StagedRig(shared, tmp_path / name, owner=name) for name in ("one", "two")]
    yield made
    for engine in made:
        engine.close()


def delete(shared: Shared, engine: StagedRig, packs: list[PackNumber]) -> None:
    """As that engine's collector does."""
    done = shared.registry.condemn(packs, shared.registry.clock_ns() + 10**15)
    assert done == packs
    engine.store.forget_packs(packs)
    for number in packs:
        assert shared.registry.deleting(number)
        engine.store.delete_pack(number)
        shared.registry.deleted(number)


def test_a_block_of_one_engine_is_read_and_deduplicated_by_another_at_once(
    engines: list[StagedRig], faults: Faults
) -> None:
    one, two = engines
    for _ in range(5):
        blocks = random_blocks(4, 50_000)
        packs = one.stored(blocks)
        before = two.store.counters().bytes_put
        assert two.store.put(blocks) == packs
        assert two.store.counters().bytes_put == before
        assert [two.read(block, pack) for block, pack in zip(blocks, packs, strict=True)] == [
            block.payload for block in blocks
        ]
    for with_hint in (True, False):
        blocks = random_blocks(4, 50_000)
        packs = one.stored(blocks)
        gets = faults.calls["get"] + faults.calls["head"]
        answers = two.store.get(
            [(b.id, pack if with_hint else PackNumber(0)) for b, pack in zip(blocks, packs, strict=True)]
        )
        assert [bytes(data) for data in answers] == [block.payload for block in blocks]
        assert faults.calls["get"] + faults.calls["head"] - gets <= 4  # no footer was fetched


def test_an_engine_keeps_up_by_itself(shared: Shared, tmp_path: Path) -> None:
    one = StagedRig(shared, tmp_path / "one", owner="one")
    two = StagedRig(shared, tmp_path / "two", owner="two", poll_seconds=0.01)
    blocks = random_blocks(4, 50_000)
    packs = one.stored(blocks)
    wait_until(
        lambda: two.store.missing([b.id for b in blocks]) == packs, "the other engine knows the blocks"
    )
    shared.registry.condemn(packs, shared.registry.clock_ns() + 10**15)  # deleted only after a while
    wait_until(lambda: two.store.missing([b.id for b in blocks]) == [0] * 4, "and that they are condemned")
    one.close()
    two.close()


def test_packs_that_never_were_live_are_no_news(
    engines: list[StagedRig], faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that ends gives up what it had prepared: others do not search their index for it."""
    one, two = engines
    one.store.put(random_blocks(1, 900_000))
    one.stored(random_blocks(1, 900_000))
    two.store._tailing.learn()
    swept: list[object] = []
    monkeypatch.setattr(two.index, "sweep", swept.append)
    one.close()
    before = faults.calls["get"] + faults.calls["head"]
    two.store._tailing.learn()
    assert swept == []
    assert faults.calls["get"] + faults.calls["head"] == before
    one.open()


def test_both_write_the_same_at_once(engines: list[StagedRig], shared: Shared) -> None:
    for _ in range(5):
        blocks = random_blocks(6, 40_000)
        with ThreadPoolExecutor(2) as pool:
            packs = list(pool.map(StagedRig.stored, engines, [blocks] * 2))
        live = {row.number for row in shared.registry.rows(limit=1000) if row.state is PackState.LIVE}
        for engine, theirs in zip(engines, packs, strict=True):
            assert set(theirs) <= live
            assert [engine.read(b, p) for b, p in zip(blocks, theirs, strict=True)] == [
                b.payload for b in blocks
            ]


def test_an_engine_that_was_away_learns_what_has_changed(engines: list[StagedRig], shared: Shared) -> None:
    one, two = engines
    kept, gone = random_blocks(4, 50_000), random_blocks(4, 50_000)
    kept_in = one.stored(kept)
    gone_from = one.stored(gone)
    assert two.read(gone[0]) == gone[0].payload
    two.close()
    delete(shared, one, sorted(set(gone_from)))
    late = random_blocks(4, 50_000)
    late_in = one.stored(late)
    two.open()
    assert two.store.filled(30)
    assert two.store.missing([b.id for b in kept + gone + late]) == [*kept_in, 0, 0, 0, 0, *late_in]
    assert all(two.read(b) == b.payload for b in kept + late)
    with pytest.raises(Damaged):
        two.read(gone[0], gone_from[0])


def test_a_copy_that_only_another_index_knows_is_found_before_it_counts_as_lost(
    engines: list[StagedRig], shared: Shared
) -> None:
    """Both had stored the same block; the collector of one keeps its own copy and deletes the other's."""
    one, two = engines
    block = random_blocks(1, 50_000)[0]
    twos = two.store.put([block])
    ones = one.stored([block])
    two.store.sync(twos)
    assert two.read(block) == block.payload
    delete(shared, one, twos)
    assert two.read(block, twos[0]) == block.payload
    assert two.store.missing([block.id]) in (ones, [0])


# --- an engine that knows nothing ---


def emptied(engine: StagedRig) -> None:
    engine.close()
    shutil.rmtree(engine.root)
    engine.root.mkdir()
    engine.open()


def many_packs(engine: StagedRig, count: int) -> list[tuple[Block, PackNumber]]:
    result = []
    for _ in range(count):
        blocks = random_blocks(3, 2000)
        result += list(zip(blocks, engine.stored(blocks), strict=True))
    return result


def test_an_empty_index_costs_few_requests(engines: list[StagedRig], shared: Shared, faults: Faults) -> None:
    one, two = engines
    stored = many_packs(one, 150)
    for engine in (two, two, one, one):  # what was read is told with the next question
        engine.store._tailing.learn()
    assert "150 packs bundled" in one.store.tend()
    assert shared.registry.footers([pack for _, pack in stored]) == {}  # their rows carry them no more
    many = many_packs(one, 10)  # and these are in no bundle
    before = sum(faults.calls.values())
    emptied(two)
    assert two.store.filled(30)
    assert sum(faults.calls.values()) - before <= 5
    wanted = stored + many
    assert two.store.missing([b.id for b, _ in wanted]) == [pack for _, pack in wanted]
    assert [bytes(d) for d in two.store.get([(b.id, PackNumber(0)) for b, _ in wanted])] == [
        b.payload for b, _ in wanted
    ]


def test_blocks_are_found_while_the_index_is_filled(
    engines: list[StagedRig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that no hint leads to: a file of drained loose blocks must not look lost."""
    one, two = engines
    stored = many_packs(one, 100)
    two.store._tailing.learn()
    one.store.tend()
    held = threading.Event()
    enter = type(two.store._filling)._enter
    monkeypatch.setattr(
        type(two.store._filling), "_enter", lambda self, bundle: (held.wait(30), enter(self, bundle))[1]
    )
    emptied(two)
    try:
        assert not two.store.filled(0)
        for block, pack in stored[::29]:
            assert two.read(block) == block.payload
            assert two.read(block, pack) == block.payload
    finally:
        held.set()
    assert two.store.filled(30)
    assert two.store.missing([b.id for b, _ in stored]) == [pack for _, pack in stored]


def test_a_target_that_fails_meanwhile_is_asked_again(
    engines: list[StagedRig], faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = engines
    stored = many_packs(one, 70)
    two.store._tailing.learn()
    one.store.tend()
    faults.fail("list", times=1)
    emptied(two)
    assert two.store.filled(30)
    assert two.store.missing([b.id for b, _ in stored]) == [pack for _, pack in stored]
    assert "tried again" in caplog.text


def test_bundles_that_are_lost_or_damaged_only_cost_requests(
    engines: list[StagedRig], shared: Shared, faults: Faults
) -> None:
    one, two = engines
    stored = many_packs(one, 70)
    for engine in (one, two, one):
        engine.store._tailing.learn()
    one.store.tend()
    faults.flip("get", bit=8 * 5000, times=1)
    emptied(two)
    assert two.store.filled(60)
    assert two.store.missing([b.id for b, _ in stored]) == [pack for _, pack in stored]
    for item in list(shared.target.list("footers/")):
        shared.target.delete(item.key)
    emptied(two)
    assert two.store.filled(60)
    assert two.store.missing([b.id for b, _ in stored]) == [pack for _, pack in stored]


def test_thin_bundles_are_merged_and_forget_packs_that_are_gone(
    engines: list[StagedRig], shared: Shared
) -> None:
    one, two = engines
    stored: list[tuple[Block, PackNumber]] = []
    for _ in range(9):
        stored += many_packs(one, 5)
        assert one.store._bundling.run(least=5) == 5
    assert len(list(shared.target.list("footers/"))) < 9
    delete(shared, one, sorted({pack for _, pack in stored[:60]}))
    emptied(two)
    assert two.store.filled(30)
    known = two.store.missing([b.id for b, _ in stored])
    assert known == [0] * 60 + [pack for _, pack in stored[60:]]


def test_the_index_can_be_rebuilt(engines: list[StagedRig]) -> None:
    one, _ = engines
    stored = many_packs(one, 40)
    told: list[tuple[int, int]] = []
    assert one.store.rebuild_index(lambda done, of: told.append((done, of))) == 120
    assert told[-1] == (40, 40)
    assert one.store.missing([b.id for b, _ in stored]) == [pack for _, pack in stored]
