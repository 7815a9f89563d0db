"""Two engines write and remove the same bytes while one of them collects and compacts without rest.

The times of the reliance rule (invariants 2 and 3) are made shorter, all by one factor: what a writer has
found elsewhere may be what the collector is about to condemn.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from graviton_server.maintenance.collect import Caution
from graviton_server.namespace.postgres import applying, packs
from graviton_server.wiring import TargetEngine
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.ports.ops import Unlink
from maintenance.rig import noise
from maintenance.test_shared import Open, opened, stores

__all__ = ["opened", "stores"]

STEP = 2 * 10**9
POOL = [noise(size, number) for number, size in enumerate([30_000, 300_000, 700_000, 1_500_000] * 3)]
MOST_SECONDS = 90.0


class Writer(threading.Thread):
    def __init__(self, engine: TargetEngine, number: int, enough: threading.Event) -> None:
        super().__init__()
        self.volume = engine.volume(f"writer {number}")
        self.number = number
        self.enough = enough
        self.files: dict[bytes, bytes] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            choice = random.Random(self.number)
            while not self.enough.is_set():
                self._turn(choice)
        except BaseException as failure:  # noqa: BLE001  # told by the test
            self.failure = failure

    def _turn(self, choice: random.Random) -> None:
        name = b"w%d-%d" % (self.number, choice.randrange(6))
        if name not in self.files:
            data = choice.choice(POOL) + choice.choice(POOL)
            with self.volume.stage(mode=0o644, uid=0, gid=0) as staged:
                staged.write(data)
                staged.publish(ROOT_INO, name)
            self.files[name] = data
        elif choice.randrange(3):
            self.volume.submit(Unlink(ROOT_INO, name), durable=False)
            del self.files[name]
        else:
            assert read(self.volume, name) == self.files[name]


def read(volume: object, name: bytes) -> bytes:
    attr = volume.namespace.lookup(ROOT_INO, name)  # type: ignore[attr-defined]
    return bytes(volume.reader(attr).read(0, attr.size))  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
def test_what_another_engine_relies_on_is_never_collected(
    opened: Open, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "RELIED_STEP_NS", STEP)
    monkeypatch.setattr(packs, "RELIED_STEP_NS", STEP)
    monkeypatch.setattr("graviton_server.wiring.SHARED", Caution(margin_ns=4 * STEP, grace_ns=2 * STEP))
    engines = [opened("one"), opened("two")]
    enough = threading.Event()
    writers = [Writer(engines[number % 2], number, enough) for number in range(4)]
    for writer in writers:
        writer.start()
    end = time.monotonic() + MOST_SECONDS
    deleted = moved = runs = 0
    while (deleted < 4 or moved == 0) and time.monotonic() < end:
        if any(writer.failure for writer in writers):
            break
        engines[runs % 2].store.drain_loose()
        report = engines[runs % 2].maintenance.collect()
        runs += 1
        deleted += report.deleted
        moved += report.moved_bytes
        assert report.missing == 0
    enough.set()
    for writer in writers:
        writer.join()
        if writer.failure is not None:
            raise writer.failure
    assert deleted > 0
    third = opened("three").volume("reader")
    for writer in writers:
        for name, data in writer.files.items():
            assert read(third, name) == data
        writer.volume.close()
    third.close()
