"""One process owns an embedded volume at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gravitonfs.errors import Locked


class DataLock:
    """A ``flock`` on DATA/lock, which holds the owner's pid. The kernel lets go when the owner dies."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`Locked`, naming the owner's pid."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise Locked(
                f"{path.parent} is open in process {owner or 'unknown'}: use that one, or end it first"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def owner_pid(data: Path) -> int | None:
    """The pid of the process that has the volume open, or None."""
    try:
        file = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(file, 32, 0).strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(file)
