"""What a dead mount's journal says: the session's batches, and the bytes of each inode, in order."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gravitonfs.core.ids import Ino
from gravitonfs.core.releases import Format, newer
from gravitonfs.journal import records, scan
from gravitonfs.journal.records import DATA, Answer, Kind, Segment
from gravitonfs.journal.scan import Damage, Record
from gravitonfs.ports.ops import Batch


class Write(NamedTuple):
    """Bytes of one write; they are in the file ``path`` at ``at``."""

    sequence: int
    offset: int
    length: int
    time_ns: int
    path: Path
    at: int
    behind: bool
    """They come behind damage: not to be relied on."""


class Piece(NamedTuple):
    """What is to be at ``offset`` of a file in the end."""

    offset: int
    length: int
    path: Path
    at: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.at)
            return file.read(self.length)


@dataclass(slots=True)
class FoundInode:
    """``known``: contents and versions that the mount has seen or made. ``marks``: up to which sequence the
    namespace has the bytes, and by batches up to which number. ``cleared``: the sequences of changes of its
    size, and the numbers of those batches."""

    known: set[tuple[int, int]] = field(default_factory=set)
    writes: list[Write] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)
    cleared: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class FoundBatch:
    """``answered``: "" for success, else what it failed with; None where no answer had come."""

    batch: Batch
    sequence: int
    answered: str | None = None


@dataclass(slots=True)
class Found:
    head: Segment
    inodes: dict[Ino, FoundInode] = field(default_factory=dict)
    batches: dict[int, FoundBatch] = field(default_factory=dict)
    orphaned: list[Batch] = field(default_factory=list)
    """Behind damage: they cannot follow on those before."""
    gone: set[Ino] = field(default_factory=set)
    """Inodes whose last name the mount itself has removed."""
    durable: int = 0
    damage: Damage | None = None
    last_segment: int = 0
    last_sequence: int = 0

    def hear(self, answer: Answer) -> None:
        """What the mount knew from it; of inodes without bytes here nothing is needed."""
        for ino, content, version in answer.contents:
            if (inode := self.inodes.get(Ino(ino))) is not None:
                inode.known.add((content, version))
        self.gone.update(Ino(ino) for ino in answer.gone)

    def inode(self, ino: int) -> FoundInode:
        return self.inodes.setdefault(Ino(ino), FoundInode())


def read(directory: Path) -> Found | None:
    """None where there is nothing that anybody was promised."""
    scanned = scan.scan(directory)
    _refuse_newer(scanned)
    if scanned.damage is None:
        scan.cut_tail(directory, scanned.records)
    if scanned.damage is None and not scanned.records:
        return None
    found = Found(_head_of(scanned))
    for record, behind in _in_order(scanned):
        if record.kind == Kind.SEGMENT:
            head = records.decode_segment(memoryview(_payload(record)))
            if head.session != found.head.session:
                _succeed(found, head)
        else:
            _enter(found, record, behind)
    found.damage = scanned.damage
    found.last_sequence = max((r.sequence for r in (*scanned.records, *scanned.behind)), default=0)
    found.last_segment = max(int(path.stem) for path in scan.segments(directory))
    return found


def _refuse_newer(scanned: scan.Scan) -> None:
    """Before anything is cut off or removed."""
    for record, _ in _in_order(scanned):
        if record.kind == Kind.SEGMENT:
            version = records.decode_segment(memoryview(_payload(record))).version
            if version > records.VERSION:
                raise newer(f"the journal {record.path}", Format.JOURNAL, version)


def _head_of(scanned: scan.Scan) -> Segment:
    """The first that can be read; where none can, nobody's."""
    for record, _ in _in_order(scanned):
        if record.kind == Kind.SEGMENT:
            return records.decode_segment(memoryview(_payload(record)))
    return Segment(records.VERSION, b"", "", "", b"", 0)


def _in_order(scanned: scan.Scan) -> Iterator[tuple[Record, bool]]:
    """With whether it comes behind damage."""
    for record in scanned.records:
        yield record, False
    for record in scanned.behind:
        yield record, True


def _succeed(found: Found, head: Segment) -> None:
    """Another session took over: what the one before had applied is applied, as far as anybody knows."""
    found.head = head
    found.batches.clear()
    found.durable = 0
    for inode in found.inodes.values():
        inode.marks = [(sequence, 0) for sequence, _ in inode.marks]
        inode.cleared = [(sequence, 0) for sequence, _ in inode.cleared]


def _payload(record: Record, length: int | None = None) -> bytes:
    with record.path.open("rb") as file:
        file.seek(record.at)
        return file.read(record.length if length is None else min(length, record.length))


def _enter(found: Found, record: Record, behind: bool) -> None:
    if record.kind == Kind.DATA:
        data = records.decode_data(memoryview(_payload(record, DATA.size)))
        inode = found.inode(data.ino)
        inode.known.add((data.content, data.version))
        inode.writes.append(
            Write(
                record.sequence,
                data.offset,
                record.length - DATA.size,
                data.time_ns,
                record.path,
                record.at + DATA.size,
                behind,
            )
        )
        return
    payload = memoryview(_payload(record))
    if record.kind == Kind.BATCH:
        batch = records.decode_batch(payload)
        if behind:
            found.orphaned.append(batch)
        else:
            found.batches[batch.number] = FoundBatch(batch, record.sequence)
        for ino in records.truncated(batch):
            found.inode(ino).cleared.append((record.sequence, batch.number))
    elif record.kind == Kind.ANSWERS:
        for answer in records.decode_answers(payload):
            if answer.number in found.batches:
                found.batches[answer.number].answered = answer.failure
            found.hear(answer)
    elif record.kind == Kind.APPLIED:
        mark = records.decode_applied(payload)
        found.inode(mark.ino).marks.append((mark.sequence, mark.number))
    elif record.kind == Kind.DURABLE:
        found.durable = max(found.durable, records.decode_durable(payload))


def final(writes: list[Write]) -> list[Piece]:
    """Where writes overlap the later one holds; in the order of offsets."""
    pieces: list[Piece] = []
    for write in reversed(writes):
        start, end = write.offset, write.offset + write.length
        at = bisect_right(pieces, start, key=_offset)
        if at and pieces[at - 1].offset + pieces[at - 1].length > start:
            start = pieces[at - 1].offset + pieces[at - 1].length
        fresh: list[Piece] = []
        while start < end:
            until = min(end, pieces[at].offset) if at < len(pieces) else end
            if start < until:
                fresh.append(Piece(start, until - start, write.path, write.at + start - write.offset))
            if at == len(pieces):
                break
            start = max(start, pieces[at].offset + pieces[at].length)
            at += 1
        for piece in fresh:
            insort(pieces, piece, key=_offset)
    return pieces


def _offset(piece: Piece) -> int:
    return piece.offset
