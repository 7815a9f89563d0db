"""Answers that carry blocks, taken apart without a copy where they are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gravitonfs.core.frames import FramedBlock, taken_apart
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb


class BlocksReply(NamedTuple):
    """A ``GetReply``. Payloads of large ones are parts of the message, which lives as long as any of them."""

    blocks: Sequence[FramedBlock | pb.Block]
    damaged: str

    @staticmethod
    def FromString(data: bytes) -> BlocksReply:  # named as the library's
        apart = taken_apart(data, pb.GetReply.BLOCKS_FIELD_NUMBER)
        if apart is None:
            whole = pb.GetReply.FromString(data)
            return BlocksReply(whole.blocks, whole.damaged)
        blocks, rest = apart
        return BlocksReply(blocks, pb.GetReply.FromString(rest).damaged)
