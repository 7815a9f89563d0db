"""fsck names exactly what is damaged, and repairs what can be repaired without losing anything."""

from __future__ import annotations

import pytest

from graviton_server.maintenance.reports import Finding
from graviton_server.packs.format import RECORD_HEADER, encode_header, new_uuid, pack_key
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.core.ids import BlockId
from gravitonfs.errors import Damaged
from maintenance.rig import MIB, Rig, noise


def place(rig: Rig, name: str, offset: int) -> Extent:
    attr = rig.attr(name)
    for region in rig.volume.namespace.extents(attr.content, 0, attr.size // REGION):
        for extent in region.extents:
            if extent.offset <= offset < extent.end:
                return extent
    raise AssertionError(f"nothing at {offset}")


def flip(rig: Rig, block: BlockId) -> None:
    """Change one byte of a block on the disk, as a failing disk would."""
    [found] = rig.engine.store.locate([block])
    assert found is not None
    path = rig.pack_file(found.pack)
    rig.close()
    data = bytearray(path.read_bytes())
    data[found.offset + RECORD_HEADER + found.stored // 2] ^= 0x10
    path.write_bytes(data)
    rig.open()


def files_of(findings: tuple[Finding, ...]) -> dict[str, tuple[tuple[int, int], ...]]:
    return {finding.path: finding.ranges for finding in findings if finding.kind == "file-damaged"}


def test_clean_volume_has_no_findings(rig: Rig) -> None:
    rig.put("file", noise(5 * MIB, 1))
    rig.put("small", b"some bytes")
    rig.patch("small", 20, b"more", durable=True)
    for _ in range(2):
        report = rig.maintenance.check(read_data=True)
        assert report.findings == ()
        assert report.clean
        assert report.bytes_read >= 5 * MIB
        rig.reopen()


def test_flipped_byte_is_named_with_exactly_its_range(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    data = noise(6 * MIB, 2)
    rig.put("good", noise(3 * MIB, 3))
    rig.put("bad", data)
    rig.clone("bad", "copy")
    rig.reopen()
    extent = place(rig, "bad", 2 * MIB)
    flip(rig, extent.block)
    assert rig.maintenance.check().clean  # nothing is seen without reading
    report = rig.maintenance.check(read_data=True)
    assert not report.clean
    ranges = ((extent.offset, extent.end),)
    assert files_of(report.findings) == {"/bad": ranges, "/copy": ranges}
    [finding] = [f for f in report.findings if f.kind == "block-damaged"]
    assert finding.block == extent.block.hex()
    assert finding.pack == extent.hint

    reader = rig.volume.reader(rig.attr("bad"))
    assert bytes(reader.read(0, extent.offset)) == data[: extent.offset]
    assert bytes(reader.read(extent.end, len(data))) == data[extent.end :]
    for offset in (extent.offset, extent.end - 1):
        with pytest.raises(Damaged):
            reader.read(offset, 1)
    # And it stays told: what is damaged is neither forgotten nor collected.
    rig.maintenance.collect()
    rig.reopen()
    assert files_of(rig.maintenance.check(read_data=True).findings) == {"/bad": ranges, "/copy": ranges}
    assert files_of(rig.maintenance.check().findings) in ({}, {"/bad": ranges, "/copy": ranges})


def test_rewriting_a_damaged_file_repairs_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    data = noise(4 * MIB, 4)
    rig.put("file", data)
    rig.reopen()
    flip(rig, place(rig, "file", MIB).block)
    assert not rig.maintenance.check(read_data=True).clean
    rig.put("file", data)
    for _ in range(2):
        report = rig.maintenance.check(read_data=True)
        assert [finding.kind for finding in report.findings] == ["unused-damaged"]
        assert report.clean
        assert rig.maintenance.scrub().clean
        assert rig.read_cold("file") == data
        rig.reopen()


def test_missing_pack_is_named_with_the_files_that_lose_bytes(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    data = noise(6 * MIB, 5)
    rig.put("file", data)
    rig.put("other", noise(3 * MIB, 6))
    rig.reopen()
    lost = place(rig, "file", 3 * MIB).hint
    expected = tuple(
        (extent.offset, extent.end)
        for region in rig.volume.namespace.extents(rig.attr("file").content, 0, 0)
        for extent in region.extents
        if extent.hint == lost
    )
    path = rig.pack_file(lost)
    rig.close()
    path.unlink()
    rig.open()
    report = rig.maintenance.check()
    assert [finding.pack for finding in report.findings if finding.kind == "pack-missing"] == [lost]
    assert joined(files_of(report.findings)["/file"]) == joined(expected)
    again = rig.maintenance.check(rebuild_index=True, read_data=True)
    assert joined(files_of(again.findings)["/file"]) == joined(expected)


def joined(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, end in ranges:
        if result and result[-1][1] == start:
            result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def test_torn_footer_costs_no_data(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    data = noise(6 * MIB, 7)
    rig.put("file", data)
    rig.reopen()
    row = rig.packs()[0]
    path = rig.pack_file(row.number)
    rig.close()
    path.write_bytes(path.read_bytes()[:-40])
    rig.open()
    assert rig.read_cold("file") == data
    report = rig.maintenance.check(read_data=True)
    assert {finding.kind for finding in report.findings} == {"pack-damaged"}
    rig.maintenance.collect()
    assert rig.read_cold("file") == data


def test_rebuilt_index_equals_the_one_that_grew(rig: Rig) -> None:
    rig.put("file", noise(7 * MIB, 8))
    rig.put("gone", noise(5 * MIB, 9))
    rig.put("last", noise(300_000, 10))
    rig.unlink("gone")
    rig.reopen()
    rig.maintenance.collect()
    rig.reopen()
    before = list(rig.engine.index.entries())
    report = rig.maintenance.check(rebuild_index=True)
    assert report.clean
    assert "the block index was made anew" in report.repaired[0]
    assert list(rig.engine.index.entries()) == before
    rig.assert_sound()


def test_index_that_lacks_blocks_is_told_and_repaired(rig: Rig) -> None:
    data = noise(5 * MIB, 11)
    rig.put("file", data)
    rig.reopen()
    rig.engine.store.forget_packs([row.number for row in rig.packs()])
    report = rig.maintenance.check()
    assert [finding.kind for finding in report.findings] == ["index"]
    assert rig.maintenance.check(repair=True).clean
    rig.assert_sound()
    assert rig.read_cold("file") == data


def test_object_without_a_row_is_told_and_gets_one(rig: Rig) -> None:
    rig.put("file", noise(3 * MIB, 12))
    rig.put("gone", noise(3 * MIB, 13))
    rig.reopen()
    files = {path: path.read_bytes() for path in rig.path.glob("packs/*/*.pack")}
    rig.unlink("gone")
    rig.maintenance.collect()
    strays = [path for path in files if not path.exists()]
    for path in strays:
        path.write_bytes(files[path])
    report = rig.maintenance.check()
    assert report.clean  # told, not damage
    assert [finding.kind for finding in report.findings] == ["unclaimed"] * len(strays)
    assert rig.maintenance.check(repair=True).findings == ()
    rig.assert_sound()
    rig.maintenance.collect()
    assert not any(path.exists() for path in strays)
    assert rig.read_cold("file") == noise(3 * MIB, 12)
    rig.assert_sound()


def test_a_stray_pack_without_a_block_is_no_damage(rig: Rig) -> None:
    """Packs are begun ahead of need; one that was never used consists of its header."""
    rig.put("file", noise(MIB, 15))
    rig.reopen()
    (pack,) = [path for path in rig.path.glob("packs/*/*.pack") if path.stat().st_size > 100_000]
    uuid = new_uuid()
    stray = rig.path / pack_key(uuid)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(encode_header(uuid, pack.read_bytes()[32:48]))
    assert [finding.kind for finding in rig.maintenance.check().findings] == ["unclaimed"]
    assert rig.maintenance.check(repair=True).findings == ()
    rig.assert_sound()
    rig.maintenance.collect()
    assert not stray.exists()


def test_wrong_counts_are_told_and_counted_again(rig: Rig) -> None:
    rig.put("file", noise(2 * MIB, 14))
    rig.clone("file", "copy")
    rig.patch("copy", 5, b"so that it is a draft")
    usage = rig.volume.namespace.usage()
    store = rig.engine.namespace_store
    with store.lock:
        for wrong in (
            "UPDATE inodes SET nlink = nlink + 3",
            "UPDATE contents SET refs = refs + 1",
        ):
            store.change(store.execute, wrong)
        store.volumes()[0].add(1000, 7)
        store.commit()
    rig.volume.close()
    rig.engine.close()
    rig.open()
    report = rig.maintenance.check()
    assert {finding.kind for finding in report.findings} == {"namespace"}
    assert len(report.findings) >= 5
    repaired = rig.maintenance.check(repair=True)
    assert repaired.findings == ()
    assert len(repaired.repaired) == 4
    assert rig.volume.namespace.usage() == usage
    rig.reopen()
    rig.assert_sound()
    assert rig.volume.namespace.usage() == usage


def test_findings_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: object) -> None:
    monkeypatch.setattr("graviton_server.maintenance.fsck.FINDINGS_MAX", 3)
    for number in range(6):
        rig.put(f"f{number}", noise(400_000, 20 + number))
    rig.reopen()
    paths = [rig.pack_file(row.number) for row in rig.packs()]
    rig.close()
    for path in paths:
        path.unlink()
    rig.open()
    report = rig.maintenance.check()
    assert len(report.findings) == 3
    assert report.more_findings > 0
    assert not report.clean
