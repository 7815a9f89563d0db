"""The store of blocks, by content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId, PackNumber


class Block(NamedTuple):
    """A block as it is stored: encoded once, by whoever cut it.

    ``payload`` is only read during the call it is passed to.
    """

    id: BlockId
    codec: int
    plain_length: int
    payload: Buffer


class StoreCounters(NamedTuple):
    """Since the process started; bytes as stored."""

    blocks_put: int
    bytes_put: int
    blocks_found: int
    blocks_read: int
    bytes_read: int
    syncs: int


class BlockStore(Protocol):
    """Blocks by id. Thread-safe.

    A pack number that this returns is worth relying on only through a batch that lists it: a batch
    refused with ``MissingBlocks`` means that the packs went away meanwhile (``forget_packs``, then
    ``put`` again).
    """

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        """For each id the pack that has it, or ``NO_PACK``. One batched look-up; no I/O to a target.

        "Missing" may be wrong (it costs duplicate storage), "found" is right when the pack is live.
        """

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        """Append the blocks and return their packs, in order.

        Idempotent (a block that is there already is stored again only if the index does not know
        it). Readable in this process at once; durable only after ``sync``. The caller has hashed the
        plain bytes itself: blocks from outside go through a verifying wrapper first. Blocks while
        the store's buffers are full. Errors: ``NoSpace``, ``Unavailable``; nothing of the call may
        then be relied on.
        """

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        """The plain bytes of each, in order, verified against their ids.

        They may be views of a larger, reused buffer, which is free again once all of them are gone:
        nothing writes to them meanwhile, and who keeps one for long copies it.
        Neighbouring records of a pack are fetched in one ranged read. A wrong hint costs a look-up.
        Raises ``Damaged`` at the first block that is unreadable, wrong or not to be found, naming
        it; those after it can be asked for again.
        """

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        """As ``get``, but as they are stored, neither decoded nor verified: who asks does both, and asks for
        one that is wrong once more with ``get``, which looks in other places, too. Never another one's bytes.
        """

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        """As ``get`` for one block, but ``None`` where answering would wait for a disk or a network."""

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        """The block, first, and those stored behind it in its pack within ``span`` bytes; verified.

        For small files, which lie together: one ranged read brings many. Neighbours that do not
        verify are left out. Raises ``Damaged`` when the block itself is.
        """

    def sync(self, packs: Sequence[PackNumber]) -> None:
        """Return when all that was put into these packs is durable at the write quorum.

        After an error the packs' unsynced blocks are lost to the caller: put them again (they go
        elsewhere), and sync again.
        """

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        """Drop these packs from the index, so that ``missing`` no longer finds blocks there."""

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        """What these blocks take as stored; one that is not found counts nothing. Duplicates count."""

    def counters(self) -> StoreCounters: ...
