"""Requests that carry blocks, taken apart without a copy where they are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gravitonfs.core.frames import FramedBlock, taken_apart
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb


class PutBlocks(NamedTuple):
    """A ``PutRequest``. Payloads of large ones are parts of the message."""

    volume: str
    blocks: Sequence[FramedBlock | pb.Block]

    @staticmethod
    def FromString(data: bytes) -> PutBlocks:  # named as the library's
        apart = taken_apart(data, pb.PutRequest.BLOCKS_FIELD_NUMBER)
        if apart is None:
            whole = pb.PutRequest.FromString(data)
            return PutBlocks(whole.volume, whole.blocks)
        blocks, rest = apart
        return PutBlocks(pb.PutRequest.FromString(rest).volume, blocks)
