"""A target that is full: refused in time, nothing acknowledged is lost, usable again when there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gravitonfs.errors import NoSpace
from gravitonfs.ports.blocks import Block
from packs.rig import Rig, random_blocks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr!r}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(rig: Rig, *, sync: bool) -> list[tuple[Block, int]]:
    """Put until there is no space; what was acknowledged."""
    durable: list[tuple[Block, int]] = []
    for _ in range(400):
        blocks = random_blocks(2, 256 << 10)
        try:
            packs = rig.store.put(blocks)
            if sync:
                rig.store.sync(packs)
        except NoSpace:
            return durable
        durable += zip(blocks, packs, strict=True)
    raise AssertionError("200 MiB fit into 64")


def check(rig: Rig, durable: list[tuple[Block, int]]) -> None:
    for one, pack in durable:
        assert rig.read(one, pack) == one.payload


@pytest.mark.parametrize("reserve", [None, 0])
def test_a_full_target(small: Path, reserve: int | None) -> None:
    rig = Rig(small, min_free=reserve, pack_size=4 << 20)
    ballast = small / "ballast"
    ballast.write_bytes(bytes(20 << 20))
    durable = fill(rig, sync=True)
    assert len(durable) * (256 << 10) > 20 << 20
    check(rig, durable)
    if reserve is None:
        stat = os.statvfs(small)
        assert stat.f_bavail * stat.f_frsize > 2 << 20  # kept for the database
    assert len(fill(rig, sync=True)) < 10
    ballast.unlink()
    more = random_blocks(20, 256 << 10)
    packs = rig.store.put(more)
    rig.store.sync(packs)
    rig.store.barrier()
    durable += zip(more, packs, strict=True)
    check(rig, durable)
    rig.reopen()
    check(rig, durable)
    rig.close()


def test_what_was_put_always_fits(small: Path) -> None:
    """Bytes still in memory are counted: a put that was taken can be synced."""
    rig = Rig(small, min_free=0, pack_size=32 << 20)
    (small / "ballast").write_bytes(bytes(50 << 20))
    put = fill(rig, sync=False)
    rig.store.barrier()
    check(rig, put)
    rig.close()


def test_when_others_take_the_room_nothing_is_lost(small: Path) -> None:
    rig = Rig(small, min_free=0, pack_size=32 << 20)
    blocks = random_blocks(12, 256 << 10)
    put = list(zip(blocks, rig.store.put(blocks), strict=True))
    ballast = small / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 << 10))
    with pytest.raises(NoSpace):
        rig.store.barrier()
    check(rig, put)
    ballast.unlink()
    rig.store.barrier()
    left = rig.after_kill(small / "killed")
    check(left, put)
    left.close()
    rig.close()


def test_recovery_on_a_full_target_still_serves(small: Path) -> None:
    rig = Rig(small, min_free=0, pack_size=32 << 20)
    blocks = random_blocks(40, 256 << 10)
    packs = rig.store.put(blocks)
    rig.store.sync(packs)
    durable = list(zip(blocks, packs, strict=True))
    free = os.statvfs(small)
    left_place = small / "killed"
    (small / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - (13 << 20)))
    left = rig.after_kill(left_place)
    check(left, durable)
    (small / "ballast").unlink()
    left.reopen()
    assert left.report.sealed == 1
    check(left, durable)
    left.close()
    rig.close()
