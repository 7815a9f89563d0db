"""Every version opens the volumes that earlier ones wrote, unchanged, and goes on with them."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest

from golden.expected import CLONE_END, CLONE_PATCH, FILES, HARD_LINK, SYMLINK, XATTR, contents
from graviton_server.wiring import Engine, EngineOptions
from gravitonfs.content.volume import Volume
from gravitonfs.ports.ops import Attr

HERE = Path(__file__).parent
VOLUMES = sorted(HERE.glob("volume-*.tar.xz"))


def _attr(volume: Volume, path: bytes) -> Attr:
    parts = path.split(b"/")
    found = volume.namespace.resolve(parts)
    assert len(found) == len(parts), path
    return found[-1]


def _bytes(volume: Volume, path: bytes) -> bytes:
    attr = _attr(volume, path)
    return bytes(volume.reader(attr).read(0, attr.size + 1))


def _check(volume: Volume) -> None:
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
    with tarfile.open(archive) as packed:
        packed.extractall(data, filter="data")
    for _ in range(2):  # the second time the index is there
        with Engine(data, EngineOptions(background=False)) as engine:
            volume = engine.volume("golden")
            _check(volume)
            volume.close()
            assert not engine.maintenance.check(read_data=True).findings
    with Engine(data, EngineOptions(background=False)) as engine:
        volume = engine.volume("golden")
        with volume.stage(mode=0o600, uid=0, gid=0) as staged:
            staged.write(b"new")
            staged.publish(volume.namespace.root, b"new")
        assert _bytes(volume, b"new") == b"new"
        _check(volume)
        volume.close()


def test_there_is_one() -> None:
    assert VOLUMES
