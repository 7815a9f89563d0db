"""Reading a journal that another process has left: whole records, and where they end.

A record that is torn, and everything behind it, was never promised to anybody, if no later record says that
it was on disk. If one does, the journal is damaged: what follows is given back as such, and never mistaken
for what can be relied on.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from gravitonfs.core.durable import sync_directory
from gravitonfs.journal.records import HEAD_SIZE, MAGIC, is_whole, read_head
from gravitonfs.journal.segment import SUFFIX

_BEGUN: Final = 4096
"""The first record of a segment is shorter; it is on disk before there is another."""


class Record(NamedTuple):
    """``at``: where its payload is in the file of segment ``path``."""

    kind: int
    sequence: int
    path: Path
    at: int
    length: int


class Damage(NamedTuple):
    path: Path
    at: int
    why: str


class Scan(NamedTuple):
    """``records``: in order, all that can be relied on. ``behind``: whole records behind ``damage``."""

    records: list[Record]
    damage: Damage | None
    behind: list[Record]


class _Piece(NamedTuple):
    """Whole records without anything wrong between them; ``broken``: what is wrong right before them."""

    broken: Damage | None
    records: list[Record]
    synced: int


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{SUFFIX}"))


def scan(directory: Path) -> Scan:
    pieces: list[_Piece] = []
    last = 0
    unread: Damage | None = None
    for path in segments(directory):
        before = len(pieces)
        for piece in _pieces(path, last):
            first = piece.records[0].sequence
            broken, unread = piece.broken or unread, None
            if broken is None and last and first != last + 1:
                broken = Damage(path, 0, f"{first - last - 1} records are missing")
            pieces.append(piece._replace(broken=broken))
            last = piece.records[-1].sequence
        if len(pieces) == before and path.stat().st_size:
            unread = Damage(path, 0, "no record is whole")
    good: list[Record] = []
    if not pieces:
        return Scan([], _unreadable(directory), [])
    for at, piece in enumerate(pieces):
        if piece.broken is not None:
            through = good[-1].sequence if good else 0
            if all(one.synced <= through for one in pieces[at:]):
                return Scan(good, None, [])  # nobody was promised what is lost, nor what is behind it
            return Scan(good, piece.broken, [record for one in pieces[at:] for record in one.records])
        good.extend(piece.records)
    return Scan(good, None, [])


def _unreadable(directory: Path) -> Damage | None:
    """Files without a whole record: one that had just been begun, or damaged from the start."""
    for path in segments(directory):
        if path.stat().st_size > _BEGUN:
            return Damage(path, 0, "no record is whole")
    return None


def cut_tail(directory: Path, records: list[Record]) -> None:
    """Remove what is behind the last record that counts, so that others can follow it. On disk."""
    ends = {record.path: record.at + record.length for record in records}
    for path in segments(directory):
        if path not in ends:
            path.unlink()
        elif path.stat().st_size > ends[path]:
            with path.open("r+b") as file:
                file.truncate(ends[path])
                file.flush()
                os.fsync(file.fileno())
    sync_directory(directory)


def _pieces(path: Path, last: int) -> Iterator[_Piece]:
    with _mapped(path) as data:
        at = 0
        broken: Damage | None = None
        while at < len(data):
            records, synced, end = _whole(data, path, at, last)
            if records:
                last = records[-1].sequence
                yield _Piece(broken, records, synced)
            if end >= len(data):
                return
            broken = Damage(path, end, "a record is not whole")
            at = _next(data, end + 1, last)


def _whole(data: memoryview, path: Path, at: int, last: int) -> tuple[list[Record], int, int]:
    """Records one behind the other from ``at``, what they say was on disk, and where that ends."""
    records: list[Record] = []
    synced = 0
    while (head := read_head(data, at)) is not None:
        if head.sequence <= last or not is_whole(data, at, head.length):
            break
        records.append(Record(head.kind, head.sequence, path, at + HEAD_SIZE, head.length))
        synced = max(synced, head.synced)
        last = head.sequence
        at += HEAD_SIZE + head.length
    return records, synced, at


def _next(data: memoryview, at: int, last: int) -> int:
    """Where the next whole record begins, else the end."""
    whole = bytes(data)
    while (at := whole.find(MAGIC, at)) >= 0:
        head = read_head(data, at)
        if head is not None and head.sequence > last and is_whole(data, at, head.length):
            return at
        at += 1
    return len(data)


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    with path.open("rb") as file:
        if not file.seek(0, 2):
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            yield view
