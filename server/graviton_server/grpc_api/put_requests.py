"""Requests that carry blocks, taken apart without a copy where they are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gravitonfs.core.frames import FramedBlock, read_blocks
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb


class PutBlocks(NamedTuple):
    """A ``PutRequest``. Payloads of large ones are parts of the message."""

    volume: str
    blocks: Sequence[FramedBlock | pb.Block]

    @staticmethod
    def FromString(data: bytes) -> PutBlocks:  # named as the library's
        request, blocks = read_blocks(data, pb.PutRequest.BLOCKS_FIELD_NUMBER, pb.PutRequest.FromString)
        return PutBlocks(request.volume, request.blocks if blocks is None else blocks)
