"""Copies are made anew, packs move when targets come and go, and damage of one copy is found and mended."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import pytest

from graviton_server.packs.format import pack_key
from graviton_server.wiring.replicated import save_rows
from gravitonfs.errors import Unavailable
from gravitonfs.ports.replicas import CopyState, TargetState
from harness.contents import noise, read
from harness.waiting import wait_until
from replication.rig import MIB, STORE, TWO, Make, Store, fail, write


@dataclass
class Written:
    store: Store
    data: bytes

    def intact(self) -> None:
        """Read back in a new process's place, then checked whole."""
        self.store.close()
        engine = self.store.open()
        volume = engine.volume("test")
        assert read(volume, "file") == self.data
        volume.close()
        assert not engine.maintenance.check(read_data=True).findings


@pytest.fixture
def written(make: Make) -> Written:
    store = make()
    volume = store.open().volume("test")
    data = noise(24 * MIB)
    write(volume, "file", data)
    volume.close()
    return Written(store, data)


def reopen(store: Store) -> None:
    store.close()
    store.open()


def test_what_a_failing_target_missed_is_made_when_it_is_back(make: Make) -> None:
    store = make()
    volume = store.open().volume("test")
    fail(store, "a")
    write(volume, "file", noise(24 * MIB))
    volume.close()
    assert store.watch.unhealthy() > 0
    store.faults["a"].heal()
    store.target.members.named("a").works()  # type: ignore[union-attr]
    done = store.watch.round()
    assert done.made > 0
    assert done.failed == 0
    assert store.watch.unhealthy() == 0
    assert store.healthy()
    assert not {p.name for p in store.packs("a")} & {p.name for p in store.packs("b")}  # no third copies
    Written(store, noise(24 * MIB)).intact()


def test_nothing_changes_at_targets_of_a_store_that_was_loaded_elsewhere(written: Written) -> None:
    """An engine of the database before finds the fence: it neither makes copies nor removes any."""
    store = written.store
    [lost, *_] = store.packs("a")
    lost.unlink()
    assert store.engine is not None
    assert store.engine.maintenance.scrub().findings
    fence = json.dumps({"store": STORE.hex(), "fence": 1}).encode()
    for name in store.zones:
        (store.path(name) / "fence").write_bytes(fence)
    for member in store.target.members.all():
        member.doubt()  # as after a few seconds
    before = {name: store.packs(name) for name in store.zones}
    done = store.watch.round()
    assert (done.made, done.removed, done.failed) == (0, 0, 1)
    [row] = [
        row for row in store.engine.namespace_store.packs.rows() if pack_key(row.uuid).endswith(lost.name)
    ]
    with pytest.raises(Unavailable, match="belongs to another database"):
        store.target.delete(pack_key(row.uuid))
    assert {name: store.packs(name) for name in store.zones} == before
    for name in store.zones:
        (store.path(name) / "fence").unlink()
    reopen(store)
    assert store.watch.repair.waiting() == 1  # it is work yet, for whoever may do it


def test_an_emptied_target_is_filled_again(written: Written) -> None:
    store = written.store
    before = [path.name for path in store.packs("a")]
    shutil.rmtree(store.path("a") / "packs")
    reopen(store)
    found = store.engine.maintenance.scrub()  # type: ignore[union-attr]
    assert {finding.kind for finding in found.findings} == {"copy-damaged"}
    assert store.watch.unhealthy() == len(before)
    store.watch.round()
    assert [path.name for path in store.packs("a")] == before
    assert store.healthy()
    written.intact()


def test_flipped_bits_on_every_pack_of_a_target_are_found_and_mended(written: Written) -> None:
    store = written.store
    for path in store.packs("c"):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 4
        path.write_bytes(data)
    reopen(store)
    found = store.engine.maintenance.scrub()  # type: ignore[union-attr]
    assert {finding.kind for finding in found.findings} == {"copy-damaged"}
    assert all("target c" in finding.what for finding in found.findings)
    assert len(found.findings) == len(store.packs("c"))
    store.watch.round()
    assert store.healthy()
    written.intact()


def test_two_damaged_copies_make_one_good_pack(make: Make) -> None:
    """Damage in different places of both copies: each record comes from the one that has it."""
    store = make()
    volume = store.open(pack_size=4 * MIB).volume("test")
    write(volume, "file", noise(24 * MIB))
    volume.close()
    written = Written(store, noise(24 * MIB))
    store.close()
    for name, part in (("a", 0.2), ("b", 0.2), ("c", 0.8)):
        for path in store.packs(name):
            data = bytearray(path.read_bytes())
            if len(data) < 3 * MIB:
                continue  # both places might be in the same block
            data[int(len(data) * part)] ^= 1
            path.write_bytes(data)
    reopen(store)
    volume = store.engine.volume("test")  # type: ignore[union-attr]
    assert read(volume, "file") == written.data
    volume.close()
    store.engine.maintenance.scrub()  # type: ignore[union-attr]
    store.watch.round()
    assert store.healthy()
    written.intact()


