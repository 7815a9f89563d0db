"""A dump and the packs are the whole volume."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graviton_server.maintenance import backup
from graviton_server.wiring.loading import load_embedded
from gravitonfs.errors import Damaged, Exists, Invalid
from maintenance.rig import MIB, Rig, noise


def dump(rig: Rig) -> bytes:
    pieces: list[bytes] = []
    rig.maintenance.dump(lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def contents(rig: Rig) -> dict[str, bytes]:
    return {name: rig.read_cold(name) for name in rig.names()}


def fill(rig: Rig) -> None:
    rig.put("file", noise(5 * MIB, 1))
    rig.clone("file", "copy")
    rig.patch("copy", MIB, b"patched", durable=True)
    rig.put("small", b"in the database")
    rig.put("empty", b"")


def test_dump_with_copied_packs_is_the_same_volume(rig: Rig, scratch: Path) -> None:
    fill(rig)
    expected = contents(rig)
    saved = dump(rig)
    rig.reopen()
    copy = scratch / "copy"
    copy.mkdir()
    shutil.copytree(rig.path / "packs", copy / "packs")
    shutil.copy(rig.path / "store", copy / "store")
    load_embedded(copy, [saved])
    loaded = Rig(copy)
    try:
        assert contents(loaded) == expected
        loaded.assert_sound()
        loaded.put("new", b"works on")
        assert loaded.read_cold("new") == b"works on"
    finally:
        loaded.close()


def test_volume_that_lost_its_database_comes_back_from_a_dump(rig: Rig) -> None:
    """Even though compaction has moved blocks since, and some packs are gone."""
    files = {f"f{number:02}": noise(128 << 10, 50 + number) for number in range(60)}
    for name, data in files.items():
        rig.put(name, data)
    rig.engine.store.drain_loose()
    rig.reopen()
    for name in list(files)[::2]:
        rig.unlink(name)
        del files[name]
    saved = dump(rig)
    assert rig.maintenance.collect().compacted > 0
    rig.close()
    for path in rig.path.glob("namespace.db*"):
        path.unlink()
    report = load_embedded(rig.path, iter([saved[:1000], saved[1000:]]))
    assert report.packs_gone > 0
    assert report.packs_adopted > 0
    rig.open()
    assert contents(rig) == files
    rig.assert_sound()


def test_retained_dump_keeps_what_it_names(rig: Rig) -> None:
    data = noise(6 * MIB, 2)
    rig.put("file", data)
    rig.maintenance.retain_dump("before")
    rig.unlink("file")
    rig.reopen()
    rig.maintenance.collect()
    assert rig.stored() >= 6 * MIB
    saved = (rig.path / "dumps" / "before.dump").read_bytes()
    rig.close()
    for path in rig.path.glob("namespace.db*"):
        path.unlink()
    load_embedded(rig.path, [saved])
    rig.open()
    assert rig.read_cold("file") == data
    rig.unlink("file")
    (rig.path / "dumps" / "before.dump").unlink()
    rig.reopen()
    rig.maintenance.collect()
    assert rig.stored() < MIB


def test_bad_dumps_leave_nothing(rig: Rig, scratch: Path) -> None:
    fill(rig)
    saved = dump(rig)
    place = scratch / "elsewhere"
    flipped = bytearray(saved)
    flipped[len(saved) // 2] ^= 1
    for bad in (saved[:-100], b"", b"no dump at all\n", bytes(flipped)):
        with pytest.raises(Damaged):
            load_embedded(place, [bad])
        assert not list(place.glob("namespace*"))
    load_embedded(place, [saved])
    with pytest.raises(Exists):
        load_embedded(place, [saved])


def test_packs_of_another_store_are_refused(rig: Rig, scratch: Path) -> None:
    fill(rig)
    saved = dump(rig)
    other = Rig(scratch / "other")
    other.close()
    for path in other.path.glob("namespace.db*"):
        path.unlink()
    with pytest.raises(Invalid, match="do not belong"):
        load_embedded(other.path, [saved])


def test_dump_names_the_blocks_it_needs(rig: Rig) -> None:
    fill(rig)
    named = set(backup.dumped_blocks([dump(rig)]))
    upkeep = rig.engine.namespace_store.upkeep
    assert named == {extent.block for page in upkeep.extent_rows() for row in page for extent in row.extents}


def test_plain_text_is_read_as_well(rig: Rig) -> None:
    fill(rig)
    text = b"".join(rig.engine.namespace_store.upkeep.dump())
    assert b"".join(backup.plain_lines([text[:3], text[3:]])) == text
    packed = dump(rig)
    assert b"".join(backup.plain_lines([packed[:2], packed[2:]])).splitlines()[1:3] == text.splitlines()[1:3]
