"""Files that end exactly where a segment does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.content.stream import SEGMENT
from gravitonfs.ports.ops import Create


@pytest.mark.parametrize("segments", [1, 2])
def test_file_of_whole_segments_is_stored_to_its_last_byte(scratch: Path, segments: int) -> None:
    data = random.Random(segments).randbytes(segments * SEGMENT)
    with open_embedded(scratch / "data", create=True, options=EngineOptions(background=False)) as engine:
        volume = engine.volume("test")
        with volume.stage(mode=0o644, uid=0, gid=0) as staged:
            staged.write(data)
            attr = staged.publish(volume.namespace.root, b"staged")
        assert bytes(volume.reader(attr).read(0, len(data) + 1)) == data

        made = volume.submit_for_attr(
            Create(volume.namespace.root, b"written", volume.new_ino(), 0o100644, 0, 0)
        )
        writer = volume.writer(made)
        for start in range(0, len(data), 1 << 20):
            writer.write(start, data[start : start + (1 << 20)])
        assert writer.dirty
        writer.flush(durable=True)
        assert not writer.dirty
        assert bytes(volume.reader(writer.attr).read(0, len(data) + 1)) == data
        volume.close()
