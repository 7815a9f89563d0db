"""What rows of targets and copies do. A test module subclasses this and gives it a ``names`` fixture."""

from __future__ import annotations

import os
from typing import Protocol

from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.ports.packs import PackRegistry, PackState
from gravitonfs.ports.replicas import (
    NO_TARGET,
    Copy,
    CopyJob,
    CopyState,
    Replicas,
    TargetNumber,
    TargetRow,
    TargetState,
)

WORK = (CopyState.WANTED, CopyState.BAD, CopyState.MOVING, CopyState.LEAVING)


class Names(Protocol):
    @property
    def packs(self) -> PackRegistry: ...

    @property
    def replicas(self) -> Replicas: ...


def target(name: str, **changes: object) -> TargetRow:
    row = TargetRow(NO_TARGET, name, "directory", "z", 1.0, 0, 1, 1, TargetState.ACTIVE, "{}")
    return row._replace(**changes)  # type: ignore[arg-type]


def targets(names: Names, *called: str) -> list[TargetNumber]:
    return [names.replicas.save_target(target(name)).number for name in called]


def begun(names: Names, *placed: TargetNumber) -> tuple[PackNumber, bytes]:
    uuid = os.urandom(16)
    names.replicas.place_by(lambda asked: placed if asked == uuid else ())
    return names.packs.begin(uuid, "one", PackState.STORING), uuid


def live(names: Names, *placed: TargetNumber, there: int = 99) -> tuple[PackNumber, bytes]:
    number, uuid = begun(names, *placed)
    names.replicas.stored(uuid, placed[:there])
    assert names.packs.publish(number, 100, 1, b"f")
    return number, uuid


