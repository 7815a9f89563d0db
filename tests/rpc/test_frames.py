"""Messages put together by hand are what the library would have sent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gravitonfs.core.frames import Framed
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
@given(_SIZES)
def test_bytes(size: int) -> None:
    framed = Framed()
    framed.add_bytes(blobs_pb2.UploadRequest.DATA_FIELD_NUMBER, memoryview(bytearray(size)))
    assert blobs_pb2.UploadRequest.FromString(framed.SerializeToString()).data == bytes(size)
