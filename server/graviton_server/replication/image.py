"""A whole pack in memory, compared with all that it says of itself: what may be copied, and what may not."""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from graviton_server.packs.format import (
    HEADER_SIZE,
    PADDING,
    RECORD_HEADER,
    TRAILER_SIZE,
    Records,
    decode_header,
    decode_record,
    decode_trailer,
    pack_digest,
)
from graviton_server.packs.scan import good_payload
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.target import SelfCheckingTarget, Target

_PIECE: Final = 4 << 20


def fetch(target: Target, key: str) -> bytearray:
    """Raises ``NotFound``, and whatever else reading does."""
    length = target.head(key).length
    image = bytearray(length)
    at = 0
    while at < length:
        piece = memoryview(target.get(key, at, min(_PIECE, length - at)))
        if not piece.nbytes:
            raise NotFound(f"{key} ended at {at} of {length} bytes")
        image[at : at + piece.nbytes] = piece
        at += piece.nbytes
    return image


def fault_at(target: Target, key: str, uuid: bytes, length: int, block_key: bytes) -> str:
    """As ``fault_of``, of a pack on a target, which reads it itself if it can. Raises as ``fetch``."""
    if isinstance(target, SelfCheckingTarget):
        return target.fault(key, length)
    return fault_of(fetch(target, key), uuid, length, block_key)


def fault_of(image: bytearray, uuid: bytes, length: int, block_key: bytes) -> str:
    """What is wrong with a pack; empty: nothing, every block was read and hashed."""
    if length and len(image) != length:
        return f"it has {len(image)} bytes where {length} were stored"
    view = memoryview(image)
    trailer = decode_trailer(view[-TRAILER_SIZE:], len(image))
    if trailer is None:
        return "it has no good trailer"
    header, footer = view[:HEADER_SIZE], view[trailer.footer_offset :][: trailer.footer_length]
    try:
        if decode_header(header).uuid != uuid:
            return "it has the header of another pack"
        if blake3(footer).digest() != trailer.footer_digest or pack_digest(header, footer) != trailer.digest:
            return "it has another header or footer than was written"
        records = Records.decode(footer)
    except Damaged as error:
        return str(error)
    for at in range(len(records)):
        offset = records.offsets[at]
        head = decode_record(view, offset)
        if head is None or head.codec == PADDING or head.id != records.id(at):
            return f"the header of its record at {offset} is damaged"
        payload = view[offset + RECORD_HEADER :][: head.stored]
        if not good_payload(head.id, head.codec, payload, head.plain, block_key):
            return f"the block at {offset} is not what was stored"
    return ""


def merged(images: list[bytearray], uuid: bytes, length: int, block_key: bytes) -> bytearray | None:
    """One good pack out of several damaged ones, each record from whichever has it; None: that fails."""
    whole = [image for image in images if len(image) == length]
    for base in whole:
        trailer = decode_trailer(memoryview(base)[-TRAILER_SIZE:], length)
        if trailer is None:
            continue
        footer = memoryview(base)[trailer.footer_offset :][: trailer.footer_length]
        if blake3(footer).digest() != trailer.footer_digest:
            continue
        result = bytearray(base)
        records = Records.decode(footer)
        for other in whole:
            if _uuid_in(other) == uuid:
                result[:HEADER_SIZE] = other[:HEADER_SIZE]
        for at in range(len(records)):
            start, end = records.offsets[at], records.end(at)
            for image in (base, *whole):
                head = decode_record(image, start)
                if head is None or head.id != records.id(at):
                    continue
                payload = memoryview(image)[start + RECORD_HEADER : end]
                if good_payload(head.id, head.codec, payload, head.plain, block_key):
                    result[start:end] = image[start:end]
                    break
        if not fault_of(result, uuid, length, block_key):
            return result
    return None


def _uuid_in(image: bytearray) -> bytes | None:
    try:
        return decode_header(memoryview(image)[:HEADER_SIZE]).uuid
    except Damaged:
        return None
