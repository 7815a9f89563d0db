"""Files that random writes have fragmented take no more room, in the end, than clean copies."""

from __future__ import annotations

import random
import resource

import pytest

from graviton_server.maintenance import recut
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Write
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


def test_windows_change_nothing_but_the_memory(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map too large to be looked at in one piece is cut as if it had been, holes and all."""
    original = noise(7 * REGION // 4, 11)
    rig.put("original", original)
    rig.clone("original", "pieces")
    writer = rig.volume.writer(rig.attr("pieces"))
    content = bytearray(original)
    places = random.Random(12)
    spots = [places.randrange(2 * MIB, len(content) - 4096) for _ in range(1500)]
    spots += range(REGION - 40 * 4096, REGION + 40 * 4096, 4096)  # and all around a region's border
    for number, offset in enumerate(spots):
        content[offset : offset + 2048] = patch = noise(2048, 1_000_000 + number)
        writer.write(offset, patch)
    writer.flush()
    content += bytes(3 * MIB) + noise(MIB, 13)
    rig.patch("pieces", len(content) - MIB, bytes(content[-MIB:]))
    monkeypatch.setattr(recut, "WINDOW_EXTENTS", 700)
    monkeypatch.setattr(recut, "WINDOW_REGIONS", 1)
    assert rig.maintenance.settle(60)
    assert rig.read_cold("pieces") == bytes(content)
    rig.unlink("original")
    rig.reopen()
    rig.maintenance.collect()
    rig.assert_sound()
    before = rig.engine.store.counters().bytes_put
    rig.put("whole", bytes(content[: -4 * MIB]))
    assert rig.engine.store.counters().bytes_put - before < 2 * MIB
    held = rig.engine.namespace_store.upkeep
    assert list(held.deep_drafts(10)) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_more_than_a_million_extents(rig: Rig) -> None:
    """Five regions, each with as many as the namespace takes: cut anew, and the memory stays bounded."""
    pool = noise(MIB, 21)
    rig.put("pool", pool)
    attr = rig.attr("pool")
    blocks = rig.volume.namespace.extents(attr.content, 0, 0)[0].extents
    rig.create("pieces")
    ino = rig.attr("pieces").ino
    r = random.Random(22)
    content = bytearray(5 * REGION)
    for region in range(5):
        run = []
        for number in range(240_000):
            block = r.choice(blocks)
            at = r.randrange(0, block.length - 16)
            offset = region * REGION + number * 16
            content[offset : offset + 16] = pool[block.offset + at : block.offset + at + 16]
            run.append(Extent(offset, 16, block.block, at, block.hint))
        packs = tuple({block.hint for block in blocks})
        rig.volume.session.submit((Write(ino, tuple(run), run[-1].end),), packs=packs)
    rig.patch("pieces", 0, bytes(content[:16]))
    size = rig.attr("pieces").size
    assert extents(rig, "pieces") > 1 << 20
    before = peak()
    assert rig.maintenance.settle(300)
    assert peak() - before < 400 * MIB
    assert extents(rig, "pieces") < 200
    assert rig.read_cold("pieces") == bytes(content[:size])
    rig.assert_sound()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


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
