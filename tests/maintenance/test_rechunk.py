"""Files that random writes have fragmented take no more room, in the end, than clean copies."""

from __future__ import annotations

import random

import pytest

from gravitonfs.core.extents import REGION
from gravitonfs.ports.namespace import ContentKind
from maintenance.rig import MIB, Rig, noise


def scatter(rig: Rig, name: str, data: bytes, writes: int, size: int, seed: int) -> bytes:
    """Write ``size`` bytes in ``writes`` random places; returns what the file then holds."""
    places = random.Random(seed)
    content = bytearray(data)
    writer = rig.volume.writer(rig.attr(name))
    for number in range(writes):
        offset = places.randrange(0, len(data) - size) // 512 * 512
        patch = noise(size, seed * 100_000 + number)
        content[offset : offset + size] = patch
        writer.write(offset, patch)
        if number % 50 == 49:
            writer.flush()
    writer.flush()
    return bytes(content)


def extents(rig: Rig, name: str) -> int:
    attr = rig.attr(name)
    regions = rig.volume.namespace.extents(attr.content, 0, attr.size // REGION)
    return sum(len(region.extents) for region in regions)


def test_random_writes_into_a_copy_cost_no_more_than_a_clean_copy(rig: Rig) -> None:
    original = noise(24 * MIB, 1)
    rig.put("original", original)
    rig.clone("original", "copy")
    changed = scatter(rig, "copy", original, 1500, 4096, 2)
    assert rig.read("copy") == changed
    assert extents(rig, "copy") > 1000
    assert rig.maintenance.settle(60)
    assert rig.read_cold("copy") == changed
    assert rig.read_cold("original") == original
    rig.reopen()
    after = rig.stored()
    rig.assert_sound()

    clean = Rig(rig.path.parent / "clean")
    try:
        clean.put("original", original)
        clean.put("copy", changed)
        clean.reopen()
        assert after <= clean.stored() * 1.1
        assert extents(rig, "copy") <= extents(clean, "copy") * 1.1
    finally:
        clean.close()


def test_recut_file_deduplicates_with_one_written_whole(rig: Rig) -> None:
    changed = scatter_into_new(rig)
    assert rig.maintenance.settle(60)
    before = rig.engine.store.counters().bytes_put
    rig.put("whole", changed)
    assert rig.engine.store.counters().bytes_put - before < len(changed) // 50
    assert rig.read_cold("whole") == changed


def scatter_into_new(rig: Rig) -> bytes:
    data = noise(12 * MIB, 3)
    rig.put("file", data)
    return scatter(rig, "file", data, 600, 3000, 4)


def test_only_what_is_ragged_is_read(rig: Rig) -> None:
    """One bad region of a large file: the others are not touched."""
    data = noise(3 * REGION // 2, 5)
    rig.put("large", data)
    content = bytearray(data)
    writer = rig.volume.writer(rig.attr("large"))
    for number in range(900):
        offset = number * 9000
        content[offset : offset + 2000] = patch = noise(2000, 9_000_000 + number)
        writer.write(offset, patch)
    writer.flush()
    read = rig.engine.store.counters().bytes_read
    assert rig.maintenance.settle(60)
    status = {task.name: task for task in rig.maintenance.status()}
    assert "1 files cut anew" in status["rechunk"].last_result
    # What re-chunking and the digest afterwards read: the digest all, the former the first region.
    assert rig.engine.store.counters().bytes_read - read < len(data) + REGION * 1.3
    assert rig.read_cold("large") == bytes(content)
    rig.assert_sound()


def test_sparse_file_keeps_its_holes_and_is_not_cut_for_ever(rig: Rig) -> None:
    rig.create("sparse")
    content = bytearray(400 * 70_000)
    writer = rig.volume.writer(rig.attr("sparse"))
    for number in range(400):
        patch = noise(1000, number)
        content[number * 70_000 : number * 70_000 + 1000] = patch
        writer.write(number * 70_000, patch)
    writer.flush()
    size = rig.attr("sparse").size
    before = extents(rig, "sparse")
    assert rig.maintenance.settle(60)
    assert rig.read_cold("sparse") == bytes(content[:size])
    assert extents(rig, "sparse") == before
    runs = {task.name: task.last_result for task in rig.maintenance.status()}["rechunk"]
    assert rig.maintenance.settle(60)
    assert {task.name: task.last_result for task in rig.maintenance.status()}["rechunk"] == runs


def test_file_that_changes_meanwhile_is_left_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = bytearray(scatter_into_new(rig))
    namespace = type(rig.volume.namespace)
    real = namespace.apply
    interfered = []

    def apply(self, batches, *, durable):  # type: ignore[no-untyped-def]
        if any(type(op).__name__ == "Rewrite" for batch in batches for op in batch.ops) and not interfered:
            interfered.append(True)
            rig.patch("file", 0, b"meanwhile")
        return real(self, batches, durable=durable)

    monkeypatch.setattr(namespace, "apply", apply)
    changed[:9] = b"meanwhile"
    assert rig.maintenance.settle(60)
    assert interfered
    assert rig.read_cold("file") == bytes(changed)
    rig.assert_sound()


def test_copy_of_a_copy_is_flattened(rig: Rig) -> None:
    data = noise(4 * MIB, 6)
    rig.put("f0", data)
    for depth in range(1, 4):
        rig.clone(f"f{depth - 1}", f"f{depth}")
        rig.patch(f"f{depth}", depth * 100_000, b"%d" % depth)
        data = data[: depth * 100_000] + b"%d" % depth + data[depth * 100_000 + 1 :]
    for depth in range(3):
        rig.unlink(f"f{depth}")
    assert rig.maintenance.settle(60)
    assert list(rig.engine.namespace_store.upkeep.deep_drafts(10)) == []
    assert rig.read_cold("f3") == data
    assert rig.volume.namespace.content(rig.attr("f3").content).kind is ContentKind.SEALED
    rig.reopen()
    rig.maintenance.collect()
    assert rig.stored() < 5.2 * MIB
    rig.assert_sound()
