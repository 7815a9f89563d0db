"""A target where a pack goes up whole: until then it grows in a local file, and is read from there.

Nothing in a local file is relied on before the object is on the target, so nothing is flushed: what is
left of it after a crash is a convenience, not a promise.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from typing_extensions import Buffer

from graviton_server.targets.identity import check_key
from graviton_server.targets.oserrors import is_no_space, translate
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.target import AppendFile, ObjectInfo, Space, Target

_VECTOR: Final = 512
"""Buffers written at once; the system takes up to 1,024."""


class StagedFile:
    """An ``AppendFile``. Its descriptor is closed when the last reader lets go of it. ``_lock`` guards the
    length against readers; appends are by one thread at a time."""

    def __init__(self, path: Path, *, fresh: bool = True) -> None:
        self.path = path
        self._fd = -1
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if fresh else 0)
        self._fd = os.open(path, flags, 0o600)
        self.length = os.fstat(self._fd).st_size
        self.kept = not fresh
        self.on_close: Callable[[], None] | None = None

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def append(self, buffers: Sequence[Buffer]) -> int:
        start = at = self.length
        try:
            for first in range(0, len(buffers), _VECTOR):
                at = self._write([memoryview(b).cast("B") for b in buffers[first : first + _VECTOR]], at)
        except OSError as error:
            if is_no_space(error):
                os.ftruncate(self._fd, start)
            raise translate(error, f"writing {self.path}") from error
        self.length = at
        return start

    def _write(self, views: list[memoryview], at: int) -> int:
        while views:
            count = os.pwritev(self._fd, views, at)
            at += count
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]
        return at

    def sync(self) -> int:
        """Not a flush: see the module."""
        return self.length

    def read(self, start: int, length: int) -> Buffer:
        """Fewer bytes only at the end."""
        wanted = max(0, min(length, self.length - start))
        parts = []
        try:
            while wanted > 0 and (data := os.pread(self._fd, wanted, start)):
                parts.append(data)
                start += len(data)
                wanted -= len(data)
        except OSError as error:
            raise translate(error, f"reading {self.path}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def body(self) -> BinaryIO:
        """All of it, with a position of its own."""
        try:
            return open(f"/proc/self/fd/{self._fd}", "rb", buffering=0)
        except OSError as error:
            raise translate(error, f"reading {self.path}") from error

    def close(self) -> None:
        """From now on it is read through the target; the file goes, unless it is to be kept."""
        if not self.kept:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        if self.on_close is not None:
            self.on_close()


class StagedTarget:
    """An ``AppendTarget`` over a ``Target`` and a local directory. ``_lock`` guards ``_files``, those that
    are not on the target yet: growing ones, and ones that a dead process has left.

    ``sync`` of a file promises nothing: ``upload`` it.
    """

    def __init__(self, remote: Target, folder: Path) -> None:
        self.name = remote.name
        self._remote = remote
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: dict[str, StagedFile] = {}
        for path in folder.glob("*.pack"):
            file = StagedFile(path, fresh=False)
            self._files[self._key_of(path)] = file

    @staticmethod
    def _key_of(path: Path) -> str:
        return f"packs/{path.stem[-2:]}/{path.name}"

    # --- staged objects ---

    def create(self, key: str) -> AppendFile:
        check_key(key)
        path = self._folder / key.rsplit("/", 1)[-1]
        if self._key_of(path) != key:
            raise Invalid(f"{key!r} is not the key of a pack")
        try:
            file = StagedFile(path)
        except OSError as error:
            raise translate(error, f"creating {path}") from error
        file.on_close = lambda: self._forget(key)
        with self._lock:
            self._files[key] = file
        return file

    def _forget(self, key: str) -> None:
        with self._lock:
            self._files.pop(key, None)

    def upload(self, key: str) -> None:
        """Store the object on the target; it is read locally until its file is closed."""
        file = self._files.get(key)
        if file is None:
            raise NotFound(f"{key} is not staged here")
        with file.body() as body:
            self._remote.put(key, body, file.length)
        file.kept = False

    def keep(self, key: str) -> None:
        """Leave the file where it is when it is closed, for the next start."""
        file = self._files.get(key)
        if file is not None:
            file.kept = True

    def left(self) -> list[str]:
        """Keys of files that an earlier process has left."""
        with self._lock:
            return [key for key, file in self._files.items() if file.kept]

    def discard(self, key: str) -> None:
        """Remove a file that was left."""
        with self._lock:
            file = self._files.pop(key, None)
        if file is not None:
            file.path.unlink(missing_ok=True)

    def staging_space(self) -> Space:
        try:
            stat = os.statvfs(self._folder)
        except OSError as error:
            raise translate(error, f"{self._folder}") from error
        return Space(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)

    # --- objects ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        self._remote.put(key, body, length)

    def get(self, key: str, start: int, length: int) -> Buffer:
        file = self._files.get(key)
        return self._remote.get(key, start, length) if file is None else file.read(start, length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        file = self._files.get(key)
        if file is None:
            return self._remote.get_ranges(key, ranges)
        return [file.read(start, length) for start, length in ranges]

    def read_cached(self, key: str, start: int, length: int) -> Buffer | None:
        """What is not staged is behind a network."""
        file = self._files.get(key)
        return None if file is None else file.read(start, length)

    def head(self, key: str) -> ObjectInfo:
        file = self._files.get(key)
        return self._remote.head(key) if file is None else ObjectInfo(key, file.length)

    def delete(self, key: str) -> None:
        self.discard(key)
        self._remote.delete(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._remote.list(prefix)

    def space(self) -> Space:
        return self._remote.space()

    def close(self) -> None:
        """Lets go of the local files, and leaves them. The target behind stays open."""
        with self._lock:
            self._files.clear()
