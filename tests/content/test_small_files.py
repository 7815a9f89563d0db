"""Files that stay below one block, and those that grow beyond it: same bytes, same digest, same blocks."""

from __future__ import annotations

import itertools
import random
import shutil
import stat
from collections.abc import Iterator

import pytest
from blake3 import blake3

from graviton_server.wiring import open_embedded
from gravitonfs.content.volume import Volume
from gravitonfs.content.writer import FileWriter
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Attr, Create
from harness.places import make_scratch

BLOCK_MIN = 64 << 10
_names = itertools.count()


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    place = make_scratch()
    with open_embedded(place / "v", create=True) as engine:
        attached = engine.volume("small")
        yield attached
        attached.close()
    shutil.rmtree(place)


@pytest.fixture
def file(volume: Volume) -> Attr:
    name = b"f%d" % next(_names)
    op = Create(volume.namespace.root, name, volume.new_ino(), stat.S_IFREG | 0o644, 0, 0)
    return volume.submit_for_attr(op)


def stored(volume: Volume, ino: Ino) -> bytes:
    attr = volume.namespace.attr(ino)
    return bytes(volume.reader(attr).read(0, attr.size))


def digest(volume: Volume, ino: Ino) -> bytes | None:
    info = volume.namespace.content(volume.namespace.attr(ino).content)
    return info.digest if info.kind is ContentKind.SEALED else None


def blocks(volume: Volume, ino: Ino) -> list[bytes]:
    attr = volume.namespace.attr(ino)
    [region] = volume.namespace.extents(attr.content, 0, 0)
    return [bytes(extent.block) for extent in region.extents]


@pytest.mark.parametrize("synced", [(), (0,), (0, 1), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize(
    "lengths",
    [(10, 20, 30, 40), (60_000, 5_536, 1, 1), (30_000,) * 4, (10, 65_536, 300_000, 5), (65_536,) * 4],
)
def test_syncs_in_between_change_no_digest_and_below_a_block_no_boundary(
    volume: Volume, file: Attr, lengths: tuple[int, ...], synced: tuple[int, ...]
) -> None:
    source = random.Random(sum(lengths))
    parts = [source.randbytes(length) for length in lengths]
    whole = b"".join(parts)
    writer = volume.writer(file)
    for number, part in enumerate(parts):
        writer.write(writer.size, part)
        if number in synced:
            writer.flush(durable=number % 2 == 0)
            assert not writer.dirty
            assert stored(volume, file.ino) == b"".join(parts[: number + 1])
    writer.flush(seal=True)
    assert stored(volume, file.ino) == whole
    assert digest(volume, file.ino) == blake3(whole).digest()
    at_once = volume.submit_for_attr(
        Create(volume.namespace.root, b"once%d" % next(_names), volume.new_ino(), stat.S_IFREG | 0o644, 0, 0)
    )
    writer = volume.writer(at_once)
    writer.write(0, whole)
    writer.flush(seal=True)
    if not synced or len(whole) < BLOCK_MIN:
        assert blocks(volume, file.ino) == blocks(volume, at_once.ino)
    assert volume.ingest.budget.used == 0


def test_what_is_not_stored_yet_can_be_written_over(volume: Volume, file: Attr) -> None:
    writer = volume.writer(file)
    writer.write(0, b"0123456789")
    writer.write(4, b"abc")
    writer.flush()
    writer.write(2, b"XY")  # that is stored: a patch
    writer.write(10, b"end")
    writer.flush(seal=True)
    assert stored(volume, file.ino) == b"01XYabc789end"
    assert volume.ingest.budget.used == 0


def test_a_gap_is_a_hole(volume: Volume, file: Attr) -> None:
    writer = volume.writer(file)
    writer.write(0, b"start")
    writer.write(1000, b"end")
    writer.flush(seal=True)
    assert stored(volume, file.ino) == b"start" + bytes(995) + b"end"


def test_it_is_not_sealed_when_somebody_else_wrote_too(volume: Volume, file: Attr) -> None:
    first, second = volume.writer(file), volume.writer(file)
    first.write(0, b"mine")
    second.write(0, b"yours, longer")
    second.flush()
    first.flush()
    first.flush(seal=True)
    assert stored(volume, file.ino) == b"mines, longer"
    assert digest(volume, file.ino) in (None, blake3(b"mines, longer").digest())


@pytest.mark.parametrize("flushed", [False, True])
def test_discarded_bytes_are_gone_and_count_no_more(volume: Volume, file: Attr, flushed: bool) -> None:
    writer: FileWriter = volume.writer(file)
    writer.write(0, b"x" * 1000)
    if flushed:
        writer.flush()
        writer.write(1000, b"y" * 1000)
    writer.discard()
    assert not writer.dirty
    assert volume.ingest.budget.used == 0
    assert stored(volume, file.ino) == (b"x" * 1000 if flushed else b"")
