"""Messages put together by hand are what the library would have sent."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from gravitonfs.core.frames import Framed, taken_apart
from gravitonfs.rpc.graviton.v1 import blobs_pb2, blocks_pb2

_SIZES = st.one_of(st.integers(0, 300), st.sampled_from([16_383, 16_384, 70_000, 2_200_000]))
_BLOCKS = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 300), _SIZES), max_size=5)


@settings(deadline=None)
@given(_BLOCKS, st.text(max_size=200))
def test_blocks(blocks: list[tuple[bytes, int, int]], volume: str) -> None:
    framed = Framed(blocks_pb2.PutRequest(volume=volume).SerializeToString())
    expected = blocks_pb2.PutRequest(volume=volume)
    for id, codec, size in blocks:
        payload = memoryview(bytes(size))
        framed.add_block(blocks_pb2.PutRequest.BLOCKS_FIELD_NUMBER, id, codec, 2 * size, payload)
        expected.blocks.add(id=id, codec=codec, plain_length=2 * size, payload=bytes(payload))
    assert framed.SerializeToString() == expected.SerializeToString()


@settings(deadline=None)
@given(_BLOCKS, st.text(max_size=200), st.binary(max_size=40), st.data())
def test_taken_apart(
    blocks: list[tuple[bytes, int, int]], volume: str, other: bytes, data: st.DataObject
) -> None:
    """As the library reads it, whatever bytes have changed, or left to the library."""
    message = blocks_pb2.PutRequest(volume=volume)
    message.blocks.add(id=bytes(32), payload=bytes(70_000))
    for id, codec, size in blocks:
        message.blocks.add(id=id, codec=codec, plain_length=2 * size, payload=bytes(size))
    whole = bytearray(message.SerializeToString() + other)
    for at in data.draw(st.lists(st.integers(0, 400), max_size=2)):
        whole[at % len(whole)] ^= data.draw(st.integers(1, 255))
    _agree(bytes(whole))


def test_what_is_small_is_left_to_the_library() -> None:
    message = blocks_pb2.PutRequest(blocks=[blocks_pb2.Block(id=bytes(32), payload=bytes(4096))])
    assert taken_apart(message.SerializeToString(), 2) is None


def _agree(whole: bytes) -> None:
    apart = taken_apart(whole, blocks_pb2.PutRequest.BLOCKS_FIELD_NUMBER)
    if apart is None:
        return
    blocks, rest = apart
    try:
        expected = blocks_pb2.PutRequest.FromString(whole)
    except DecodeError:
        with pytest.raises(DecodeError):
            blocks_pb2.PutRequest.FromString(rest)
        return
    assert [(b.id, b.codec, b.plain_length, bytes(b.payload)) for b in blocks] == [
        (b.id, b.codec, b.plain_length, b.payload) for b in expected.blocks
    ]
    assert blocks_pb2.PutRequest.FromString(rest).volume == expected.volume


@settings(deadline=None)
@given(_SIZES)
def test_bytes(size: int) -> None:
    framed = Framed()
    framed.add_bytes(blobs_pb2.UploadRequest.DATA_FIELD_NUMBER, memoryview(bytearray(size)))
    assert blobs_pb2.UploadRequest.FromString(framed.SerializeToString()).data == bytes(size)
