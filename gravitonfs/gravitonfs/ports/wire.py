"""The MessagePack that travels inside of gRPC messages; protos/graviton/v1/namespace.proto describes it.

What is decoded here came from outside: every decoder raises ``Invalid``, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId
from gravitonfs.errors import Gap, GravitonError, Internal, Invalid, Kind, MissingBlocks, Throttled, error_of
from gravitonfs.ports.namespace import BlobRef, Change, Entry, RegionMap, Touched
from gravitonfs.ports.ops import Attr, Batch, Failure, Removed, Reply, Result

T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode

STAMP = 16
"""Bytes of the stamp by which a daemon knows again what a client has got from another one."""
_ATTRIBUTES = len(Attr._fields)
_REMOVED = len(Removed._fields)


def _decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    return msgspec.msgpack.Decoder(kind)


_batches = _decoder(list[Batch])
_attr = _decoder(Attr)
_attrs = _decoder(list[Attr])
_entries = _decoder(list[Entry])
_regions = _decoder(list[tuple[int, list[Extent]]])
_maps = _decoder(list[tuple[ContentId, list[Extent]]])
_changes = _decoder(list[Change])
_replies = _decoder(list[tuple[int, list[list[Any] | None], Failure | None, int]])
_blob = _decoder(BlobRef)
_blobs = _decoder(list[BlobRef])
_pairs = _decoder(list[tuple[bytes, bytes]])
_triples = _decoder(list[tuple[int, bytes, bytes]])
_any = msgspec.msgpack.Decoder()


def _decoded(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"a message cannot be read: {error}") from error


def encode_batches(batches: Sequence[Batch]) -> bytes:
    try:
        return encode(batches)
    except OverflowError as error:
        raise Invalid("a number is too large") from error


def decode_batches(data: bytes) -> list[Batch]:
    return _decoded(_batches, data)


def encode_replies(replies: Sequence[Reply]) -> bytes:
    return encode(replies)


def decode_replies(data: bytes) -> list[Reply]:
    return [
        Reply(number, tuple(map(_result, results)), failure, durable)
        for number, results, failure, durable in _decoded(_replies, data)
    ]


def _result(fields: list[Any] | None) -> Result:
    if fields is None:
        return None
    if len(fields) == _ATTRIBUTES:
        return Attr(*fields)
    if len(fields) == _REMOVED:
        return Removed(*fields)
    raise Invalid(f"a result has {len(fields)} fields")


def decode_attr(data: bytes) -> Attr | None:
    """Nothing stands for a name that does not exist."""
    return _decoded(_attr, data) if data else None


def decode_attrs(data: bytes) -> list[Attr]:
    return _decoded(_attrs, data)


def decode_entries(data: bytes) -> list[Entry]:
    return _decoded(_entries, data)


def decode_regions(data: bytes) -> list[RegionMap]:
    return [RegionMap(region, tuple(extents)) for region, extents in _decoded(_regions, data)]


def decode_maps(data: bytes) -> dict[ContentId, tuple[Extent, ...]]:
    return {content: tuple(extents) for content, extents in _decoded(_maps, data)}


def decode_changes(data: bytes) -> list[Change]:
    return [change._replace(touched=Touched(change.touched)) for change in _decoded(_changes, data)]


def decode_blob(data: bytes) -> BlobRef | None:
    """Nothing stands for a blob that is not there."""
    return _decoded(_blob, data) if data else None


def decode_blobs(data: bytes) -> list[BlobRef]:
    return _decoded(_blobs, data)


def decode_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    return _decoded(_pairs, data)


def decode_triples(data: bytes) -> list[tuple[int, bytes, bytes]]:
    return _decoded(_triples, data)


def encode_error(error: GravitonError) -> bytes:
    """With what an exception of this class carries, so that the other side raises the same."""
    details: dict[str, object] = {"kind": error.kind.value, "message": str(error)}
    if isinstance(error, MissingBlocks):
        details["packs"] = error.packs
    elif isinstance(error, Gap):
        details["last"] = error.last
    elif isinstance(error, Throttled):
        details["retry_after"] = error.retry_after
    return encode(details)


def decode_error(data: bytes) -> GravitonError:
    """Never raises: what cannot be read becomes ``Internal``."""
    try:
        details = _any.decode(data)
        kind, message = Kind(details["kind"]), str(details["message"])
        if kind is Kind.MISSING_BLOCKS:
            return MissingBlocks(tuple(int(pack) for pack in details["packs"]))
        if kind is Kind.GAP:
            return Gap(int(details["last"]))
        if kind is Kind.THROTTLED:
            return Throttled(message, float(details["retry_after"]))
        return error_of(kind, message)
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError):
        return Internal("the server answered with an error that cannot be read")
