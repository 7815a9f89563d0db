"""A segment: a file of records that only grows, and is then only read until it goes as a whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
from pathlib import Path
from typing import Final

from typing_extensions import Buffer

from gravitonfs.content.diskcache import format as fmt
from gravitonfs.content.diskcache.format import RECORD, SECTOR, Columns
from gravitonfs.core.ids import BlockId

log = logging.getLogger("graviton.cache")

WINDOW: Final = 2 << 20
"""Bytes that are gathered for one write."""
LARGEST: Final = WINDOW - 2 * SECTOR
"""A payload beyond this is not kept; the largest block has half of it."""
_SCAN: Final = 64 << 10
_SUFFIX: Final = ".segment"


def name_of(number: int) -> str:
    return f"{number:010}{_SUFFIX}"


def number_in(name: str) -> int | None:
    """Of a segment's file; None: it is no such name."""
    stem = name.removesuffix(_SUFFIX)
    return int(stem) if stem != name and stem.isdecimal() else None


class Segment:
    """Open for reading; the file is closed when the last reader lets go of this, its name gone or not.

    ``columns`` only grows, by the writer, with the cache's lock held.
    """

    __slots__ = ("_fd", "chain", "columns", "number", "path", "size")

    def __init__(self, path: Path, number: int, chain: int) -> None:
        self._fd = -1
        self.path = path
        self.number = number
        self.chain = chain
        self.size = 0
        self.columns = Columns()
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes at the end of the file. Raises ``OSError``."""
        return os.pread(self._fd, length, offset)

    def read_cached(self, offset: int, length: int) -> Buffer | None:
        """All of it where the kernel has it in memory, else None."""
        data = bytearray(length)
        try:
            count = os.preadv(self._fd, [data], offset, os.RWF_NOWAIT)
        except OSError:  # BlockingIOError, or a file system that cannot tell
            return None
        return data if count == length else None

    def load(self, scope: bytes) -> bool:
        """Find out what is in the file. A torn end is cut off; False: it is none of this cache's."""
        size = os.fstat(self._fd).st_size
        chain = fmt.decode_header(self.read(0, fmt.HEADER), scope)
        if chain is None:
            return False
        self.chain = chain
        columns = self._footer(size)
        if columns is None:
            columns, end = self._scanned(size)
            self.columns = columns
            self.end(end)
        else:
            self.columns, self.size = columns, size
        return len(self.columns) > 0

    def _footer(self, size: int) -> Columns | None:
        trailer = self.read(max(0, size - fmt.TRAILER), fmt.TRAILER)
        place = fmt.decode_trailer(trailer, size)
        return None if place is None else fmt.decode_footer(self.read(*place), trailer)

    def _scanned(self, size: int) -> tuple[Columns, int]:
        """The records up to the first bad header, and where the last of them ends: a process was killed."""
        columns = Columns()
        at = fmt.HEADER
        start, data = 0, b""
        while at + RECORD <= size:
            if not start <= at <= start + len(data) - RECORD:
                start, data = at, self.read(at, _SCAN)
            record = fmt.decode_record(data, at - start)
            if record is None or at + RECORD + record.stored > size:
                break
            if record.codec != fmt.PADDING:
                key = fmt.key_of(record.id)
                columns.append(key, at, record.codec, record.stored, record.plain)
            at += RECORD + record.stored
        return columns, at

    def end(self, size: int) -> None:
        """Cut it off there, and write what tells the next process what is in it. Raises ``OSError``."""
        footer = fmt.encode_footer(self.columns, size)
        fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            _write_all(fd, memoryview(footer), size)
        finally:
            os.close(fd)
        self.size = size + len(footer)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class SegmentWriter:
    """Appends records, past the page cache: what was read lately is in the kernel's cache of the mount
    already. For one thread. ``OSError`` from any method; the writer is then to be given up."""

    def __init__(self, path: Path, number: int, chain: int, scope: bytes, limit: int, records: int) -> None:
        """The file never has more than ``limit`` bytes, and no more than so many records."""
        self._fd = _open(path)
        try:
            self.segment = Segment(path, number, chain)
        except OSError:
            os.close(self._fd)
            raise
        self._limit = limit
        self._records = records
        self._window = mmap.mmap(-1, WINDOW)
        self._at = 0  # in the window
        self._offset = 0  # of the window in the file
        self._fresh = Columns()
        self._put(fmt.encode_header(scope, chain))

    @property
    def waiting(self) -> int:
        """Records that are in the window alone."""
        return len(self._fresh)

    def takes(self, stored: int) -> bool:
        records = len(self.segment.columns) + len(self._fresh) + 1
        length = self._offset + self._at + RECORD + stored + 3 * SECTOR
        return records <= self._records and length + records * fmt.ENTRY + fmt.TRAILER <= self._limit

    def fits(self, stored: int) -> bool:
        """Into what is left of the window; else ``flush`` comes first."""
        return self._at + RECORD + stored + 2 * SECTOR <= WINDOW

    def append(self, block: BlockId, codec: int, plain: int, payload: Buffer, hits: int = 0) -> None:
        stored = memoryview(payload).nbytes
        offset = self._offset + self._at
        self._fresh.append(fmt.key_of(block), offset, codec, stored, plain, hits)
        self._put(fmt.encode_record(block, codec, stored, plain))
        self._put(payload)

    def _put(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self._window[self._at : self._at + view.nbytes] = view
        self._at += view.nbytes

    def flush(self) -> Columns:
        """Write what is in the window; returns what is readable from now on and not yet in ``columns``."""
        gap = fmt.padding_at(self._at)
        if gap:
            self._put(fmt.encode_record(bytes(32), fmt.PADDING, gap - RECORD, 0))
            self._at += gap - RECORD  # whatever an earlier window left there
        with memoryview(self._window) as window, window[: self._at] as view:
            _write_all(self._fd, view, self._offset)
        self._offset += self._at
        self._at = 0
        self.segment.size = self._offset
        fresh, self._fresh = self._fresh, Columns()
        return fresh

    def end(self) -> None:
        """Everything is flushed, and in ``columns``: nothing comes after it."""
        self.segment.end(self._offset)
        self.abandon()

    def abandon(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(BufferError):  # a traceback may still show it
                self._window.close()


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o600)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.open(path, flags, 0o600)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view.nbytes:
        try:
            count = os.pwrite(fd, view, offset)
        except OSError as error:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
            fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)  # some say so only now
            continue
        view = view[count:]
        offset += count
