"""Compaction moves what is in use out of wasteful packs, and loses nothing on the way."""

from __future__ import annotations

import pytest

from graviton_server.maintenance.compact import Policy, compact
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.work import Work
from maintenance.rig import Rig, noise


def test_wasteful_packs_are_compacted(rig: Rig) -> None:
    """Every second file of those that share packs goes: no pack is quite dead."""
    files = {f"f{number:03}": noise(128 << 10, 100 + number) for number in range(160)}
    for name, data in files.items():
        rig.put(name, data)
    rig.engine.store.drain_loose()
    rig.reopen()
    before = rig.stored()
    for name in list(files)[::2]:
        rig.unlink(name)
        del files[name]
    report = rig.maintenance.collect()
    assert report.compacted > 0
    live = sum(map(len, files.values()))
    assert rig.stored() < live * 1.1 + 128 * 1024 < before
    for name, data in files.items():
        assert rig.read_cold(name) == data
    rig.reopen()
    for name, data in files.items():
        assert rig.read_cold(name) == data
    rig.assert_sound()


def test_many_small_packs_become_few(rig: Rig) -> None:
    for number in range(20):
        rig.put(f"f{number}", noise(40_000, 200 + number))
        rig.engine.store.drain_loose()
        rig.reopen()
    assert len(rig.packs()) >= 20
    rig.maintenance.collect()
    rig.reopen()
    assert len(rig.packs()) <= 3
    for number in range(20):
        assert rig.read_cold(f"f{number}") == noise(40_000, 200 + number)
    rig.assert_sound()


def test_readers_that_hold_old_places_find_moved_blocks(rig: Rig) -> None:
    for number in range(40):
        rig.put(f"f{number}", noise(100_000, 400 + number))
    rig.engine.store.drain_loose()
    rig.reopen()
    readers = {number: rig.volume.reader(rig.attr(f"f{number}")) for number in range(0, 40, 4)}
    for reader in readers.values():
        reader.read(0, 10)
    rig.engine.content.cache.clear()
    for number in range(40):
        if number % 4:
            rig.unlink(f"f{number}")
    assert rig.maintenance.collect().compacted > 0
    for number, reader in readers.items():
        assert bytes(reader.read(0, 100_000)) == noise(100_000, 400 + number)


def test_pack_with_a_damaged_block_is_not_given_up(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(8):
        rig.put(f"f{number}", noise(50 << 10, 300 + number))
    rig.engine.store.drain_loose()
    rig.reopen()
    [row] = rig.packs()
    damage = rig.engine.store.records(row.number)[0].offset + 1000
    path = rig.pack_file(row.number)
    rig.close()
    content = bytearray(path.read_bytes())
    content[damage] ^= 1
    path.write_bytes(content)
    rig.open()
    for number in range(1, 8):
        rig.unlink(f"f{number}")
    for _ in range(2):
        rig.maintenance.collect()
        assert path.exists()
    assert "damaged" in caplog.text


def test_compaction_stops_at_its_bound_and_goes_on_later(rig: Rig) -> None:
    files = {f"f{number:03}": noise(128 << 10, 500 + number) for number in range(120)}
    for name, data in files.items():
        rig.put(name, data)
    rig.engine.store.drain_loose()
    rig.reopen()
    for name in list(files)[::2]:
        rig.unlink(name)
        del files[name]
    rig.engine.namespace_store.upkeep.reap(10_000)
    rounds = 0
    while True:
        mark = mark_live(rig.stores, Work())
        done = compact(rig.stores, mark, Work(), policy=Policy(small_count=1000), max_bytes=1 << 20)
        if not done.packs:
            break
        rounds += 1
        assert done.moved_bytes < 4 << 20
    assert rounds > 2
    for name, data in files.items():
        assert rig.read_cold(name) == data
    rig.assert_sound()
