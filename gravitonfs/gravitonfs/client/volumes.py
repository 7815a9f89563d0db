"""A volume of a daemon as front ends use it: the content pipeline over the remote ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gravitonfs.client.connection import Connection
from gravitonfs.client.remote_blocks import RemoteBlockStore
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.content.ingest import Pacer
from gravitonfs.content.volume import Content, Volume
from gravitonfs.core.ids import BlockId
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.ports.namespace import Claims, Listener, Recall
from gravitonfs.ports.target import Space

MIB = 1 << 20
UNASKED = 64 << 10
"""A call takes about as long as these bytes: the daemon finds out by itself whether it has them."""


class _Elsewhere:
    """How many loose blocks there are is the daemon's business: over its budget it puts them into packs."""

    def loose_bytes(self) -> int:
        return 0

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        return {}


class RemoteVolume(Volume):
    """A ``Volume`` with a pipeline of its own; closing it closes that too, and the session."""

    def __init__(self, namespace: RemoteNamespace, content: Content) -> None:
        super().__init__(namespace, content)
        self._remote = namespace

    def space(self) -> Space:
        """Of the daemon's targets."""
        return self._remote.space()

    def close(self) -> None:
        super().close()
        self.shared.close()


def open_volume(
    connection: Connection,
    volume: str = "main",
    *,
    label: str | None = None,
    claims: Claims | None = None,
    listener: Listener | None = None,
    read_only: bool = False,
    recall: Recall | None = None,
    timeout: float = 60.0,
    memory: int = 256 * MIB,
    cache: int | None = None,
    wrap: Callable[[BlockStore, RemoteNamespace], BlockStore] = lambda blocks, names: blocks,
    pace: Pacer | None = None,
) -> RemoteVolume:
    """Attach. ``memory``: 9/16 of it for blocks that were read (or ``cache`` bytes), a quarter for bytes on
    their way. ``wrap``: what stands around the block store; ``pace`` holds back what travels in batches."""
    namespace = RemoteNamespace(
        connection,
        volume,
        label=label,
        claims=claims,
        listener=listener,
        read_only=read_only,
        recall=recall,
        timeout=timeout,
    )
    blocks = wrap(RemoteBlockStore(connection, namespace.format, volume, timeout=timeout), namespace)
    cache_limit = memory * 9 // 16 if cache is None else cache
    content = Content(
        blocks,
        loose=_Elsewhere(),
        pace=pace,
        unasked=UNASKED,
        dirty_limit=memory // 4,
        cache_limit=cache_limit,
    )
    return RemoteVolume(namespace, content)
