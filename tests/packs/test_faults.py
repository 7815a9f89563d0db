"""Failing writes and flushes: nothing that was put is lost, nothing is acknowledged that is not durable."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.errors import GravitonError, NoSpace, Unavailable
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.faulty import Faults, FaultyTarget, full
from packs.rig import Rig, random_blocks


class Broken:
    """``os.fdatasync`` or ``os.pwrite`` that fails while ``failing``."""

    def __init__(self, real: Callable[..., object], code: int) -> None:
        self.real = real
        self.code = code
        self.failing = threading.Event()

    def __call__(self, *args: object) -> object:
        if self.failing.is_set():
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*args)


@pytest.fixture
def flush(monkeypatch: pytest.MonkeyPatch) -> Broken:
    broken = Broken(os.fdatasync, errno.EIO)
    monkeypatch.setattr("os.fdatasync", broken)
    return broken


def until(condition: Callable[[], bool]) -> None:
    """Poll, with a deadline: what is waited for happens on a thread of the store."""
    waited = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("it did not happen")


def test_blocks_of_a_pack_that_cannot_be_flushed_are_stored_elsewhere(rig: Rig, flush: Broken) -> None:
    early = random_blocks(3, 40_000)
    packs = rig.store.put(early)
    rig.store.sync(packs)
    late = random_blocks(3, 40_000)
    packs += rig.store.put(late)
    flush.failing.set()
    with pytest.raises(GravitonError):
        rig.store.sync(packs)
    for one in early + late:
        assert rig.read(one) == one.payload
    with pytest.raises(GravitonError):
        rig.store.barrier()  # a commit must not go through either
    flush.failing.clear()
    rig.store.sync(packs)
    rig.store.barrier()
    assert not set(rig.store.missing([one.id for one in early + late])) & {0, *packs}
    row = rig.registry.get(packs[0])
    assert row is not None
    assert row.state is PackState.ABANDONED  # a batch that relies on it is refused from now on
    left = rig.after_kill(rig.root / "killed")
    for one, pack in zip(early + late, packs, strict=True):
        assert left.read(one, pack) == one.payload
    left.close()


def test_a_single_failed_flush_is_mended_by_sync_itself(tmp_path: Path) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    faults.fail("sync")
    rig.store.sync(packs)
    rig.store.barrier()
    left = rig.after_kill(tmp_path / "killed")
    for one, pack in zip(blocks, packs, strict=True):
        assert left.read(one, pack) == one.payload
    left.close()
    rig.close()


def test_a_barrier_raises_until_the_lost_bytes_are_safe_and_then_no_more(tmp_path: Path) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    blocks = random_blocks(5, 40_000)
    packs = rig.store.put(blocks)
    faults.fail("sync")
    with pytest.raises(Unavailable):
        rig.store.barrier()

    def passes() -> bool:
        try:
            rig.store.barrier()
        except Unavailable:
            return False
        return True

    until(passes)
    left = rig.after_kill(tmp_path / "killed")
    for one, pack in zip(blocks, packs, strict=True):
        assert left.read(one, pack) == one.payload
    left.close()
    rig.close()


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_failed_append_stores_nothing_of_the_call(tmp_path: Path, call: int) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    first = random_blocks(2, 1000)
    packs = rig.store.put(first)
    second = random_blocks(30, 40_000)
    faults.fail("append", on=call)
    with pytest.raises(Unavailable):
        rig.store.put(second)
    packs += rig.store.put(second)
    rig.store.sync(packs)
    for one, pack in zip(first + second, packs, strict=True):
        assert rig.read(one, pack) == one.payload
    rig.reopen()
    for one, pack in zip(first + second, packs, strict=True):
        assert rig.read(one, pack) == one.payload
    rig.close()


def test_a_torn_append_is_skipped_by_recovery(tmp_path: Path) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    first = random_blocks(2, 1000)
    packs = rig.store.put(first)
    faults.cut("append", 1500)
    with pytest.raises(Unavailable):
        rig.store.put(random_blocks(3, 1000))
    third = random_blocks(2, 1000)
    packs += rig.store.put(third)
    rig.store.sync(packs)
    left = rig.after_kill(tmp_path / "killed")
    for one, pack in zip(first + third, packs, strict=True):
        assert left.read(one, pack) == one.payload
    for row in left.registry.rows():
        if row.state is PackState.LIVE and row.length:
            assert list(left.store.verify_pack(row.number)) == []
    left.close()
    rig.close()


def test_no_space_is_told_and_over_when_there_is_room(tmp_path: Path) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    blocks = random_blocks(2, 1000)
    packs = rig.store.put(blocks)
    faults.fail("sync", error=full, times=3)
    for _ in range(2):
        with pytest.raises(NoSpace):
            rig.store.sync(packs)
    with pytest.raises(NoSpace):
        rig.store.barrier()
    rig.store.sync(packs)
    assert rig.store.missing([one.id for one in blocks]) == packs  # the same pack goes on
    rig.close()


@pytest.mark.parametrize("method", ["create", "append", "sync", "head", "get", "put", "space"])
@pytest.mark.parametrize("on", [1, 2, 4])
def test_whatever_fails_once_loses_nothing_acknowledged(tmp_path: Path, method: str, on: int) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults), pack_size=200_000)
    faults.fail(method, on=on)
    durable = []
    for _ in range(12):
        blocks = random_blocks(3, 30_000)
        try:
            packs = rig.store.put(blocks)
            rig.store.sync(packs)
        except GravitonError:
            continue
        durable += list(zip(blocks, packs, strict=True))
    assert len(durable) >= 33
    faults.heal()
    left = rig.after_kill(tmp_path / "killed")
    for one, pack in durable:
        assert left.read(one, pack) == one.payload
    left.close()
    rig.reopen()
    for one, pack in durable:
        assert rig.read(one, pack) == one.payload
    rig.close()


def test_a_failing_medium_is_an_error_not_a_hang(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(os.pwrite, errno.EIO)
    monkeypatch.setattr("os.pwrite", broken)
    blocks = random_blocks(40, 1 << 20)
    first = rig.store.put(blocks[:1])
    broken.failing.set()
    refused = 0
    for one in blocks[1:]:
        try:
            rig.store.sync(rig.store.put([one]))
        except GravitonError:
            refused += 1
    assert refused == 39
    broken.failing.clear()
    packs = rig.store.put(blocks)
    rig.store.sync(first + packs)
    for one, pack in zip(blocks, packs, strict=True):
        assert rig.read(one, pack) == one.payload


def test_flipped_bits_on_the_way_in_are_never_handed_out(tmp_path: Path) -> None:
    faults = Faults()
    rig = Rig(tmp_path, wrap=lambda target: FaultyTarget(target, faults))
    blocks = random_blocks(4, 10_000)
    packs = rig.store.put(blocks)
    rig.store.sync(packs)
    wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
    faults.flip("get", bit=8 * 10_500)  # the second block; the second read of it is good
    assert [bytes(data) for data in rig.store.get(wanted)] == [one.payload for one in blocks]
    faults.flip("read_cached", bit=99)
    assert rig.store.get_cached(*wanted[0]) is None
    rig.close()


def test_closing_does_not_touch_what_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while a sealed pack was closed left its last sector's padding behind the trailer."""
    target = DirectoryTarget.make(tmp_path, bytes(16))
    file = target.create("packs/00/one.pack")
    file.append([os.urandom(5000)])
    file.sync()

    def written(*_: object) -> int:
        raise AssertionError("the file is changed")

    monkeypatch.setattr("os.pwrite", written)
    monkeypatch.setattr("os.ftruncate", written)
    file.close()
    assert (tmp_path / "packs" / "00" / "one.pack").stat().st_size == 5000
    target.close()
