"""Targets fail, lose packs and flip bits at random under a writer; all that was acknowledged is there."""

from __future__ import annotations

import random

import pytest

from gravitonfs.errors import GravitonError
from gravitonfs.testing.faulty import broken, full
from harness.contents import noise, read
from replication.rig import MIB, Make, Store, write


class Chaos:
    """One target at a time is in trouble. Without c there is but one zone, and writes may be refused."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.files: dict[str, int] = {}
        self.faults = self.verified = 0
        self.struck = ""

    def fault(self) -> None:
        name = self.struck = self.random.choice("abc")
        match self.random.choice(("fails", "full", "now and then", "lost", "flipped", "cut")):
            case "fails":
                for method in ("put", "get", "head", "delete", "list"):
                    self.store.faults[name].fail(method, times=10**6)
            case "full":
                self.store.faults[name].fail("put", times=10**6, error=full)
            case "now and then":
                for method in ("put", "get"):
                    for at in range(1, 60, 3):
                        self.store.faults[name].fail(method, on=at, error=broken, after=at % 2 == 0)
            case "lost":
                for path in self._some(name):
                    path.unlink()
            case "flipped":
                for path in self._some(name):
                    data = bytearray(path.read_bytes())
                    data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                    path.write_bytes(data)
            case "cut":
                for path in self._some(name):
                    path.write_bytes(path.read_bytes()[: self.random.randrange(path.stat().st_size)])
        self.faults += 1

    def _some(self, name: str):  # type: ignore[no-untyped-def]
        return [path for path in self.store.packs(name) if self.random.random() < 0.5]

    def write(self, volume, number: int) -> None:  # type: ignore[no-untyped-def]
        name, size = f"file{number}", self.random.randrange(MIB, 5 * MIB)
        try:
            write(volume, name, noise(size, number))
        except GravitonError:
            assert self.struck == "c"
        else:
            self.files[name] = size

    def verify(self, volume) -> None:  # type: ignore[no-untyped-def]
        for name, size in self.files.items():
            assert read(volume, name) == noise(size, int(name.removeprefix("file"))), name
            self.verified += size

    def heal(self) -> None:
        for faults in self.store.faults.values():
            faults.heal()
        for member in self.store.target.members.all():
            member.works()


def run(store: Store, seed: int, rounds: int) -> Chaos:
    chaos = Chaos(store, seed)
    store.open()
    for number in range(rounds):
        assert store.engine is not None
        volume = store.engine.volume("test")
        chaos.fault()
        chaos.write(volume, number)
        chaos.verify(volume)
        chaos.heal()
        store.engine.maintenance.scrub()
        assert store.watch.round().failed == 0
        assert store.healthy(), store.states()
        volume.close()
        if chaos.random.random() < 0.3:
            store.close()
            store.open()
    assert len(chaos.files) > rounds // 3  # the others were refused, as they had to be
    found = store.engine.maintenance.check(read_data=True)  # type: ignore[union-attr]
    assert not found.findings
    print(f"seed {seed}: {chaos.faults} faults, {chaos.verified} bytes verified, {found.packs} packs")
    return chaos


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_survives_any_one_target(make: Make, seed: int) -> None:
    run(make(), seed, 12)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(100, 110))
def test_for_long(make: Make, seed: int) -> None:
    run(make(), seed, 60)
