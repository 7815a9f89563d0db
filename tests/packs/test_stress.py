"""Everything at once: writers, readers, draining and compaction, on a target that fails now and then."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.faulty import Faults, FaultyTarget
from packs.rig import Rig, random_blocks


class Stress:
    """``lock`` guards ``durable``: the blocks that were acknowledged, with the hint that was answered."""

    def __init__(self, rig: Rig, faults: Faults, seconds: float) -> None:
        self.rig = rig
        self.faults = faults
        self.deadline = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.durable: list[tuple[Block, PackNumber]] = []
        self.errors: list[BaseException] = []

    def repeat(self, step: Callable[[], None]) -> None:
        try:
            while time.monotonic() < self.deadline and not self.errors:
                step()
        except BaseException as error:
            self.errors.append(error)
            raise

    def write(self) -> None:
        blocks = random_blocks(random.randrange(1, 12), random.choice([50, 4000, 70_000]))
        try:
            packs = self.rig.store.put(blocks)
            self.rig.store.sync(packs)
        except GravitonError:
            return
        with self.lock:
            self.durable += zip(blocks, packs, strict=True)

    def read(self) -> None:
        with self.lock:
            chosen = random.choices(self.durable, k=10) if self.durable else []
        answers = self.rig.store.get([(one.id, pack) for one, pack in chosen])
        assert [bytes(data) for data in answers] == [one.payload for one, _ in chosen]
        for one, pack in chosen[:2]:
            near = self.rig.store.near(one.id, pack, 100_000)
            assert bytes(near[0][1]) == one.payload
            cached = self.rig.store.get_cached(one.id, pack)
            assert cached is None or bytes(cached) == one.payload

    def drain(self) -> None:
        blocks = random_blocks(20, 500)
        self.rig.loose.add(blocks)
        with self.lock:
            self.durable += [(one, PackNumber(0)) for one in blocks]
        try:
            self.rig.store.drain_loose()
        except GravitonError:
            pass

    def commit(self) -> None:
        try:
            self.rig.store.presync()
            self.rig.store.barrier()
        except GravitonError:
            pass

    def compact(self) -> None:
        """As the collector does; every block that was acknowledged is alive."""
        registry, store = self.rig.registry, self.rig.store
        sealed = [row for row in registry.rows() if row.state is PackState.LIVE and row.length]
        if not sealed:
            return
        number = random.choice(sealed).number
        try:
            moved = store.relocate(number, {record.id for record in store.records(number)})
            assert moved.damaged == ()
            store.sync(moved.packs)
            rows = [registry.get(pack) for pack in moved.packs]
            if not all(row is not None and row.state is PackState.LIVE for row in rows):
                return  # a pack was lost on the way: the blocks are elsewhere by now, or nowhere durable
        except GravitonError:
            return
        registry.condemn([number], registry.clock_ns() + 1)
        store.forget_packs([number])
        if registry.deleting(number):
            store.delete_pack(number)
            registry.deleted(number)

    def disturb(self) -> None:
        method = random.choice(["append", "sync", "sync", "create", "space"])
        self.faults.fail(method, on=random.randrange(1, 20))
        threading.Event().wait(0.02)


def settled(rig: Rig) -> bool:
    """What was lost on the way has been stored elsewhere."""
    pause = threading.Event()
    for _ in range(500):
        try:
            rig.store.barrier()
        except GravitonError:
            pause.wait(0.01)
        else:
            return True
    return False


def run(root: Path, seconds: float) -> None:
    faults = Faults()
    rig = Rig(root, wrap=lambda target: FaultyTarget(target, faults), pack_size=400_000)
    stress = Stress(rig, faults, seconds)
    steps = [stress.write] * 3 + [stress.read] * 2
    steps += [stress.drain, stress.commit, stress.compact, stress.disturb]
    threads = [threading.Thread(target=stress.repeat, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not stress.errors
    faults.heal()
    assert settled(rig)
    killed = rig.after_kill(root / "killed")
    for one, pack in stress.durable:
        assert killed.read(one, pack) == one.payload
    killed.close()
    rig.reopen()
    for one, pack in stress.durable:
        assert rig.read(one, pack) == one.payload
    rig.close()


def test_everything_at_once(tmp_path: Path) -> None:
    run(tmp_path, 2.5)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_everything_at_once_for_a_while(tmp_path: Path) -> None:
    run(tmp_path, 60)
