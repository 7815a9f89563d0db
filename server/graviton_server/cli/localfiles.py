"""The local side of a transfer: extended attributes, reading runs, writing sparse."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from typing_extensions import Buffer

from graviton_server.control.wire import Hole

CHUNK = 1 << 20
_HOLE_MIN = 64 << 10
_ZEROES = bytes(_HOLE_MIN)
_SKIPPED_XATTRS = (b"user.graviton.", b"security.selinux")

Xattrs = list[tuple[bytes, bytes]]


def xattrs_of(path: bytes) -> Xattrs:
    """All that may be read and belongs to the file; none where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
            return []
        raise
    found: Xattrs = []
    for name in map(os.fsencode, names):
        if name.startswith(_SKIPPED_XATTRS):
            continue
        try:
            found.append((name, os.getxattr(path, name, follow_symlinks=False)))
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EPERM, errno.EACCES, errno.ENOTSUP):
                raise
    return found


def size_of(xattrs: Xattrs) -> int:
    return sum(len(name) + len(value) for name, value in xattrs)


def set_xattrs(path: bytes, xattrs: Xattrs, refused: Callable[[str], None]) -> None:
    """``refused`` is told of those that the file system or the kernel does not take."""
    for name, value in xattrs:
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL):
                raise
            refused(f"the attribute {name.decode(errors='replace')} cannot be kept: {error.strerror}")


def read_runs(handle: int, before_each: Callable[[], None]) -> Iterator[bytes | Hole]:
    """A file's bytes in large pieces; holes are not read, and small ones come as zeroes."""
    size = os.fstat(handle).st_size
    at = 0
    while at < size:
        data_from = _seek(handle, at, os.SEEK_DATA, size)
        if at < data_from:
            before_each()
            length = data_from - at
            yield Hole(length) if length >= _HOLE_MIN else bytes(length)
            at = data_from
        data_to = _seek(handle, at, os.SEEK_HOLE, size) if at < size else size
        while at < data_to:
            before_each()
            piece = os.pread(handle, min(CHUNK, data_to - at), at)
            if not piece:
                return  # it has become shorter; the caller looks
            yield piece
            at += len(piece)


def _seek(handle: int, at: int, whence: int, size: int) -> int:
    try:
        return min(os.lseek(handle, at, whence), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from here to the end
            return size
        return at if whence == os.SEEK_DATA else size


def write_sparse(handle: int, at: int, data: Buffer) -> int:
    """Write at ``at`` and return where the bytes end; runs of zeroes become holes."""
    view = memoryview(data).cast("B")
    start = 0
    while start < view.nbytes:
        stop = start
        zero = _is_zero(view, stop)
        while stop < view.nbytes and _is_zero(view, stop) == zero:
            stop = min(stop + len(_ZEROES), view.nbytes)
        while not zero and start < stop:
            start += os.pwrite(handle, view[start:stop], at + start)
        start = stop
    return at + view.nbytes


def _is_zero(view: memoryview, at: int) -> bool:
    piece = view[at : at + len(_ZEROES)]
    return piece == _ZEROES[: piece.nbytes]
