"""Writers, readers and removers go on while collection and compaction never rest."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from maintenance.rig import Rig, noise

POOL = [noise(size, number) for number, size in enumerate([3_000, 90_000, 300_000, 700_000, 1_500_000] * 3)]
WRITERS = 3
ROUNDS = 60


class Writer(threading.Thread):
    """Keeps a few files of shared contents; knows what they hold."""

    def __init__(self, rig: Rig, number: int) -> None:
        super().__init__()
        self.rig = rig
        self.number = number
        self.files: dict[str, bytes] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # noqa: BLE001  # told by the test
            self.failure = failure

    def _work(self) -> None:
        choice = random.Random(self.number)
        for number in range(ROUNDS):
            name = f"w{self.number}-{choice.randrange(8)}"
            kind = choice.randrange(10)
            if name in self.files and kind < 3:
                self.rig.unlink(name)
                del self.files[name]
            elif name in self.files and kind < 5:
                data = bytearray(self.files[name])
                at = choice.randrange(len(data))
                patch = noise(200, number + 1000 * self.number)
                data[at : at + 200] = patch
                self.rig.patch(name, at, patch, durable=kind == 3)
                self.files[name] = bytes(data)
            elif name in self.files:
                assert self.rig.read_cold(name) == self.files[name]
            else:
                data = choice.choice(POOL) + choice.choice(POOL)
                self.rig.put(name, data)
                self.files[name] = data


def test_nothing_that_is_alive_is_ever_collected(scratch: Path) -> None:
    rig = Rig(scratch / "data")
    writers = [Writer(rig, number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    runs = deleted = moved = 0
    while any(writer.is_alive() for writer in writers):
        rig.engine.store.drain_loose()
        report = rig.maintenance.collect()
        runs += 1
        deleted += report.deleted
        moved += report.moved_bytes
        assert report.missing == 0
    for writer in writers:
        writer.join()
        if writer.failure is not None:
            raise writer.failure
    assert runs > 3
    assert deleted > 3
    expected = {name: data for writer in writers for name, data in writer.files.items()}
    for again in range(2):
        for name, data in expected.items():
            assert rig.read_cold(name) == data, (again, name)
        rig.assert_sound()
        rig.reopen()
    rig.close()
