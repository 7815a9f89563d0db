"""Dumps on the targets: what they cost, how long they stay, what they hold, and what comes back of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graviton_server.maintenance import archive as archives
from graviton_server.maintenance.archive import Archive
from graviton_server.maintenance.backups import Backups, Plan
from graviton_server.wiring.loading import load_sqlite
from graviton_server.wiring.survivors import Survivors
from graviton_server.wiring.targets import own_row
from gravitonfs.errors import Damaged, Exists, Locked
from maintenance.rig import AT_ONCE, MIB, Rig, noise


@pytest.fixture
def rig(scratch: Path) -> Iterator[Rig]:
    made = Rig(scratch / "data", settings=AT_ONCE._replace(backup=Plan(3600.0, 3)))
    yield made
    made.close()


def backups(rig: Rig) -> Backups:
    found = rig.maintenance.backups
    assert found is not None
    return found


def lose_names(rig: Rig) -> None:
    """The database and the index are gone; packs and dumps are left."""
    rig.close()
    for path in rig.path.glob("namespace.db*"):
        path.unlink()


def load(rig: Rig, dump: str | None = None) -> None:
    with Survivors([own_row(rig.path)]) as survivors:
        load_sqlite(rig.path, [own_row(rig.path)], survivors.text(survivors.choose(dump)))
    rig.open()


def stored(rig: Rig) -> int:
    return sum(path.stat().st_size for path in rig.path.glob("backup/**/*") if path.is_file())


def many_names(rig: Rig, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        rig.create(f"a file with a name of some length, number {number}")
    rig.volume.commit()


def test_what_has_not_changed_costs_nothing(rig: Rig) -> None:
    many_names(rig, 60_000)
    first = rig.maintenance.back_up()
    assert first.new_bytes == first.bytes
    many_names(rig, 1, first=60_000)
    second = rig.maintenance.back_up()
    assert second.lines > 120_000
    assert second.new_bytes < second.bytes / 3
    assert stored(rig) < first.bytes * 2


def test_the_newest_stay_and_the_rest_goes(rig: Rig) -> None:
    made = []
    for round_ in range(5):
        many_names(rig, 2000, first=2000 * round_)
        made.append(rig.maintenance.back_up().dump)
    assert [dump.name for dump in rig.maintenance.dumps()] == made[-3:]
    manifests = backups(rig).archive.manifests()
    needed = {part.key for manifest in manifests for part in manifest.all_parts()}
    there = {str(path.relative_to(rig.path)) for path in rig.path.glob("backup/parts/*/*")}
    assert there == needed
    for name in made[-3:]:
        rig.maintenance.drop_dump(name)
    assert not list(rig.path.glob("backup/parts/*/*"))


def test_drill_delete_collect_restore(rig: Rig) -> None:
    """What a dump names stays through deletions and collections, and comes back with it."""
    files = {f"f{number}": noise(MIB // 2, number) for number in range(12)}
    for name, data in files.items():
        rig.put(name, data)
    rig.put("small", b"few bytes")
    rig.volume.commit()
    dump = rig.maintenance.back_up().dump
    for name in [*files, "small"]:
        rig.unlink(name)
    rig.put("later", noise(MIB, 99))
    rig.reopen()
    rig.maintenance.collect()
    rig.maintenance.collect()
    assert rig.stored() > 6 * MIB, "packs that the dump needs are kept"
    lose_names(rig)
    load(rig, dump)
    assert rig.names() == sorted([*files, "small"])
    for name, data in files.items():
        assert rig.read_cold(name) == data
    assert rig.read_cold("small") == b"few bytes"
    rig.assert_sound()


def test_a_dropped_dump_gives_back_what_it_held(rig: Rig) -> None:
    for number in range(4):
        rig.put(f"f{number}", noise(MIB, number))
    dump = rig.maintenance.back_up().dump
    for number in range(4):
        rig.unlink(f"f{number}")
    rig.reopen()
    rig.maintenance.collect()
    held = rig.stored()
    assert held > 4 * MIB
    would = rig.maintenance.drop_dump(dump, dry_run=True)
    assert would.freed_bytes > 4 * MIB
    assert rig.stored() == held
    rig.maintenance.drop_dump(dump)
    rig.maintenance.collect()
    assert rig.stored() < MIB


def test_waste_is_not_passed_from_dump_to_dump(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dead, and stays because a dump needs it, is not needed by the next one; and what is half dead
    is compacted, although it stays."""
    for number in range(4):
        rig.put(f"dead{number}", noise(MIB, number))
    rig.reopen()
    for number in range(8):
        rig.put(f"half{number}", noise(MIB // 2, 100 + number))
    rig.reopen()
    first = rig.maintenance.back_up()
    for number in range(4):
        rig.unlink(f"dead{number}")
    for number in range(0, 8, 2):
        rig.unlink(f"half{number}")
    for _ in range(2):
        clock = rig.stores.packs.clock_ns
        with monkeypatch.context() as patch:
            patch.setattr(type(rig.stores.packs), "clock_ns", lambda _, clock=clock: clock() + 7200 * 10**9)
            rig.maintenance.collect()
            rig.reopen()
            second = rig.maintenance.back_up()
    held = rig.stored()
    assert held > 8 * MIB
    assert second.packs < first.packs + 2
    for name in [dump.name for dump in rig.maintenance.dumps()][:-1]:
        rig.maintenance.drop_dump(name)
    rig.maintenance.collect()
    assert rig.stored() < 4 * MIB
    for number in range(1, 8, 2):
        assert rig.read_cold(f"half{number}") == noise(MIB // 2, 100 + number)
    rig.assert_sound()


def test_a_dump_is_read_without_a_database(rig: Rig) -> None:
    rig.put("f", b"some bytes")
    rig.maintenance.back_up()
    uuid = rig.engine.namespace_store.store_uuid
    lose_names(rig)
    with Survivors([own_row(rig.path)]) as survivors:
        assert survivors.store_uuid == uuid
        manifest = survivors.choose(None)
        text = b"".join(survivors.text(manifest))
        assert survivors.verify(manifest, [text]).packs_gone == 0
    assert b'"%":"f"' in text
    load(rig)
    assert rig.read("f") == b"some bytes"


def test_damage_is_found(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.put("f", b"x")
    rig.maintenance.back_up()
    for part in rig.path.glob("backup/parts/*/*"):
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    lose_names(rig)
    with Survivors([own_row(rig.path)]) as survivors, pytest.raises(Damaged):
        list(survivors.text(survivors.choose(None)))
    with pytest.raises(Damaged):
        load(rig)
    assert not (rig.path / "namespace.db").exists(), "all or nothing"
    [manifest] = rig.path.glob("backup/dumps/*")
    manifest.write_bytes(manifest.read_bytes().replace(b'"lines"', b'"lanes"'))
    with Survivors([own_row(rig.path)]) as survivors:
        assert survivors.archive.manifests() == []
    assert "is damaged" in caplog.text
    shutil.rmtree(rig.path)
    rig.open()


def test_a_store_is_not_loaded_over(rig: Rig) -> None:
    rig.put("f", b"x")
    rig.maintenance.back_up()
    with pytest.raises(Exists):
        load_sqlite(rig.path, [own_row(rig.path)], [])
    assert rig.read("f") == b"x"


def test_the_old_database_is_kept_away(rig: Rig, scratch: Path) -> None:
    """After a load nobody goes on with the database before: not at a start, not in a collection."""
    rig.put("f", b"x")
    rig.maintenance.back_up()
    before = rig.engine.namespace_store.incarnation
    rig.close()
    old = scratch / "old.db"
    os.rename(rig.path / "namespace.db", old)
    for path in rig.path.glob("namespace.db-*"):
        path.unlink()
    load(rig)
    assert rig.engine.namespace_store.incarnation > before + 1000
    rig.close()
    new = scratch / "new.db"
    os.rename(rig.path / "namespace.db", new)
    for path in rig.path.glob("namespace.db-*"):
        path.unlink()
    os.rename(old, rig.path / "namespace.db")
    with pytest.raises(Locked, match="another database"):
        rig.open()
    for path in rig.path.glob("namespace.db*"):
        path.unlink()
    os.rename(new, rig.path / "namespace.db")
    rig.open()
    first = json.loads((rig.path / "fence").read_bytes())["fence"]
    lose_names(rig)
    load(rig)
    fence = json.loads((rig.path / "fence").read_bytes())
    assert fence["fence"] > first
    fence["fence"] += 1
    (rig.path / "fence").write_bytes(json.dumps(fence).encode())
    with pytest.raises(Locked, match="another database"):
        rig.maintenance.collect()
    with pytest.raises(Locked, match="another database"):
        rig.maintenance.back_up()
    fence["fence"] -= 1
    (rig.path / "fence").write_bytes(json.dumps(fence).encode())


def test_it_is_due_by_the_clock(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.put("f", b"x")
    one = backups(rig)
    assert rig.maintenance.settle(60)
    assert one.archive.ids() == [], "a young store has time"
    assert one.status().made is None
    clock = rig.stores.packs.clock_ns
    monkeypatch.setattr(type(rig.stores.packs), "clock_ns", lambda packs: clock() + 3700 * 10**9)
    assert rig.maintenance.settle(60)
    assert len(one.archive.ids()) == 1
    assert rig.maintenance.settle(60)
    assert len(one.archive.ids()) == 1, "the next one has time"
    status = one.status()
    assert status.newest == one.archive.ids()[0]
    assert status.age < 60


def test_a_dump_that_fails_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.put("f", b"x")
    clock = rig.stores.packs.clock_ns
    monkeypatch.setattr(type(rig.stores.packs), "clock_ns", lambda packs: clock() + 3700 * 10**9)
    folder = rig.path / "backup"
    folder.write_bytes(b"in the way")

    rig.maintenance.settle(5)
    status = backups(rig).status()
    assert status.made is None
    [task] = [task for task in rig.maintenance.status() if task.name == "backup"]
    assert task.state == "failed"
    assert task.error
    assert "backup" in caplog.text
    caplog.clear()
    folder.unlink()
    assert rig.maintenance.settle(60)
    assert backups(rig).status().made is not None


def test_parts_survive_a_crash_between_two_steps(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts without a manifest are no dump; the next one sweeps what it does not need."""
    many_names(rig, 3000)

    def cut(archive: Archive, manifest: Any, places: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archives.Archive, "store", cut)
        with pytest.raises(KeyboardInterrupt):
            rig.maintenance.back_up()
    assert list(rig.path.glob("backup/parts/*/*"))
    assert rig.maintenance.dumps() == []
    for number in range(3000):
        rig.unlink(f"a file with a name of some length, number {number}")
    rig.maintenance.back_up()
    [manifest] = backups(rig).archive.manifests()
    needed = {part.key for part in manifest.all_parts()}
    assert {str(path.relative_to(rig.path)) for path in rig.path.glob("backup/parts/*/*")} == needed


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_scrub_reads_dumps(rig: Rig) -> None:
    """A dump whose part is bad everywhere is named, and is whole again after the next one."""
    many_names(rig, 10_000)
    first = rig.maintenance.back_up().dump
    assert rig.maintenance.scrub().clean
    parts = backups(rig).archive.manifest(first).parts
    assert len(parts) > 4, "the middle is what the next dump has, too"
    flip(rig.path / parts[len(parts) // 2].key)
    told = rig.maintenance.scrub()
    assert not told.clean
    [finding] = told.findings
    assert finding.kind == "dump-damaged"
    assert first in finding.what
    rig.maintenance.back_up()
    assert rig.maintenance.scrub().clean
    lose_names(rig)
    load(rig, first)
    assert len(rig.names()) == 10_000


def test_scrub_names_a_damaged_manifest(rig: Rig) -> None:
    rig.put("f", b"x")
    dump = rig.maintenance.back_up().dump
    flip(rig.path / "backup" / "dumps" / f"{dump}.json")
    [finding] = rig.maintenance.scrub().findings
    assert finding.kind == "dump-damaged"
    assert dump in finding.what
