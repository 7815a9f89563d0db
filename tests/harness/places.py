"""Directories on a real disk, and what is mounted below them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def _mounts() -> list[tuple[Path, str]]:
    """(mount point, file system type), in the order they were mounted."""
    found = []
    for line in MOUNTINFO.read_bytes().splitlines():
        fields = line.split(b" ")
        point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        found.append((Path(os.fsdecode(point)), fields[fields.index(b"-") + 1].decode()))
    return found


def file_system_type(path: Path) -> str:
    """The type of the file system that holds ``path``, e.g. ``ext4`` or ``tmpfs``."""
    real = path.resolve()
    below = [(len(point.parts), kind) for point, kind in _mounts() if real.is_relative_to(point)]
    return max(below, key=lambda found: found[0])[1]


def is_mounted(path: Path) -> bool:
    return any(point == path.absolute() for point, _ in _mounts())


def make_scratch() -> Path:
    """A new directory on a disk: on tmpfs neither fsync nor O_DIRECT mean anything."""
    chosen = os.environ.get("GRAVITON_TEST_DIR")
    candidates = [Path(chosen)] if chosen else [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    for candidate in candidates:
        if file_system_type(candidate) not in ("tmpfs", "ramfs"):
            break
    path = Path(tempfile.mkdtemp(prefix="graviton-test-", dir=candidate))
    path.chmod(0o755)  # ordinary users walk through it
    return path


def unmount(path: Path, *, lazy: bool = False) -> None:
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), os.fspath(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def unmount_below(root: Path) -> None:
    """Whatever a test left mounted below ``root``, deepest first; never waits for a dead server."""
    for point, _ in reversed(_mounts()):
        if point.is_relative_to(root):
            subprocess.run(["fusermount3", "-uz", os.fspath(point)], check=False, capture_output=True)
    left = [point for point, _ in _mounts() if point.is_relative_to(root)]
    for point in reversed(left):
        subprocess.run(["umount", "-l", os.fspath(point)], check=False, capture_output=True)