def test_a_new_target_gets_its_share_and_nothing_else_moves(written: Written) -> None:
    store = written.store
    packs = {path.name for path in store.packs("c")}
    store.zones["d"] = "west"
    names = store.engine.namespace_store  # type: ignore[union-attr]
    save_rows(names, [store.row("d")])
    done = store.watch.round()
    assert done.made == done.removed == len(store.packs("d")) > 0
    assert store.healthy()
    held = [path.name for name in "abcd" for path in store.packs(name)]
    assert sorted(held) == sorted([*packs, *packs])
    assert store.watch.round().made == 0
    written.intact()


def test_a_drained_target_is_empty_and_nothing_was_missing_meanwhile(written: Written) -> None:
    store = written.store
    names = store.engine.namespace_store  # type: ignore[union-attr]
    [row] = [row for row in names.replicas.targets() if row.name == "b"]
    assert store.packs("b")
    names.replicas.save_target(row._replace(state=TargetState.DRAINING))
    fail(store, "a", "put")
    store.watch.round()
    assert store.packs("b")  # a copy that nobody else could take stays
    assert store.watch.unhealthy() == 0
    store.faults["a"].heal()
    reopen(store)
    store.watch.repair._replicas.claim([], [CopyState.MOVING], 0, 0.0)
    for job in _waiting(store):
        store.watch.repair._replicas.later(job, 0.0)
    store.watch.round()
    assert store.packs("b") == []
    assert store.healthy()
    names = store.engine.namespace_store  # type: ignore[union-attr]
    names.replicas.save_target(row._replace(state=TargetState.REMOVED))
    shutil.rmtree(store.path("b"))
    written.intact()


def _waiting(store: Store):  # type: ignore[no-untyped-def]
    from gravitonfs.ports.replicas import CopyJob

    replicas = store.engine.namespace_store.replicas  # type: ignore[union-attr]
    for pack in replicas.page(0, 1000):  # type: ignore[arg-type]
        for copy in pack.copies:
            if copy.state is not CopyState.STORED:
                yield CopyJob(pack.pack, pack.uuid, 0, copy.target, copy.state)


def test_repair_runs_by_itself(make: Make) -> None:
    store = make(msgspec.structs.replace(TWO, interval=0.2))
    volume = store.open(background=True).volume("test")
    write(volume, "file", noise(12 * MIB))
    shutil.rmtree(store.path("c") / "packs")
    store.engine.maintenance.scrub()  # type: ignore[union-attr]
    wait_until(lambda: store.healthy() and store.packs("c"), "copies to be made again")
    volume.close()


def test_several_copies_are_made_at_once(written: Written) -> None:
    """The first copy is not finished before a second one has begun."""
    store = written.store
    shutil.rmtree(store.path("c") / "packs")
    reopen(store)
    store.engine.maintenance.scrub()  # type: ignore[union-attr]
    member = store.target.members.named("c")
    assert member is not None
    inner, second = member.opened(), threading.Event()
    real, begun = inner.put, []

    def put(key: str, body: BinaryIO, length: int) -> None:
        begun.append(key)
        if len(begun) > 1:
            second.set()
        assert second.wait(30)
        real(key, body, length)

    inner.put = put  # type: ignore[method-assign]
    store.watch.round()
    assert store.healthy()


def test_moves_keep_to_their_rate(make: Make) -> None:
    store = make(msgspec.structs.replace(TWO, factor=1, min_zones=1), {"a": "x"})
    volume = store.open().volume("test")
    write(volume, "file", noise(12 * MIB))
    volume.close()
    store.zones["d"] = "y"
    save_rows(store.engine.namespace_store, [store.row("d")])  # type: ignore[union-attr]
    store.watch.repair._move_rate = 4 * MIB
    began = time.monotonic()
    done = store.watch.round()
    assert done.made > 1
    assert time.monotonic() - began > 0.6 * (done.bytes - 2 * MIB) / (4 * MIB)
    assert store.healthy()


def test_fsck_plans_copies_and_makes_them(written: Written) -> None:
    """Also those that an earlier check has told of already."""
    store = written.store
    lost, flipped = store.packs("a")[:2]
    lost.unlink()
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    for _ in range(2):
        assert store.engine is not None
        report = store.engine.maintenance.check(read_data=True)
        assert [(planned.kind, planned.count) for planned in report.plan] == [("copy-damaged", 2)]
        reopen(store)
    assert store.engine is not None
    report = store.engine.maintenance.check(read_data=True, repair=True)
    assert report.findings == ()
    assert report.repaired == ("2 copies are made anew",)
    assert store.healthy()
    assert lost.exists()
    written.intact()
