"""The directory a volume is mounted on: checks before, clean-up of what a dead mount left."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
from pathlib import Path

from gravitonfs.errors import Busy, Invalid, NotADirectory, NotFound, Unavailable

log = logging.getLogger("graviton.fuse")

_READ_AHEAD_KIB = 4096
_BACKGROUND = 64


def prepare(mountpoint: Path) -> None:
    """Make sure something can be mounted there; a mount whose process died is taken away first."""
    try:
        os.statvfs(mountpoint)  # unlike stat, never answered from what the kernel remembers of the dead
    except FileNotFoundError:
        raise NotFound(f"{mountpoint} does not exist: create the directory first") from None
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
            raise Invalid(f"{mountpoint} cannot be used: {error.strerror}") from error
        detach(mountpoint)
    if not os.path.isdir(mountpoint):
        raise NotADirectory(f"{mountpoint} is no directory")
    if os.path.ismount(mountpoint) and fs_type(mountpoint).startswith("fuse"):
        raise Busy(f"something is mounted on {mountpoint} already: 'graviton umount {mountpoint}' first")


def detach(mountpoint: Path) -> None:
    """Lazily unmount; open files of a dead mount fail anyway."""
    tool = shutil.which("fusermount3") or shutil.which("fusermount")
    if tool is None:
        raise Unavailable("fusermount3 is not installed: install the package fuse3")
    done = subprocess.run(
        [tool, "-u", "-z", "--", str(mountpoint)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Busy(f"{mountpoint} cannot be unmounted: {done.stderr.strip()}")


def tune(device: str) -> None:
    """As far as this process may, once it answers: large readahead, enough requests in the background."""
    minor = device.partition(":")[2]
    for path, value in (
        (f"/sys/class/bdi/{device}/read_ahead_kb", _READ_AHEAD_KIB),
        (f"/sys/fs/fuse/connections/{minor}/max_background", _BACKGROUND),
        (f"/sys/fs/fuse/connections/{minor}/congestion_threshold", _BACKGROUND * 3 // 4),
    ):
        try:
            Path(path).write_text(str(value))
        except OSError as error:
            log.debug("%s stays as it is: %s", path, error)


def fs_type(mountpoint: Path) -> str:
    """The type in the kernel's mount table, or an empty string."""
    fields = _mount_fields(os.path.realpath(mountpoint))
    return fields[fields.index("-") + 1] if fields else ""


def device_of(mountpoint: Path) -> str:
    """``major:minor`` of the mount, which names its tunables in /sys; empty when there is none."""
    return device_at(os.path.realpath(mountpoint))


def device_at(real: str) -> str:
    """As ``device_of`` of a path without symbolic links: nobody behind the mount is asked anything."""
    fields = _mount_fields(real)
    return fields[2] if fields else ""


def _mount_fields(wanted: str) -> list[str]:
    """The line of the mount table for what is visible there: the last one; empty when there is none."""
    found: list[str] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split()
            if _unescape(fields[4]) == wanted:
                found = fields
    return found


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
