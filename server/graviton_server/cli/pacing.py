"""``upload-limit=`` and ``download-limit=`` of a process without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graviton_server.limits import LimitedBlockStore, Pace

if TYPE_CHECKING:
    from gravitonfs.ports.blocks import BlockStore


def limited(blocks: BlockStore, upload: Pace | None, download: Pace | None) -> BlockStore:
    if upload is None and download is None:
        return blocks
    return LimitedBlockStore(blocks, upload=upload, download=download)


def pace(limit: int | None) -> Pace | None:
    return Pace(limit) if limit else None
