"""Reading a pack record by record, past damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from graviton_server.packs.format import (
    HEADER_SIZE,
    PADDING,
    RECORD_HEADER,
    RECORD_MAGIC,
    Records,
    decode_record,
)
from gravitonfs.core.codec import decode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId
from gravitonfs.errors import Damaged


class Found(NamedTuple):
    """A record whose header is good; ``good`` says whether its payload is, too."""

    offset: int
    stored: int
    plain: int
    codec: int
    id: BlockId
    good: bool


class Gap(NamedTuple):
    """Bytes [start, end) that are no record."""

    start: int
    end: int


def good_payload(found: BlockId, codec: int, payload: memoryview, plain: int, block_key: bytes) -> bool:
    try:
        return block_id(decode(codec, payload, plain), block_key) == found
    except Damaged:
        return False


def scan(data: bytes, start: int, block_key: bytes) -> Iterator[Found | Gap]:
    """What lies in a pack from ``start`` on; paddings are passed over."""
    view = memoryview(data)
    at = max(start, HEADER_SIZE)
    while at < len(data):
        head = decode_record(view, at)
        if head is not None:
            end = at + RECORD_HEADER + head.stored
            if end <= len(data):
                if head.codec != PADDING:
                    payload = view[at + RECORD_HEADER : end]
                    good = good_payload(head.id, head.codec, payload, head.plain, block_key)
                    yield Found(at, head.stored, head.plain, head.codec, head.id, good)
                at = end
                continue
        following = at
        while True:
            following = data.find(RECORD_MAGIC, following + 1)
            if following < 0:
                yield Gap(at, len(data))
                return
            if decode_record(view, following) is not None:
                break
        yield Gap(at, following)
        at = following


class Scanned(NamedTuple):
    """``records``: the good ones. ``end``: where the last record with a good header ends.
    ``skipped``: bytes before ``end`` that are no good record. ``damaged``: ids of damaged payloads."""

    records: Records
    end: int
    skipped: int
    damaged: list[BlockId]


def scan_all(data: bytes, block_key: bytes) -> Scanned:
    records = Records()
    end = min(HEADER_SIZE, len(data))
    skipped = pending = 0
    damaged = []
    for item in scan(data, 0, block_key):
        if isinstance(item, Gap):
            pending += item.end - item.start
            continue
        skipped += pending
        pending = 0
        end = item.offset + RECORD_HEADER + item.stored
        if item.good:
            records.add(item.id, item.offset, item.stored, item.plain, item.codec)
        else:
            skipped += RECORD_HEADER + item.stored
            damaged.append(item.id)
    return Scanned(records, end, skipped, damaged)
