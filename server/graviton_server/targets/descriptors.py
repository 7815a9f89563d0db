"""Open files that are read by position, kept in a bounded cache."""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict

from typing_extensions import Buffer

_UNSUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class Descriptor:
    """A file open for reading. It is closed when its last user lets go of it, so that eviction never
    closes a number that another thread is reading from."""

    __slots__ = ("_fd",)

    def __init__(self, path: str) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def length(self) -> int:
        return os.fstat(self._fd).st_size

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

    def read_cached(self, start: int, length: int) -> Buffer | None:
        """All ``length`` bytes if the page cache has them, else None."""
        buffer = bytearray(length)
        try:
            count = os.preadv(self._fd, [buffer], start, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return None
            raise
        return buffer if count == length else None


class DescriptorCache:
    """The most recently used descriptors by path. ``_lock`` guards ``_open``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Descriptor] = OrderedDict()

    def get(self, path: str) -> Descriptor:
        """Raises ``OSError``."""
        with self._lock:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
                return found
        opened = Descriptor(path)
        evicted = None
        with self._lock:
            found = self._open.setdefault(path, opened)
            if len(self._open) > self._limit:
                evicted = self._open.popitem(last=False)
        del evicted  # closed outside the lock
        return found

    def drop(self, path: str) -> None:
        with self._lock:
            dropped = self._open.pop(path, None)
        del dropped

    def clear(self) -> None:
        with self._lock:
            dropped, self._open = self._open, OrderedDict()
        dropped.clear()
