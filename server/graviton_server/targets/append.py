"""The growing file behind an open pack: direct writes from a few reused windows of memory.

Bytes are copied into a window; full windows are written and flushed by a worker, a partial one by the
caller of ``sync``. A window is kept until its bytes are *durable*: after a failed flush everything
that was not acknowledged can still be read, and stored elsewhere. Running out of space is not such a
failure: the bytes stay, and the next sync tries again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from typing_extensions import Buffer

from graviton_server.targets.descriptors import Descriptor
from graviton_server.targets.oserrors import is_no_space, translate
from graviton_server.targets.windows import WINDOW, WindowPool
from gravitonfs.errors import GravitonError, Unavailable

SECTOR: Final = 4096
MAX_WINDOWS: Final = 4
_PIECE: Final = (MAX_WINDOWS - 1) * WINDOW


def _open(path: str) -> tuple[int, int]:
    """A new file's descriptor for writing, and the alignment that it asks for."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600), SECTOR
    except OSError as error:
        if is_no_space(error):
            raise
        # Some file systems create the file and then refuse the flag.
        return os.open(path, flags & ~os.O_EXCL, 0o600), 1


class WindowedFile:
    """An ``AppendFile``.

    ``_state`` guards every attribute; it is held while bytes are copied, never during
    a write. ``_io`` is held by whoever writes: the worker or a syncing caller. ``_syncing`` marks the
    one thread that flushes. Order: ``_io`` before ``_state``.
    """

    def __init__(
        self,
        path: str,
        pool: WindowPool,
        worker: Executor,
        *,
        on_first_sync: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self._path = path
        self._pool = pool
        self._worker = worker
        self._on_first_sync: Callable[[], None] | None = on_first_sync
        self._on_close = on_close
        self._fd, self._align = _open(path)
        try:
            self._reading = Descriptor(path, pool)
        except OSError:
            os.close(self._fd)
            raise
        self._state = threading.Condition()
        self._io = threading.Lock()
        self._windows: deque[mmap.mmap] = deque()
        self._base = 0  # file offset of the first window
        self._length = 0
        self._written = 0
        self._durable = 0
        self._wanted = 0
        self._syncing = False
        self._draining = False
        self._stalled: GravitonError | None = None
        self._failure: GravitonError | None = None
        self._closed = False

    # --- appending ---

    def append(self, buffers: Sequence[Buffer]) -> int:
        views = [b if type(b) is bytes else memoryview(b).cast("B") for b in buffers]
        total = sum(map(len, views))
        if total <= _PIECE:
            return self._append(views, total)
        start: int | None = None
        for piece in _pieces(views):
            try:
                offset = self._append(piece, sum(map(len, piece)))
            except GravitonError as error:
                if start is not None:
                    self._fail(error)  # half of it is in: the tail is torn
                raise
            start = offset if start is None else start
        assert start is not None
        return start

    def _append(self, views: Sequence[bytes | memoryview], total: int) -> int:
        with self._state:
            self._make_room(self._length + total)
            start = at = self._length
            for view in views:
                at = self._copy(view, at)
            self._length = at
            if at // WINDOW > start // WINDOW and not self._draining:
                self._draining = True
                self._worker.submit(self._drain)
        return start

    def _copy(self, view: bytes | memoryview, at: int) -> int:
        index, inside = divmod(at - self._base, WINDOW)
        size = len(view)
        if inside + size <= WINDOW:
            self._windows[index][inside : inside + size] = view
            return at + size
        rest = memoryview(view)
        while rest:
            index, inside = divmod(at - self._base, WINDOW)
            part = rest[: WINDOW - inside]
            self._windows[index][inside : inside + len(part)] = part
            at += len(part)
            rest = rest[len(part) :]
        return at

    def _make_room(self, end: int) -> None:
        """Wait until windows cover everything up to ``end``."""
        self._check()
        while self._base + len(self._windows) * WINDOW < end:
            if len(self._windows) < MAX_WINDOWS:
                self._windows.append(self._pool.take())
                continue
            if not self._draining:
                # Nobody is writing and all is full: space had run out. Try once more.
                self._stalled = None
                self._draining = True
                self._worker.submit(self._drain)
            self._state.wait()
            self._check()
            if self._stalled is not None and not self._draining:
                raise self._stalled

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise Unavailable(f"{self._path} is closed")

    # --- writing ---

    def _drain(self) -> None:
        """On the worker: write and flush full windows until there are none."""
        try:
            while True:
                with self._state:
                    goal = self._length - self._length % WINDOW
                    if self._durable >= goal or self._failure or self._closed:
                        self._draining = False
                        self._state.notify_all()
                        return
                self._sync_to(goal)
        except GravitonError as error:
            with self._state:
                self._draining = False
                self._stalled = error
                self._state.notify_all()

    def sync(self) -> int:
        with self._state:
            target = self._length
        return self._sync_to(target)

    def _sync_to(self, target: int) -> int:
        with self._state:
            self._wanted = max(self._wanted, target)
            while True:
                self._check()
                if self._durable >= target and self._on_first_sync is None:
                    return self._durable
                if not self._syncing:
                    self._syncing = True
                    break
                self._state.wait()
        try:
            return self._flush()
        finally:
            with self._state:
                self._syncing = False
                self._state.notify_all()

    def _flush(self) -> int:
        with self._state:
            goal = self._wanted
        try:
            with self._io:
                self._write_to(goal)
                if goal % self._align and goal == self._length:
                    # Else a power cut would leave a sealed pack with the last sector's padding behind its
                    # trailer. Nothing lies beyond: whoever writes holds _io.
                    os.ftruncate(self._fd, goal)
            os.fdatasync(self._fd)
            if self._align == 1:
                os.posix_fadvise(self._fd, 0, goal, os.POSIX_FADV_DONTNEED)
            if self._on_first_sync is not None:
                self._on_first_sync()
                self._on_first_sync = None
        except OSError as error:
            wrong = translate(error, f"writing {self._path}")
            if not is_no_space(error):
                self._fail(wrong)
            raise wrong from error
        with self._state:
            self._durable = goal
            self._stalled = None
            self._recycle()
        return goal

    def _recycle(self) -> None:
        while self._windows and self._base + WINDOW <= self._durable:
            self._pool.give(self._windows.popleft())
            self._base += WINDOW

    def _write_to(self, goal: int) -> None:
        """Write everything up to ``goal``; an unaligned end goes out with its sector, and again later."""
        while True:
            with self._state:
                start = self._written
                if start >= goal:
                    return
                index, low = divmod(start - self._base, WINDOW)
                window = self._windows[index]
                high = min(goal - start + low, WINDOW)
                padded = high + -high % self._align
                filled = min(self._length - start + low, padded)
                if filled < padded:
                    window[filled:padded] = bytes(padded - filled)
            with memoryview(window) as view, view[low:padded] as part:
                _write_all(self._fd, part, start, self._align)
            with self._state:
                self._written = start - low + high - high % self._align
            if high % self._align:
                return

    def _fail(self, error: GravitonError) -> None:
        with self._state:
            if self._failure is None:
                self._failure = error
            self._state.notify_all()

    # --- reading and closing ---

    def read(self, start: int, length: int) -> Buffer:
        parts: list[bytes] = []
        with self._state:
            end = min(start + length, self._length)
            edge = min(max(start, self._base), end)
            at = edge
            while at < end:
                index, inside = divmod(at - self._base, WINDOW)
                stop = min(end - at + inside, WINDOW)
                parts.append(self._windows[index][inside:stop])
                at += stop - inside
        if start < edge:
            try:
                parts.insert(0, self._reading.read(start, edge - start))
            except OSError as error:
                raise translate(error, f"reading {self._path}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_cached(self, start: int, length: int) -> Buffer | None:
        """As ``read``, or None where that would wait for the disk."""
        with self._state:
            base = self._base
        if start < base:
            with contextlib.suppress(OSError):
                return self._reading.read_cached(start, length) if start + length <= base else None
            return None
        return self.read(start, length)

    @property
    def length(self) -> int:
        return self._length

    def close(self) -> None:
        """Write what is left, without a flush, so that it can be read through the target."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            length = self._length
            while self._syncing or self._draining:
                self._state.wait()
        try:
            with self._io:
                # Not once more what is durable: its last sector would lie padded behind a sealed pack's
                # trailer until it is cut off again, and a kill in between would leave it so.
                if self._failure is None and self._durable < length:
                    self._write_to(length)
                    if length % self._align:
                        os.ftruncate(self._fd, length)
        except OSError as error:
            raise translate(error, f"writing {self._path}") from error
        finally:
            self._on_close()
            os.close(self._fd)
            with self._state:  # who reads now copies from the windows first, or from the file after
                while self._windows:
                    self._pool.give(self._windows.pop())
                self._base = self._length


def _pieces(views: Sequence[bytes | memoryview]) -> list[list[memoryview]]:
    """``views`` cut into runs that fit beside what is already in the windows."""
    result: list[list[memoryview]] = [[]]
    room = _PIECE
    for view in views:
        rest = memoryview(view)
        while rest:
            part = rest[:room]
            result[-1].append(part)
            rest = rest[len(part) :]
            room -= len(part)
            if room == 0:
                result.append([])
                room = _PIECE
    return [piece for piece in result if piece]


def _write_all(fd: int, view: memoryview, offset: int, align: int) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        # A short direct write may end inside a sector, which must then be written whole again.
        count -= count % align
        view = view[count:]
        offset += count
