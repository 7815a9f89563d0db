"""The records of a journal: docs/format/journal.md describes every byte."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import google_crc32c
import msgspec

from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Invalid
from gravitonfs.ports import wire
from gravitonfs.ports.ops import Append, Attr, Batch, Removed, Reply, Truncate, Write

MAGIC: Final = b"GRVJ"
VERSION: Final = 1
HEAD: Final = struct.Struct("<4sB3xIQQ")
"""Magic, kind, length of the payload, sequence, last sequence known to be on disk."""
_SUM: Final = struct.Struct("<I")
HEAD_SIZE: Final = HEAD.size + _SUM.size
DATA: Final = struct.Struct("<QQQQq")
"""Inode, offset, content, version, time; the bytes follow."""
LONGEST: Final = 1 << 28
"""A payload is never longer: a larger number is damage."""

T = TypeVar("T")


class Kind(enum.IntEnum):
    SEGMENT = 1
    DATA = 2
    BATCH = 3
    ANSWERS = 4
    APPLIED = 5
    DURABLE = 6


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """The first record of each segment: whose journal this is, and which session its batches belong to."""

    version: int
    store: bytes
    volume: str
    source: str
    handle: bytes
    session: int


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a batch was answered, as far as recovery needs it. ``contents``: inode, content and version, of
    those it answered with; ``gone``: inodes whose last name it took. ``number`` 0: seen before a batch."""

    number: int
    failure: str
    contents: tuple[tuple[int, int, int], ...]
    gone: tuple[int, ...]


class Applied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The bytes of an inode up to a sequence are in the namespace, by batches up to ``number``."""

    ino: int
    sequence: int
    number: int


class Data(NamedTuple):
    """A write: the file's content and version as its writer knew them, and when it came."""

    ino: Ino
    offset: int
    content: ContentId
    version: int
    time_ns: int


class Head(NamedTuple):
    kind: int
    length: int
    sequence: int
    synced: int


encode = msgspec.msgpack.Encoder().encode
_segment = msgspec.msgpack.Decoder(Segment)
_answers = msgspec.msgpack.Decoder(list[Answer])
_applied = msgspec.msgpack.Decoder(Applied)
_durable = msgspec.msgpack.Decoder(int)


def head(kind: Kind, parts: Sequence[bytes], sequence: int, synced: int) -> bytes:
    """With the checksum of all that follows."""
    first = HEAD.pack(MAGIC, kind, sum(map(len, parts)), sequence, synced)
    checksum = google_crc32c.value(first)
    for part in parts:
        checksum = google_crc32c.extend(checksum, part)
    return first + _SUM.pack(checksum)


def read_head(data: memoryview, at: int) -> Head | None:
    """None where no record begins."""
    if len(data) - at < HEAD_SIZE or bytes(data[at : at + 4]) != MAGIC:
        return None
    _, kind, length, sequence, synced = HEAD.unpack_from(data, at)
    if length > LONGEST or at + HEAD_SIZE + length > len(data):
        return None
    return Head(kind, length, sequence, synced)


def is_whole(data: memoryview, at: int, length: int) -> bool:
    """Whether the record at ``at`` has the checksum it says."""
    (wanted,) = _SUM.unpack_from(data, at + HEAD.size)
    checksum = google_crc32c.value(bytes(data[at : at + HEAD.size]))
    body = bytes(data[at + HEAD_SIZE : at + HEAD_SIZE + length])
    return bool(google_crc32c.extend(checksum, body) == wanted)


def decode_data(payload: memoryview) -> Data:
    if len(payload) < DATA.size:
        raise Invalid("a record of written bytes is too short")
    ino, offset, content, version, time_ns = DATA.unpack_from(payload)
    return Data(Ino(ino), offset, ContentId(content), version, time_ns)


def decode_batch(payload: memoryview) -> Batch:
    [batch] = wire.decode_batches(bytes(payload))
    return batch


def decode_segment(payload: memoryview) -> Segment:
    return _decoded(_segment, payload)


def decode_answers(payload: memoryview) -> list[Answer]:
    return _decoded(_answers, payload)


def decode_applied(payload: memoryview) -> Applied:
    return _decoded(_applied, payload)


def decode_durable(payload: memoryview) -> int:
    return _decoded(_durable, payload)


def _decoded(decoder: msgspec.msgpack.Decoder[T], payload: memoryview) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"a record of the journal cannot be read: {error}") from error


def answer_of(reply: Reply) -> Answer:
    contents = tuple((r.ino, r.content, r.version) for r in reply.results if isinstance(r, Attr))
    gone = tuple(r.ino for r in reply.results if isinstance(r, Removed) and r.ino and not r.links)
    failure = "" if reply.failure is None else reply.failure.message or reply.failure.kind
    return Answer(reply.number, failure, contents, gone)


def rewritten(batch: Batch) -> set[Ino]:
    """The inodes whose bytes a batch changes."""
    return {op.ino for op in batch.ops if isinstance(op, (Write, Append, Truncate))}


def truncated(batch: Batch) -> list[Ino]:
    """The inodes whose size a batch sets: their writer had stored or dropped everything before."""
    return [op.ino for op in batch.ops if isinstance(op, Truncate)]
