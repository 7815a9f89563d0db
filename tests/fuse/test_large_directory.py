"""A directory of 100,000 entries, read while it changes, listed, and removed."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Create, Op
from harness.programs import Graviton

pytestmark = pytest.mark.mount
COUNT = 100_000
_BATCH = 1000


@pytest.fixture
def large(graviton: Graviton) -> Iterator[Path]:
    """Made in the namespace, which is faster than through a mount, and mounted."""
    data, point = graviton.scratch / "data", graviton.scratch / "mnt"
    with open_embedded(data, create=True, options=EngineOptions(background=False)) as engine:
        volume = engine.volume("test")
        directory = volume.new_ino()
        volume.submit(Create(volume.namespace.root, b"large", directory, stat.S_IFDIR | 0o755, 0, 0))
        for start in range(0, COUNT, _BATCH):
            volume.submit(*(_file(directory, volume.new_ino(), i) for i in range(start, start + _BATCH)))
        volume.close()
    mount = graviton.mount(data, point)
    yield point / "large"
    graviton.unmount(mount, point)


def _looked_at(entry: os.DirEntry[str]) -> bool:
    """It may have got another name in between; what stays must not."""
    try:
        return entry.stat().st_nlink == 1
    except FileNotFoundError:
        return not entry.name.endswith("stay")


def _file(directory: Ino, ino: Ino, number: int) -> Op:
    return Create(directory, _name(number).encode(), ino, stat.S_IFREG | 0o644, 0, 0)


def _name(number: int) -> str:
    """Every hundredth is there to be removed; all kinds lie among each other."""
    kind = "gone" if number % 100 == 0 else "stay"
    return f"{number:06}-{kind}"


def test_read_while_it_changes(large: Path) -> None:
    """What is there all the time is listed once; what comes or goes at most once."""
    stay = {name for number in range(COUNT) if (name := _name(number)).endswith("stay")}
    seen: list[str] = []
    with os.scandir(large) as entries:
        for index, entry in enumerate(entries):
            seen.append(entry.name)
            if index % 200 == 0:
                step = index // 200 * 100
                (large / _name(step * 37 % COUNT // 100 * 100)).unlink(missing_ok=True)
                os.close(os.open(large / f"{step * 53 % COUNT:06}-new", os.O_CREAT | os.O_WRONLY))
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)
    now = os.listdir(large)
    assert len(now) == len(set(now)) == len(stay) + sum(not name.endswith("stay") for name in now)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_all_of_it_changes_while_it_is_read(large: Path) -> None:
    """Four programs make, rename and remove all the time while others list with attributes; then rm -r."""
    script = (
        "import os, sys\n"
        "base, own = sys.argv[1:]\n"
        "for i in range(5000):\n"
        "    path = f'{base}/{i * 19:06}-{own}'\n"
        "    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))\n"
        "    os.rename(path, path + 'x')\n"
        "    if i % 2: os.unlink(path + 'x')\n"
    )
    stay = {_name(number) for number in range(COUNT)}
    writers = [subprocess.Popen(["python3", "-c", script, large, f"w{n}"]) for n in range(4)]
    while any(writer.poll() is None for writer in writers):
        with os.scandir(large) as entries:
            seen = [entry.name for entry in entries if _looked_at(entry)]
        assert len(seen) == len(set(seen))
        assert stay <= set(seen)
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(os.listdir(large)) == COUNT + 4 * 2500
    subprocess.run(["rm", "-r", large], check=True, timeout=600)
    assert not large.exists()
