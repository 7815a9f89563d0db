"""Every version opens the volumes that earlier ones wrote, unchanged, and goes on with them."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from golden.expected import (
    CLONE_END,
    CLONE_PATCH,
    FILES,
    HARD_LINK,
    KEPT,
    LOST,
    QUOTA,
    SECOND,
    SYMLINK,
    XATTR,
    compressible,
    contents,
)
from graviton_server.namespace.schema import SCHEMA_VERSION
from graviton_server.wiring import Engine, EngineOptions
from gravitonfs.content.volume import Volume
from gravitonfs.ports.ops import Attr

HERE = Path(__file__).parent
VOLUMES = sorted(HERE.glob("volume-*.tar.xz"))
"""Each made by the code that was the newest then; the first, of schema 1, with bytes nothing compresses."""
Contents = Callable[[bytes], bytes]


def contents_of(archive: Path) -> Contents:
    return compressible if "-schema-" in archive.name else contents


def unpacked(archive: Path, data: Path) -> Contents:
    with tarfile.open(archive) as packed:
        packed.extractall(data, filter="data")
    return contents_of(archive)


def _attr(volume: Volume, path: bytes) -> Attr:
    parts = path.split(b"/")
    found = volume.namespace.resolve(parts)
    assert len(found) == len(parts), path
    return found[-1]


def _bytes(volume: Volume, path: bytes) -> bytes:
    attr = _attr(volume, path)
    return bytes(volume.reader(attr).read(0, attr.size + 1))


def _check(volume: Volume, contents: Contents) -> None:
    for path in FILES:
        attr = _attr(volume, path)
        assert _bytes(volume, path) == contents(path)
        assert (stat.S_IMODE(attr.mode), attr.uid, attr.gid) == (0o640, 1000, 1000)
        assert attr.mtime_ns == 1_700_000_000_123_456_789
    assert _attr(volume, HARD_LINK).ino == _attr(volume, b"small").ino
    assert _attr(volume, b"small").nlink == 2
    assert volume.namespace.xattr(_attr(volume, b"small").ino, XATTR[0]) == XATTR[1]
    assert volume.namespace.readlink(_attr(volume, SYMLINK[0]).ino) == SYMLINK[1]
    assert stat.S_ISDIR(_attr(volume, b"dir/\xff\xfe").mode)
    clone = _attr(volume, b"clone")
    reader = volume.reader(clone)
    assert clone.size == CLONE_END[0] + len(CLONE_END[1])
    at, patch = CLONE_PATCH
    original = contents(b"large")
    expected = original[:at] + patch + original[at + len(patch) :]
    assert bytes(reader.read(0, len(original))) == expected
    assert bytes(reader.read(CLONE_END[0] - 5, 100)) == bytes(5) + CLONE_END[1]


@pytest.mark.parametrize("archive", VOLUMES, ids=[path.stem for path in VOLUMES])
def test_a_volume_of_an_earlier_version_opens(archive: Path, scratch: Path) -> None:
    data = scratch / "data"
    contents = unpacked(archive, data)
    for _ in range(2):  # the second time the index is there
        with Engine(data, EngineOptions(background=False)) as engine:
            volume = engine.volume("golden")
            _check(volume, contents)
            volume.close()
            assert not engine.maintenance.check(read_data=True).findings
    with Engine(data, EngineOptions(background=False)) as engine:
        volume = engine.volume("golden")
        with volume.stage(mode=0o600, uid=0, gid=0) as staged:
            staged.write(b"new")
            staged.publish(volume.namespace.root, b"new")
        assert _bytes(volume, b"new") == b"new"
        _check(volume, contents)
        volume.close()


def test_each_schema_has_one_and_the_newest_has_a_bit_of_everything(scratch: Path) -> None:
    last = f"volume-1-schema-{SCHEMA_VERSION}"
    others = [f"volume-1-schema-{n}" for n in range(2, SCHEMA_VERSION)]
    assert {path.name.partition(".")[0] for path in VOLUMES} == {"volume-1", *others, last}
    data = scratch / "data"
    unpacked(HERE / f"{last}.tar.xz", data)
    with Engine(data, EngineOptions(background=False)) as engine:
        store = engine.namespace_store
        assert [row.name for row in store.volume_rows()] == ["main", SECOND]
        [kept] = store.snapshot_rows("main")
        assert kept.name == KEPT
        [quota] = store.quotas.rows("main")
        assert (quota.max_bytes, quota.max_inodes) == QUOTA
        then = store.attach("main", label="then", at=kept.version)
        assert then.lookup(then.root, LOST[0]) is not None
        assert not engine.maintenance.check(read_data=True).findings
