"""Open files that are read by position, past the page cache the first time, kept in a bounded cache."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from typing_extensions import Buffer

from graviton_server.targets.windows import WINDOW, WindowPool

SECTOR: Final = 4096
DIRECT_MIN: Final = 64 << 10
DIRECT_MAX: Final = WINDOW - 2 * SECTOR
"""A span up to this fits into a window wherever it begins."""
_REGION_BITS: Final = 17
_REGIONS: Final = 1 << 14
_CLOSED: Final = -1
_REFUSED: Final = -2
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}

Range = tuple[int, int]


class ReadOnce:
    """Which parts of which files have been read lately: the first time, a read of a block or more goes
    straight to the medium, with half the CPU and, for one block, half the time; what is read again goes
    through the page cache.

    ``_lock`` guards ``_regions``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._regions: OrderedDict[tuple[str, int], None] = OrderedDict()

    def first(self, path: str, start: int) -> bool:
        region = (path, start >> _REGION_BITS)
        with self._lock:
            if region in self._regions:
                self._regions.move_to_end(region)
                return False
            self._regions[region] = None
            if len(self._regions) > _REGIONS:
                self._regions.popitem(last=False)
            return True


class Descriptor:
    """A file open for reading. It is closed when its last user lets go of it, so that eviction never
    closes a number that another thread is reading from."""

    __slots__ = ("_direct", "_fd", "_path", "_pool")

    def __init__(self, path: str, pool: WindowPool) -> None:
        self._fd = self._direct = _CLOSED
        self._path = path
        self._pool = pool
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self._direct >= 0:
            os.close(self._direct)

    def read(self, start: int, length: int) -> bytes:
        """Fewer bytes only at the end of the file."""
        data = os.pread(self._fd, length, start)
        if len(data) == length or not data:
            return data
        parts = [data]
        have = len(data)
        while have < length:
            data = os.pread(self._fd, length - have, start + have)
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def read_direct(self, ranges: Sequence[Range]) -> list[memoryview] | None:
        """Each range, by one read past the page cache; None where that does not work. The ranges
        ascend, and span at most ``DIRECT_MAX``. The views are of one lent window."""
        if self._direct < 0 and not self._open_direct():
            return None
        start = ranges[0][0] - ranges[0][0] % SECTOR
        end = ranges[-1][0] + ranges[-1][1]
        try:
            return self._into_window(self._direct, start, end + -end % SECTOR, ranges)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return None
            raise

    def read_together(self, ranges: Sequence[Range]) -> list[memoryview] | None:
        """As ``read_direct``, through the page cache."""
        return self._into_window(self._fd, ranges[0][0], ranges[-1][0] + ranges[-1][1], ranges)

    def _into_window(
        self, fd: int, start: int, stop: int, ranges: Sequence[Range]
    ) -> list[memoryview] | None:
        window = self._pool.lend()
        count = os.preadv(fd, [window[: stop - start]], start)
        if start + count < ranges[-1][0] + ranges[-1][1]:
            return None  # the file ends early, or the read was cut short
        return [window[at - start : at - start + length] for at, length in ranges]

    def _open_direct(self) -> bool:
        if self._direct == _REFUSED:
            return False
        try:
            # The file may have lost its name meanwhile, so it is opened again by its descriptor.
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        except OSError:
            self._direct = _REFUSED
            return False
        if self._direct >= 0:  # another thread was faster
            os.close(fd)
        else:
            self._direct = fd
        return True

    def read_cached(self, start: int, length: int) -> Buffer | None:
        """All ``length`` bytes if the page cache has them, else None."""
        if length > WINDOW:
            return None
        window = self._pool.take()
        try:
            with memoryview(window) as view, view[:length] as span:
                count = os.preadv(self._fd, [span], start, os.RWF_NOWAIT)
            return window[:length] if count == length else None
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return None
            raise
        finally:
            self._pool.give(window)


class DescriptorCache:
    """The most recently used descriptors by path. ``_lock`` guards ``_open``."""

    def __init__(self, limit: int, pool: WindowPool) -> None:
        self._limit = limit
        self._pool = pool
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Descriptor] = OrderedDict()
        self._read_once = ReadOnce()

    def get(self, path: str) -> Descriptor:
        """Raises ``OSError``."""
        with self._lock:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
                return found
        opened = Descriptor(path, self._pool)
        evicted = None
        with self._lock:
            found = self._open.setdefault(path, opened)
            if len(self._open) > self._limit:
                evicted = self._open.popitem(last=False)
        del evicted  # closed outside the lock
        return found

    def read(self, path: str, ranges: Sequence[Range]) -> Sequence[Buffer]:
        """Neighbouring ranges, ascending. Raises ``OSError``."""
        file = self.get(path)
        span = ranges[-1][0] + ranges[-1][1] - ranges[0][0]
        if DIRECT_MIN <= span <= DIRECT_MAX:
            found = file.read_direct(ranges) if self._read_once.first(path, ranges[0][0]) else None
            if found is None and len(ranges) > 1:
                found = file.read_together(ranges)
            if found is not None:
                return found
        return [file.read(start, length) for start, length in ranges]

    def drop(self, path: str) -> None:
        with self._lock:
            dropped = self._open.pop(path, None)
        del dropped

    def clear(self) -> None:
        with self._lock:
            dropped, self._open = self._open, OrderedDict()
        dropped.clear()
