"""One process owns an embedded volume, or the directory of one engine, at a time."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
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


class EngineDirectory:
    """The first free ``engine-<n>`` in a data directory; what a dead engine left there is this one's now.

    ``owner`` names the engine in rows that all engines of a store share: it stays with the directory.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            self.path = data / f"engine-{number}"
            self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                self._lock = DataLock(self.path / "lock")
            except Locked:
                continue
            break
        self.owner = f"{self.path.name}-{self._name()}"

    def _name(self) -> str:
        """Random, made once: two data directories on different machines both have an engine-0."""
        file = self.path / "name"
        with contextlib.suppress(FileNotFoundError):
            name = file.read_text().strip()
            if name:
                return name
        fresh = self.path / "name.new"
        name = secrets.token_hex(8)
        with fresh.open("w") as out:
            out.write(name + "\n")
            out.flush()
            os.fsync(out.fileno())
        fresh.rename(file)
        return name

    def release(self) -> None:
        self._lock.release()


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
