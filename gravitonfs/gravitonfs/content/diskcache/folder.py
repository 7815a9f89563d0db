"""The directory of one cache, and what mounts that have ended left beside it.

``CACHE-DIR/blocks/<store>/<n>/``: a mount takes the first that nobody has, by a file lock, and the segments
of all others that nobody has: so mounts of one store may have one cache directory, each its own part of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gravitonfs.content.diskcache.segment import name_of, number_in
from gravitonfs.errors import Invalid

log = logging.getLogger("graviton.cache")

_BLOCKS: Final = "blocks"
_LOCK: Final = "lock"
_STALE: Final = 30 * 86400.0
"""Seconds after which another store's part that nobody has goes."""


class Folder:
    """Held until ``release``, or until the process dies."""

    def __init__(self, cache_dir: Path, scope: bytes) -> None:
        """``scope`` names the store. Raises ``Invalid`` where the directory must not be used, ``OSError``."""
        os.makedirs(cache_dir, mode=0o700, exist_ok=True)
        blocks = _own(cache_dir / _BLOCKS)
        store = _own(blocks / scope.hex())
        for number in itertools.count():
            self.path = _own(store / str(number))
            lock = _locked(self.path)
            if lock is not None:
                break
        self._lock = lock
        os.utime(self.path / _LOCK)
        try:
            self._adopt(store)
            _sweep(blocks, store)
        except BaseException:
            self.release()
            raise

    def segments(self) -> list[tuple[int, Path]]:
        """Oldest first."""
        return sorted(_segments(self.path))

    def _adopt(self, store: Path) -> None:
        number = itertools.count(max((n for n, _ in _segments(self.path)), default=0) + 1)
        for other in sorted(store.iterdir()):
            lock = _locked(other) if other != self.path else None
            if lock is None:
                continue
            try:
                for _, path in sorted(_segments(other)):
                    os.rename(path, self.path / name_of(next(number)))
            finally:
                os.close(lock)

    def release(self) -> None:
        """Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _own(path: Path) -> Path:
    """A directory that nobody else can look into: ids of blocks, and blocks, open what they belong to."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Invalid(
            f"{path} is not a directory of the user that mounts: choose another cache-dir, one for each user"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a part; None where another process does."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except NotADirectoryError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path / _LOCK).st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)  # somebody else has it, or has swept it away meanwhile
    return None


def _segments(path: Path) -> Iterator[tuple[int, Path]]:
    for entry in path.iterdir():
        number = number_in(entry.name)
        if number is not None:
            yield number, entry


def _sweep(blocks: Path, mine: Path) -> None:
    """What belongs to stores that were not mounted for a month."""
    for store in blocks.iterdir():
        if store == mine:
            continue
        for part in store.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - os.stat(part / _LOCK).st_mtime < _STALE:
                    continue
                lock = _locked(part)
                if lock is not None:
                    shutil.rmtree(part)
                    os.close(lock)
        with contextlib.suppress(OSError):
            store.rmdir()
