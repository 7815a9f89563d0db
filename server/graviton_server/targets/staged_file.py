"""What a pack is until it goes up: in memory as long as there is room, else in a local file.

In memory it is the blocks themselves, which their writers keep anyway until the pack is stored; so nothing is
copied. The page cache would cost a sixth of the processor time of a sequential write.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from typing_extensions import Buffer

from graviton_server.targets.oserrors import is_no_space, translate
from gravitonfs.errors import GravitonError

_log = logging.getLogger(__name__)

_VECTOR: Final = 512
"""Buffers written at once; the system takes up to 1,024."""


class StagingMemory:
    """Bytes of packs in memory, all files of a target together. ``_lock`` guards ``used``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.used = 0

    def take(self, size: int) -> bool:
        with self._lock:
            if self.used + size > self._limit:
                return False
            self.used += size
            return True

    def give(self, size: int) -> None:
        with self._lock:
            self.used -= size


class _Parts:
    """Buffers one after the other. Appends are by one thread; readers go by the length they have seen."""

    def __init__(self) -> None:
        self._parts: list[memoryview] = []
        self._starts: list[int] = []

    def add(self, start: int, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            view = _unchanging(buffer)
            if view.nbytes:
                self._parts.append(view)
                self._starts.append(start)
                start += view.nbytes

    def read(self, start: int, stop: int) -> Buffer:
        """Without a copy where it lies in one part, as a record's payload does."""
        found = self.views(start, stop)
        return found[0] if len(found) == 1 else b"".join(found)

    def views(self, start: int, stop: int) -> Sequence[memoryview]:
        found: list[memoryview] = []
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            first, part = self._starts[at], self._parts[at]
            found.append(part[start - first : stop - first])
            start = first + part.nbytes
            at += 1
        return found

    def all(self) -> Sequence[memoryview]:
        return self._parts


def _unchanging(buffer: Buffer) -> memoryview:
    """The caller may use a buffer again that it can write to."""
    view = memoryview(buffer).cast("B")
    return view if type(view.obj) is bytes else memoryview(bytes(view))


class _Body(io.RawIOBase):
    """A file's bytes as they are when it is opened."""

    def __init__(self, read: Callable[[int, int], Buffer], length: int) -> None:
        self._read = read
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def again(self) -> _Body:
        """The same bytes, with a position of their own: several targets read at once."""
        return _Body(self._read, self._length)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._length - self._at)
        count = left if size is None or size < 0 else min(size, left)
        data = self._read(self._at, count)
        self._at += count
        return data if isinstance(data, bytes) else bytes(data)


class _HeldBody(_Body):
    """Of a file in memory, for those who can do with its bytes where they are."""

    def __init__(self, parts: _Parts, length: int) -> None:
        super().__init__(lambda start, count: parts.read(start, start + count), length)
        self._parts = parts

    def again(self) -> _HeldBody:
        return _HeldBody(self._parts, self._length)

    def views(self, length: int) -> Sequence[memoryview]:
        """As ``read``, without a copy."""
        start = self._at
        self._at = min(start + length, max(start, self._length))
        return self._parts.views(start, self._at)


class StagedFile:
    """An ``AppendFile``. Appends are by one thread at a time. Its descriptor is closed when the last reader
    lets go of it."""

    def __init__(self, path: Path, memory: StagingMemory | None = None) -> None:
        """``memory``: of a new file; without, one that an earlier process has left is opened."""
        self.path = path
        self._fd = -1
        self._memory = memory
        self._held = 0
        self._parts: _Parts | None = None if memory is None else _Parts()
        self.length = 0
        if memory is None:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self.length = os.fstat(self._fd).st_size
        self.kept = memory is None
        self.on_close: Callable[[], None] | None = None

    def __del__(self) -> None:
        self._let_go()
        if self._fd >= 0:
            os.close(self._fd)

    def append(self, buffers: Sequence[Buffer]) -> int:
        start = self.length
        size = sum(memoryview(buffer).nbytes for buffer in buffers)
        if self._parts is not None:
            assert self._memory is not None
            if self._memory.take(size):
                self._held += size
                self._parts.add(start, buffers)
                self.length = start + size
                return start
            self._spill()
        self._write(buffers, start)
        self.length = start + size
        return start

    def _spill(self) -> None:
        """Go on in the file. After an error all is as it was."""
        parts = self._parts
        if parts is None:
            return
        if self._fd < 0:
            try:
                flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
                self._fd = os.open(self.path, flags, 0o600)
            except OSError as error:
                raise translate(error, f"creating {self.path}") from error
        self._write(parts.all(), 0)
        self._parts = None  # who reads at this moment has them
        self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, 0
        if self._memory is not None and held:
            self._memory.give(held)

    def _write(self, buffers: Sequence[Buffer], start: int) -> None:
        at = start
        try:
            for first in range(0, len(buffers), _VECTOR):
                at = self._write_some([memoryview(b).cast("B") for b in buffers[first : first + _VECTOR]], at)
        except OSError as error:
            if is_no_space(error):
                os.ftruncate(self._fd, start)
            raise translate(error, f"writing {self.path}") from error

    def _write_some(self, views: list[memoryview], at: int) -> int:
        while views:
            count = os.pwritev(self._fd, views, at)
            at += count
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if count:
                views[0] = views[0][count:]
        return at

    def sync(self) -> int:
        """Not a flush: nothing relies on what is here."""
        return self.length

    def read(self, start: int, length: int) -> Buffer:
        """Fewer bytes only at the end."""
        stop = min(start + length, self.length)
        parts = self._parts
        if parts is not None:
            return parts.read(start, stop)
        found = []
        try:
            while start < stop and (data := os.pread(self._fd, stop - start, start)):
                found.append(data)
                start += len(data)
        except OSError as error:
            raise translate(error, f"reading {self.path}") from error
        return found[0] if len(found) == 1 else b"".join(found)

    def body(self) -> BinaryIO:
        """All of it, with a position of its own."""
        parts = self._parts
        if parts is not None:
            return _HeldBody(parts, self.length)  # type: ignore[return-value]  # as far as a target reads it
        return _Body(self.read, self.length)  # type: ignore[return-value]

    def close(self) -> None:
        """From now on it is read through the target; the file goes, unless it is to be kept."""
        if self.kept:
            try:
                self._spill()
            except GravitonError as error:  # a convenience: whoever wrote it has not been told it is stored
                _log.warning("a pack that could not be stored is not kept either: %s", error)
        elif self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        self._let_go()
        if self.on_close is not None:
            self.on_close()