class ReplicasSuite:
    def test_targets_are_added_and_changed_by_name(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        assert a != b
        changed = names.replicas.save_target(
            target("a", weight=2.5, zone="y", state=TargetState.DRAINING, capacity=7)
        )
        assert changed.number == a
        found = {row.name: row for row in names.replicas.targets()}
        assert found["a"] == changed
        assert found["a"].weight == 2.5
        assert found["b"].state is TargetState.ACTIVE

    def test_wanted_copies_come_with_the_row_and_go_with_it(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        number, uuid = begun(names, a, b)
        assert names.replicas.copies(uuid) == [Copy(a, CopyState.WANTED), Copy(b, CopyState.WANTED)]
        names.replicas.stored(uuid, [b])
        assert names.packs.publish(number, 100, 1, b"f")
        assert names.replicas.copies(uuid) == [Copy(a, CopyState.WANTED), Copy(b, CopyState.STORED)]
        assert names.packs.condemn([number], names.packs.clock_ns() + 10**15) == [number]
        assert names.packs.deleting(number)
        names.packs.deleted(number)
        assert names.replicas.copies(uuid) == []
        assert names.replicas.tally() == []

    def test_a_substitute_gets_a_row(self, names: Names) -> None:
        a, b, c = targets(names, "a", "b", "c")
        _, uuid = begun(names, a, b)
        names.replicas.stored(uuid, [a, c])
        assert dict(names.replicas.copies(uuid)) == {
            a: CopyState.STORED, b: CopyState.WANTED, c: CopyState.STORED,
        }  # fmt: skip

    def test_packs_from_before_are_adopted_once(self, names: Names) -> None:
        [a] = targets(names, "a")
        old = [live(names)[1] for _ in range(3)]
        _, placed = live(names, a)
        assert names.replicas.adopt(a) == 3
        assert names.replicas.adopt(a) == 0
        assert all(names.replicas.copies(uuid) == [Copy(a, CopyState.STORED)] for uuid in [*old, placed])

    def test_work_is_handed_out_once_and_comes_back(self, names: Names) -> None:
        a, b, c = targets(names, "a", "b", "c")
        number, uuid = live(names, a, b, there=1)
        begun(names, a, b)  # not live: nobody's work yet
        [job] = names.replicas.claim([a, b], WORK, 10, 60.0)
        assert job == CopyJob(number, uuid, 100, b, CopyState.WANTED)
        assert names.replicas.claim([a, b], WORK, 10, 60.0) == []
        names.replicas.later(job, 0.0)
        assert names.replicas.claim([a, c], WORK, 10, 60.0) == []
        [job] = names.replicas.claim([b], WORK, 10, 60.0)
        assert names.replicas.finished(job, there=True)
        assert not names.replicas.finished(job, there=True)
        assert dict(names.replicas.copies(uuid)) == {a: CopyState.STORED, b: CopyState.STORED}

    def test_a_copy_of_a_pack_that_went_is_not_finished(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        number, _ = live(names, a, b, there=1)
        [job] = names.replicas.claim([b], WORK, 10, 60.0)
        assert names.packs.condemn([number], names.packs.clock_ns() + 10**15) == [number]
        assert not names.replicas.finished(job, there=True)

    def test_bad_and_lost_copies_are_work(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        _, uuid = live(names, a, b)
        assert names.replicas.bad(uuid, a, CopyState.BAD)
        assert not names.replicas.bad(uuid, a, CopyState.BAD)
        assert names.replicas.bad(uuid, b, CopyState.WANTED)
        assert {(one.target, one.state) for one in names.replicas.claim([a, b], WORK, 10, 60.0)} == {
            (a, CopyState.BAD), (b, CopyState.WANTED),
        }  # fmt: skip
        assert {(t.target, t.state, t.packs, t.bytes) for t in names.replicas.tally()} == {
            (a, CopyState.BAD, 1, 100), (b, CopyState.WANTED, 1, 100),
        }  # fmt: skip

    def test_a_target_that_lost_everything(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        _, uuid = live(names, a, b)
        assert names.replicas.lost_all(a) == 1
        assert dict(names.replicas.copies(uuid)) == {a: CopyState.WANTED, b: CopyState.STORED}

    def test_copies_that_move(self, names: Names) -> None:
        a, b, c = targets(names, "a", "b", "c")
        number, uuid = live(names, a, b)
        names.replicas.want(number, [b, c], CopyState.MOVING)
        names.replicas.leave(number, [a])
        expected = {a: CopyState.LEAVING, b: CopyState.STORED, c: CopyState.MOVING}
        assert dict(names.replicas.copies(uuid)) == expected
        jobs = {job.target: job for job in names.replicas.claim([a, b, c], WORK, 10, 60.0)}
        assert names.replicas.finished(jobs[a], there=False)
        assert names.replicas.finished(jobs[c], there=True)
        assert dict(names.replicas.copies(uuid)) == {b: CopyState.STORED, c: CopyState.STORED}
        names.replicas.want(number, [a], CopyState.MOVING)
        names.replicas.leave(number, [a])
        assert a not in dict(names.replicas.copies(uuid))

    def test_work_is_asked_for_by_state(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        number, _ = live(names, a)
        names.replicas.want(number, [b], CopyState.MOVING)
        assert names.replicas.claim([a, b], [CopyState.WANTED], 10, 60.0) == []
        [job] = names.replicas.claim([a, b], [CopyState.MOVING], 10, 60.0)
        assert (job.target, job.state) == (b, CopyState.MOVING)

    def test_settings_are_kept(self, names: Names) -> None:
        assert names.replicas.settings() == b""
        names.replicas.save_settings(b"one")
        names.replicas.save_settings(b"two")
        assert names.replicas.settings() == b"two"

    def test_a_store_has_one_router_for_good(self, names: Names) -> None:
        assert names.replicas.router() == b""
        assert names.replicas.follow(b"one") == b"one"
        assert names.replicas.follow(b"two") == b"one"
        assert names.replicas.router() == b"one"

    def test_pages_of_live_packs_with_their_copies(self, names: Names) -> None:
        a, b = targets(names, "a", "b")
        made = [live(names, a, b) for _ in range(4)] + [live(names)]
        begun(names, a)
        first = names.replicas.page(NO_PACK, 3)
        rest = names.replicas.page(first[-1].pack, 3)
        assert [(one.pack, one.uuid) for one in first + rest] == made
        both = (Copy(a, CopyState.STORED), Copy(b, CopyState.STORED))
        assert [one.copies for one in first + rest] == [both] * 4 + [()]
