"""What an upload sends: bytes as they lie in memory, perhaps in many places, to the socket without a copy."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, Protocol, runtime_checkable

import google_crc32c
from typing_extensions import Buffer

from gravitonfs.errors import Invalid

_PIECE: Final = 128 << 10
"""Handed to the socket at once: each has the time of a connect to get into its buffer."""
_SUMMED: Final = 256 << 10
"""Copied at once, where the library must have ``bytes``; little enough to stay in the processor's cache."""


@runtime_checkable
class InMemory(Protocol):
    """A body whose bytes somebody keeps in memory anyway, unchanged, until it is stored."""

    def views(self, length: int, /) -> Sequence[memoryview]:
        """The next ``length`` bytes, fewer only at the end."""
        ...


class Body:
    """A file as far as the SDK reads one. It returns larger pieces than it is asked for: the SDK would copy
    16 KiB at a time."""

    def __init__(self, views: Sequence[memoryview]) -> None:
        self._views = views
        self._length = sum(len(view) for view in views)
        self._at = 0
        self._rest = self._pieces(0)

    def __len__(self) -> int:
        return self._length

    def _pieces(self, start: int) -> Iterator[memoryview]:
        for view in self._views:
            for at in range(min(start, len(view)), len(view), _PIECE):
                yield view[at : at + _PIECE]
            start = max(0, start - len(view))

    def read(self, size: int = -1) -> Buffer:
        """Nothing at the end only."""
        if size < 0:
            found: bytes | memoryview = b"".join(self._rest)
        else:
            found = next(self._rest, b"")
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = base + offset
        self._rest = self._pieces(self._at)
        return self._at

    def tell(self) -> int:
        return self._at


def taken(body: BinaryIO, length: int) -> Sequence[memoryview]:
    """The next bytes of ``body``, exactly so many."""
    if isinstance(body, InMemory):
        views = body.views(length)
        _check(sum(len(view) for view in views), length)
        return views
    data = body.read(length)
    while len(data) < length:
        more = body.read(length - len(data))
        if not more:
            _check(len(data), length)
        data += more
    return [memoryview(data)]


def _check(found: int, length: int) -> None:
    if found < length:
        raise Invalid(f"an object ended {length - found} bytes early")


def crc32c(views: Sequence[memoryview]) -> str:
    total = 0
    for view in views:
        if type(view.obj) is bytes and len(view.obj) == len(view):
            total = google_crc32c.extend(total, view.obj)
            continue
        for at in range(0, len(view), _SUMMED):
            total = google_crc32c.extend(total, bytes(view[at : at + _SUMMED]))
    return _base64(total.to_bytes(4, "big"))


def md5(views: Sequence[memoryview]) -> str:
    total = hashlib.md5(usedforsecurity=False)
    for view in views:
        total.update(view)
    return _base64(total.digest())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
