"""What is there after a clean close."""

from __future__ import annotations

from uuid import UUID

from packs.rig import Rig, block, random_blocks


def test_blocks_of_several_packs_are_found_and_read_after_reopening(rig: Rig) -> None:
    blocks = [*random_blocks(40, 100_000), block(b"text " * 50_000, level=1)]
    packs = rig.store.put(blocks)
    assert len(set(packs)) > 2
    rig.reopen()
    assert rig.store.missing([b.id for b in blocks]) == packs
    plain = [bytes(data) for data in rig.store.get([(b.id, p) for b, p in zip(blocks, packs, strict=True)])]
    assert plain[:-1] == [b.payload for b in blocks[:-1]]
    assert plain[-1] == b"text " * 50_000
    assert rig.report.sealed == 0


def test_every_row_of_a_closed_store_tells_the_length_of_its_pack(rig: Rig) -> None:
    rig.store.put(random_blocks(40, 100_000))
    rig.close()
    sizes = {path.stem: path.stat().st_size for path in rig.pack_files()}
    for row in rig.registry.rows():
        if row.length:
            assert sizes[str(UUID(bytes=row.uuid))] == row.length
    assert sum(row.blocks for row in rig.registry.rows()) == 40
