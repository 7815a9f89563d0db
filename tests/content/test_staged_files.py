"""Staged files: whole or not at all, whatever their size and whoever is faster."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator

import pytest
from blake3 import blake3

from graviton_server.wiring import open_embedded
from gravitonfs.content.blobs import BlobWriter, StoredBlob, open_blob
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import BlobId, Ino
from gravitonfs.errors import Conflict, FileTooLarge, Invalid, IsADirectory, NotFound
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Attr, Create, DropBlobRef, SetAttr
from harness.places import make_scratch

BLOCK_MIN = 64 << 10


@pytest.fixture(scope="module")
def volume() -> Iterator[Volume]:
    place = make_scratch()
    with open_embedded(place / "v", create=True) as engine:
        attached = engine.volume("staging")
        yield attached
        attached.close()
    shutil.rmtree(place)


@pytest.fixture
def here(volume: Volume, request: pytest.FixtureRequest) -> Ino:
    ino = volume.new_ino()
    name = request.node.name.encode()[:200]
    volume.submit(Create(volume.namespace.root, name, ino, stat.S_IFDIR | 0o755, 0, 0))
    return ino


def put(volume: Volume, here: Ino, data: bytes, **options: object) -> Attr:
    with volume.stage(mode=0o640, uid=7, gid=8) as staged:
        for start in range(0, len(data), 50_000):
            staged.write(data[start : start + 50_000])
        return staged.publish(here, b"f", **options)  # type: ignore[arg-type]


def content(volume: Volume, here: Ino) -> bytes | None:
    attr = volume.namespace.lookup(here, b"f")
    return None if attr is None else bytes(volume.reader(attr).read(0, attr.size))


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("size", [0, 1, BLOCK_MIN - 1, BLOCK_MIN, BLOCK_MIN + 1, 3_000_000])
def test_any_size_is_whole_sealed_and_dated(volume: Volume, here: Ino, size: int, new: bool) -> None:
    data = os.urandom(size)
    attr = put(volume, here, data, new=new, mtime_ns=1_000_000_000_123_456_789)
    assert attr == volume.namespace.lookup(here, b"f")
    assert (attr.size, attr.uid, attr.gid, attr.nlink) == (size, 7, 8, 1)
    assert attr.mode == stat.S_IFREG | 0o640
    assert attr.mtime_ns == 1_000_000_000_123_456_789
    assert content(volume, here) == data
    if size:
        info = volume.namespace.content(attr.content)
        assert info.kind is ContentKind.SEALED
        assert info.digest == blake3(data).digest()


@pytest.mark.parametrize("size", [100, BLOCK_MIN, 300_000])
def test_the_same_bytes_are_stored_once_however_they_came(volume: Volume, here: Ino, size: int) -> None:
    data = os.urandom(size)
    whole = put(volume, here, data)
    ino = volume.new_ino()
    volume.submit(Create(here, b"written", ino, stat.S_IFREG | 0o644, 0, 0))
    writer = volume.writer(volume.namespace.attr(ino))
    writer.write(0, data)
    writer.flush()
    blocks = [
        [extent.block for region in volume.namespace.extents(attr.content, 0, 0) for extent in region.extents]
        for attr in (whole, volume.namespace.attr(ino))
    ]
    assert blocks[0] == blocks[1]


@pytest.mark.parametrize("size", [10, 300_000])
def test_who_is_slower_takes_the_name_over_or_is_told(volume: Volume, here: Ino, size: int) -> None:
    first = put(volume, here, b"first", new=True)
    volume.submit(SetAttr(first.ino, mode=0o755))
    second = put(volume, here, bytes(size), new=True)
    assert (second.ino, stat.S_IMODE(second.mode)) == (first.ino, 0o755)
    assert content(volume, here) == bytes(size)
    with pytest.raises(Conflict):
        put(volume, here, b"x" * size, new=True, absent=True)
    with pytest.raises(Conflict):
        put(volume, here, b"x" * size, expect=(first.content, first.version))
    assert content(volume, here) == bytes(size)
    put(volume, here, b"third", expect=(second.content, second.version))
    assert content(volume, here) == b"third"


@pytest.mark.parametrize("size", [10, 300_000])
def test_what_is_not_published_leaves_nothing(volume: Volume, here: Ino, size: int) -> None:
    inodes = volume.namespace.usage().inodes
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(bytes(size))
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(bytes(size))
        with pytest.raises(NotFound):
            staged.publish(Ino(1 << 40), b"f")
    root = volume.namespace.root
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(bytes(size))
        with pytest.raises(IsADirectory):
            staged.publish(root, volume.namespace.entries(root, None, 1)[0].name)
    assert volume.namespace.usage().inodes == inodes
    assert content(volume, here) is None
    assert volume.shared.dirty.used == 0


def test_a_file_that_grows_too_large_is_refused(volume: Volume, here: Ino) -> None:
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(b"x")
        staged._size = volume.namespace.format.max_file_size
        with pytest.raises(FileTooLarge):
            staged.write(b"x")


def test_the_group_of_a_setgid_directory_is_inherited(volume: Volume, here: Ino) -> None:
    volume.submit(SetAttr(here, mode=0o2775, gid=42))
    assert put(volume, here, b"new", new=True).gid == 42
    assert volume.namespace.attr(here).nlink == 2


@pytest.mark.parametrize("size", [0, 1, BLOCK_MIN, 20 << 20])
def test_kept_as_a_blob(volume: Volume, size: int) -> None:
    data = os.urandom(size)
    names = volume.namespace
    before = names.usage()
    digest = blake3(data).digest()
    for attempt in range(2):
        with BlobWriter(volume, size, digest) as writer:
            for start in range(0, size, 1 << 20):
                writer.write(data[start : start + (1 << 20)])
            stored = writer.finish()
        assert stored == (BlobId(digest, size), 0 if attempt else size, bool(attempt))
    assert names.usage() == before
    assert b"".join(map(bytes, open_blob(volume, stored.id).stream(0, size))) == data
    volume.submit(DropBlobRef(*stored.id))


def keep(volume: Volume, data: bytes, length: int | None = None, digest: bytes | None = None) -> StoredBlob:
    with BlobWriter(volume, length, digest) as writer:
        writer.write(data)
        return writer.finish()


@pytest.mark.parametrize("size", [5, 20 << 20])
def test_other_bytes_than_announced_leave_no_blob(volume: Volume, size: int) -> None:
    before = volume.namespace.usage()
    data = os.urandom(size)
    for length, digest in ((size, bytes(32)), (size + 1, None), (size - 1, None)):
        with pytest.raises(Invalid, match="announced"):
            keep(volume, data, length, digest)
    assert volume.namespace.blob(blake3(data).digest(), size) is None
    assert volume.namespace.usage() == before


def test_bytes_that_a_file_has_are_not_new(volume: Volume, here: Ino) -> None:
    data = os.urandom(20_000)
    put(volume, here, data)
    stored = keep(volume, data)
    assert (stored.new_bytes, stored.existed) == (0, False)
