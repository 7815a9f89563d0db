"""Reading contents in the background, past the caches of the volume's users."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from typing import Final

from typing_extensions import Buffer

from graviton_server.maintenance.work import Work
from gravitonfs.content.reader import SMALL, ContentReader
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import NO_INO, ContentId, Ino
from gravitonfs.ports.ops import Attr

PIECE: Final = 1 << 20
_AHEAD: Final = 8 << 20

Writing = Callable[[Ino], bool]
"""Whether somebody has the inode open for writing; quick."""


def reader_of(volume: Volume, content: ContentId, version: int, length: int) -> ContentReader:
    """``volume``: one whose caches are background work's own."""
    attr = Attr(NO_INO, stat.S_IFREG, 1, 0, 0, 0, length, 0, 0, 0, 0, content, version)
    return volume.reader(attr)


def stream(reader: ContentReader, start: int, stop: int, work: Work) -> Iterator[Buffer]:
    """[start, stop) in pieces of 1 MiB, as fast as ``work`` allows. A small content comes with its neighbours
    in the pack, which are likely to be wanted next."""
    ahead = start if reader.size > SMALL else stop
    for offset in range(start, stop, PIECE):
        end = min(offset + PIECE, stop)
        if end + _AHEAD // 2 > ahead and ahead < stop:
            reader.ahead(max(ahead, offset), min(end + _AHEAD, stop))
            ahead = min(end + _AHEAD, stop)
        yield reader.read(offset, end - offset)
        work.spend(end - offset)
