"""A volume of a daemon as front ends use it: the content pipeline over the remote ports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from gravitonfs.client.connection import Connection
from gravitonfs.client.lost_batches import LostBatch
from gravitonfs.client.remote_blocks import RemoteBlockStore
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.client.resuming import Resumed
from gravitonfs.content.attaching import attach_caching
from gravitonfs.content.ingest import Pacer
from gravitonfs.content.lost import LostAndFound, keep_unapplied
from gravitonfs.content.volume import Content, Volume
from gravitonfs.core.ids import BlockId
from gravitonfs.journal.journal import Journal
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.target import Space

MIB = 1 << 20
UNASKED = 64 << 10
"""A call takes about as long as these bytes: the daemon finds out by itself whether it has them."""


_KEEP_WITHIN: Final = 60.0
"""Seconds that closing waits for lost batches to be kept."""


class _Elsewhere:
    """How many loose blocks there are is the daemon's business: over its budget it puts them into packs."""

    def loose_bytes(self) -> int:
        return 0

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        return {}


class RemoteVolume(Volume):
    """A ``Volume`` with a pipeline of its own; closing it closes that too, and the session."""

    def __init__(
        self, remote: RemoteNamespace, names: Namespace, content: Content, journal: Journal | None = None
    ) -> None:
        """``names``: ``remote``, or what answers for it from memory."""
        super().__init__(names, content)
        self._remote = remote
        self.journal = journal
        self._lost: SimpleQueue[LostBatch | None] = SimpleQueue()
        self._keeper = threading.Thread(target=self._keep_lost, name="lost", daemon=True)
        self._keeper.start()
        remote.lost.inherit(self._lost.put)

    def _keep_lost(self) -> None:
        """Batches that could not be done again, on a thread that holds no lock."""
        found = LostAndFound(self)
        while (lost := self._lost.get()) is not None:
            found.keep_batch(lost.session, lost.batch, lost.why)

    def space(self) -> Space:
        """Of the daemon's targets."""
        return self._remote.space()

    @property
    def store_uuid(self) -> bytes:
        """Which store it is of, whatever the daemon's address."""
        return self._remote.attachment.store

    @property
    def last_batch(self) -> int:
        """The last that was answered, as the daemon counts."""
        return self._remote.attachment.last

    def lost_batches(self) -> list[LostBatch]:
        return self._remote.lost.all()

    def close(self) -> None:
        """A session whose journal holds what the daemon does not have stays, for the next mount."""
        self._lost.put(None)
        self._keeper.join(_KEEP_WITHIN)
        journal = self.journal
        if journal is not None and not journal.idle:
            self._remote.leave()
        else:
            super().close()
        if journal is not None:
            journal.close()
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
    journal: Journal | None = None,
    resume: Resumed | None = None,
) -> RemoteVolume:
    """Attach. ``memory``: 9/16 of it for blocks that were read (or ``cache`` bytes), a quarter for bytes on
    their way; a sixteenth for names, of a session that can be recalled. ``wrap``: what stands around the
    block store; ``pace`` holds back what travels in batches. ``journal``: gets all that is changed;
    ``resume``: see ``RemoteNamespace``."""
    opened: list[RemoteNamespace] = []

    def attach(*, listener: Listener | None, recall: Recall | None) -> RemoteNamespace:
        opened.append(
            RemoteNamespace(
                connection,
                volume,
                label=label,
                claims=claims,
                listener=listener,
                read_only=read_only,
                recall=recall,
                timeout=timeout,
                journal=journal,
                resume=resume,
            )
        )
        return opened[0]

    budget = memory // 16 if recall is not None else 0
    # What a journal has answered for is sent as it is recorded.
    answering = claims if journal is None else None
    names = attach_caching(attach, budget, listener, recall, answering=answering)
    namespace = opened[0]
    remote = RemoteBlockStore(
        connection,
        namespace.format,
        volume,
        timeout=timeout,
        max_message=namespace.attachment.max_message,
        introduce=namespace.introduce,
    )
    blocks = wrap(remote, namespace)
    cache_limit = memory * 9 // 16 if cache is None else cache
    content = Content(
        blocks,
        loose=_Elsewhere(),
        pace=pace,
        unasked=UNASKED,
        waiting=remote.waiting,
        dirty_limit=memory // 4,
        cache_limit=cache_limit,
    )
    remote.when_stored(content.held.stored)
    made = RemoteVolume(namespace, names, content, journal)
    keep_unapplied(made)
    return made
