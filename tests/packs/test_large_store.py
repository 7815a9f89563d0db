"""An engine that knows nothing, on a large store: it answers at once, without a request for each pack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from graviton_server.packs.bundle import encode_bundle, new_key
from graviton_server.packs.format import RECORD_HEADER, Records, new_uuid
from graviton_server.targets.s3 import S3Target
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRow, PackState
from gravitonfs.ports.target import Target
from harness.buckets import settings
from harness.s3server import S3Server
from packs.rig import STORE, random_blocks
from packs.staged_rig import Shared, StagedRig

BLOCKS_IN_PACK = 128
STORED = 256 << 10


def generated_records() -> Records:
    records = Records()
    at = 72
    ids = os.urandom(32 * BLOCKS_IN_PACK)
    for number in range(BLOCKS_IN_PACK):
        records.add(BlockId(ids[32 * number : 32 * number + 32]), at, STORED, STORED, 0)
        at += RECORD_HEADER + STORED
    return records


def generate(shared: Shared, count: int) -> BlockId:
    """Rows and bundles as of a store of ``count`` blocks more; one of them. The packs are not there."""
    rows = shared.registry.rows(limit=1000)
    number = max(row.number for row in rows)
    packs: list[tuple[bytes, int, Records]] = []
    for at in range(count // BLOCKS_IN_PACK):
        number += 1
        uuid, records = new_uuid(), generated_records()
        length = records.end(BLOCKS_IN_PACK - 1) + 5000
        rows.append(
            PackRow(PackNumber(number), uuid, PackState.LIVE, "gone", length, BLOCKS_IN_PACK, at, at, at)
        )
        packs.append((uuid, length, records))
        if len(packs) == 1024:
            put(shared, packs)
            packs = []
    put(shared, packs)
    shared.registry.load(rows)
    return records.id(77)


def put(shared: Shared, packs: list[tuple[bytes, int, Records]]) -> None:
    data = encode_bundle(STORE, packs)
    shared.target.put(new_key(), BytesIO(data), len(data))


def answers(target: Target, tmp_path: Path, count: int, requests: int) -> None:
    shared = Shared(target)
    one = StagedRig(shared, tmp_path / "one", owner="one")
    real: list[Block] = random_blocks(70 * 2, 2000)
    packs: list[PackNumber] = []
    for start in range(0, len(real), 2):
        packs += one.stored(real[start : start + 2])
    for _ in range(3):
        one.store._tailing.learn()
    one.store.tend()
    one.close()
    somewhere = generate(shared, count)
    before = sent(target)
    began = time.perf_counter()
    two = StagedRig(shared, tmp_path / "two", owner="two")
    assert two.read(real[0], packs[0]) == real[0].payload
    by_hint = time.perf_counter() - began
    assert two.read(real[80]) == real[80].payload  # no hint: a file of drained loose blocks
    without_hint = time.perf_counter() - began
    print(f"\n{count} blocks: by hint after {by_hint:.2f} s, without after {without_hint:.2f} s", end="")
    assert without_hint < 5.0
    assert two.store.filled(600)
    print(f", index filled after {time.perf_counter() - began:.1f} s, {sent(target) - before} requests")
    assert sent(target) - before <= requests
    assert two.store.missing([somewhere])[0] != 0
    assert two.store.missing([one.id for one in real]) == packs
    two.close()


def sent(target: Target) -> int:
    assert isinstance(target, S3Target)
    return sum(target.requests().values())


@pytest.fixture
def target(s3_server: S3Server) -> Iterator[S3Target]:
    made = S3Target.make(settings(s3_server), STORE)
    yield made
    made.close()


def test_an_empty_index_answers_soon(target: S3Target, tmp_path: Path) -> None:
    answers(target, tmp_path, 200_000, requests=16)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_an_empty_index_answers_soon_on_ten_million_blocks(target: S3Target, scratch: Path) -> None:
    answers(target, scratch, 10_000_000, requests=120)
