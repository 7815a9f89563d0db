"""Makes the golden volume: run once, at the end of a format's first release, never again for that format.

``python tests/golden/make_volume.py DIRECTORY`` writes ``volume-<format>.tar.xz`` there. The archive is a
whole DATA directory as a closed engine leaves it; the tests of every later version open it.
"""

from __future__ import annotations

import os
import stat
import sys
import tarfile
import tempfile
from pathlib import Path

from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.content.volume import Volume
from gravitonfs.core.format import FORMAT_VERSION, VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Attr, Clone, Create, Link, SetXattr

try:
    from golden.expected import DIRECTORIES, FILES, HARD_LINK, SYMLINK, XATTR, contents
except ImportError:
    from expected import DIRECTORIES, FILES, HARD_LINK, SYMLINK, XATTR, contents


def _directory(volume: Volume, path: bytes) -> Ino:
    parts = [part for part in path.split(b"/") if part]
    found = volume.namespace.resolve(parts)
    return found[-1].ino if found else volume.namespace.root


def _split(volume: Volume, path: bytes) -> tuple[Ino, bytes]:
    head, _, tail = path.rpartition(b"/")
    return _directory(volume, head), tail


def fill(volume: Volume) -> None:
    for path in DIRECTORIES:
        parent, name = _split(volume, path)
        volume.submit(Create(parent, name, volume.new_ino(), stat.S_IFDIR | 0o750, 1000, 1000))
    for path in FILES:
        parent, name = _split(volume, path)
        with volume.stage(mode=0o640, uid=1000, gid=1000) as staged:
            staged.write(contents(path))
            staged.publish(parent, name, mtime_ns=1_700_000_000_123_456_789)
    _special(volume)


def _special(volume: Volume) -> None:
    attrs = volume.namespace.resolve([b"small"])
    volume.submit(Link(attrs[0].ino, *_split(volume, HARD_LINK)))
    volume.submit(SetXattr(attrs[0].ino, *XATTR))
    mode = stat.S_IFLNK | 0o777
    volume.submit(Create(volume.namespace.root, SYMLINK[0], volume.new_ino(), mode, 0, 0, 0, SYMLINK[1]))
    source = volume.namespace.resolve([b"large"])[0]
    clone = volume.submit(Clone(source.ino, source_parent(volume), b"clone", volume.new_ino(), 1000, 1000))[0]
    assert isinstance(clone, Attr)
    writer = volume.writer(clone)
    writer.write(100_000, b"changed in the clone")
    writer.flush()
    writer.write(clone.size + 70 * 1024 * 1024, b"behind a hole")
    writer.flush(durable=True)


def source_parent(volume: Volume) -> Ino:
    return volume.namespace.root


def main(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        create_embedded(data, VolumeFormat())
        with Engine(data, EngineOptions(background=False)) as engine:
            volume = engine.volume("golden")
            fill(volume)
            volume.close()
        target = directory / f"volume-{FORMAT_VERSION}.tar.xz"
        with tarfile.open(target, "w:xz") as archive:
            for path in sorted(data.rglob("*")):
                if path.is_file() and not path.is_relative_to(data / "engine-0") and path.name != "lock":
                    info = archive.gettarinfo(path, str(path.relative_to(data)))
                    info.uid = info.gid = info.mtime = 0
                    info.uname = info.gname = ""
                    with path.open("rb") as file:
                        archive.addfile(info, file)
        print(target, os.path.getsize(target))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
