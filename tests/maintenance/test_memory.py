"""Marking a large volume takes little memory."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.work import Work
from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.core.codec import RAW
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import Create, Write
from maintenance.rig import Rig

BLOCKS = 1_000_000
GROUP = 5_000
SIZE = 64


def peak_bytes() -> int:
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) << 10


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_mark_of_a_million_blocks_is_small(scratch: Path) -> None:
    options = EngineOptions(background=False, pack_size=1 << 20)
    with open_embedded(scratch / "data", create=True, options=options) as engine:
        volume = engine.volume("test")
        root = volume.namespace.root
        for group in range(BLOCKS // GROUP):
            plains = [b"%064d" % (group * GROUP + number) for number in range(GROUP)]
            blocks = [Block(block_id(plain), RAW, SIZE, plain) for plain in plains]
            hints = engine.store.put(blocks)
            extents = tuple(
                Extent(number * SIZE, SIZE, block.id, 0, hint)
                for number, (block, hint) in enumerate(zip(blocks, hints, strict=True))
            )
            ino = volume.new_ino()
            volume.session.submit(
                (Create(root, b"f%d" % group, ino, 0o100644, 0, 0), Write(ino, extents, GROUP * SIZE)),
                packs=tuple(set(hints)),
            )
        volume.commit()
        stores = Rig.stores_of(engine)
        reset_peak()
        before = peak_bytes()
        began = time.monotonic()
        mark = mark_live(stores, Work())
        seconds, grown = time.monotonic() - began, peak_bytes() - before
        assert mark.live_blocks == BLOCKS
        assert not mark.missing
        print(f"mark of {BLOCKS} blocks: {seconds:.1f} s, {grown / 1e6:.0f} MB more at its peak")
        assert grown < 96 << 20
        volume.close()
