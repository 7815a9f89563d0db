"""Answers that carry blocks, taken apart without a copy where they are large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gravitonfs.core.frames import FramedBlock, read_blocks
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb


class BlocksReply(NamedTuple):
    """A ``GetReply``. Payloads of large ones are parts of the message, which lives as long as any of them."""

    blocks: Sequence[FramedBlock | pb.Block]
    damaged: str

    @staticmethod
    def FromString(data: bytes) -> BlocksReply:  # named as the library's
        reply, blocks = read_blocks(data, pb.GetReply.BLOCKS_FIELD_NUMBER, pb.GetReply.FromString)
        return BlocksReply(reply.blocks if blocks is None else blocks, reply.damaged)
