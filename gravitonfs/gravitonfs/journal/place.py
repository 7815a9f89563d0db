"""Where journals lie: ``journal/<volume>/<n>/`` below a mount's local directory, one for each living mount.

Whoever uses one holds its lock, so that a mount takes up only what dead ones have left.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gravitonfs.core.durable import sync_directory
from gravitonfs.errors import Unavailable
from gravitonfs.journal.scan import segments

_LOCK: Final = "lock"
_STORED: Final = "stored"
_MOST: Final = 1000


class Place:
    """One directory, locked until ``close``."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @property
    def empty(self) -> bool:
        return not segments(self.path)

    @property
    def stored(self) -> bool:
        """The store has everything that is in it for sure."""
        return (self.path / _STORED).exists()

    def mark_stored(self) -> None:
        (self.path / _STORED).touch(mode=0o600)
        sync_directory(self.path)

    def clear(self) -> None:
        """Everything in it is stored."""
        for path in segments(self.path):
            path.unlink(missing_ok=True)
        sync_directory(self.path)
        (self.path / _STORED).unlink(missing_ok=True)

    def set_aside(self, name: str) -> Path:
        """Keep it out of the way of mounts, for people to look at; this place is over."""
        aside = self.path.with_name(f"{self.path.name}.{name}")
        self.path.rename(aside)
        sync_directory(aside.parent)
        self.close()
        return aside

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _lock(path: Path) -> Place | None:
    """None where somebody has it."""
    fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return Place(path, fd)


def _home(root: Path, volume: str) -> Path:
    return root / "journal" / quote(volume, safe="")


def left_behind(root: Path, volume: str) -> Iterator[Place]:
    """Those of dead mounts with something in them. The caller closes them."""
    home = _home(root, volume)
    if not home.is_dir():
        return
    for path in sorted(home.iterdir()):
        if path.name.isdecimal() and segments(path):
            place = _lock(path)
            if place is not None:
                if place.empty:
                    place.close()
                else:
                    yield place


def fresh(root: Path, volume: str) -> Place:
    """An empty one, its name on disk."""
    home = _home(root, volume)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(_MOST):
            path = home / str(number)
            path.mkdir(mode=0o700, exist_ok=True)
            place = _lock(path)
            if place is not None and place.empty:
                place.clear()
                for directory in (path, home, home.parent, home.parent.parent):
                    sync_directory(directory)
                return place
            if place is not None:
                place.close()
    except OSError as error:
        raise Unavailable(f"no journal can be kept below {root}: {error}") from error
    raise Unavailable(f"{home} is full of journals: mount what they belong to")
