"""What a batch from outside may not do: claim digests, rewrite contents, name blocks that are not there."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.reach import Reach, Stamps
from gravitonfs.core.codec import decode
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import HOLE, NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, Invalid, MissingBlocks, NotPermitted
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import Append, Batch, LooseBlock, Op, Rewrite, Seal, SetRecord, Write, hinted
from gravitonfs.ports.wire import STAMP

LOOSE_MAX: Final = 2 << 20
"""Stored bytes of loose blocks in one batch: twice of what clients make loose."""
LOOSE_BUDGET: Final = 64 << 20
"""Of all loose blocks; beyond it what comes is put into packs at once."""
RECORD_MAX: Final = 64 << 10
OWN_RECORDS: Final = frozenset(
    ("tokens", "web-sessions", "maintenance", "uploads", "snapshots", "usage", "jobs")
)
"""Spaces of records that are this side's: who could write tokens could let himself in as anybody."""


class Sender(NamedTuple):
    """Whose batches they are. ``stamps``: by number, what came with those that are sent again."""

    session: int
    volume: str
    stamps: Mapping[int, bytes]


Vet = Callable[[Sequence[Batch], Sender], list[Batch]]


def check_space(space: str) -> None:
    """Raises NotPermitted."""
    if space in OWN_RECORDS:
        raise NotPermitted(f"records of {space!r} are the daemon's own")


class Vetting:
    """Digests are believed only when this side has made them. That of a file of one block, which is that
    block's id, it has when the block is in the batch; any other ``seal`` is dropped, and the content is
    digested in the background."""

    def __init__(self, backend: Backend, reach: Reach, stamps: Stamps) -> None:
        self._backend = backend
        self._reach = reach
        self._stamps = stamps

    def __call__(self, batches: Sequence[Batch], sender: Sender) -> list[Batch]:
        return [self._batch(batch, sender) for batch in batches]

    def _batch(self, batch: Batch, sender: Sender) -> Batch:
        sent = batch
        fresh = self._loose(batch.loose)
        seen = {block.id: block.plain_length for block in batch.loose}
        if fresh:
            batch = self._deduplicated(batch)
        named: dict[BlockId, int] = {}
        changed: list[Op] | None = None
        for index, op in enumerate(batch.ops):
            if isinstance(op, Write):
                _name(named, op.extents)
                if op.seal is not None and not self._is_whole(op, seen):
                    changed = changed or list(batch.ops)
                    changed[index] = structs.replace(op, seal=None)
            elif isinstance(op, Append):
                _name(named, op.extents)
            elif isinstance(op, (Rewrite, Seal)):
                raise NotPermitted(f"{type(op).__name__} is for the store's own background work")
            elif isinstance(op, SetRecord):
                check_space(op.space)
                if op.value is not None and len(op.value) > RECORD_MAX:
                    raise Invalid(f"a record has at most {RECORD_MAX} bytes")
        self._reach.learn(sender.volume, fresh)
        where = self._stored([block for block in named if block not in fresh], named, sender, sent)
        if not where <= set(batch.packs):
            # Reliance holds for where the blocks are, whatever the client believes.
            batch = structs.replace(batch, packs=tuple(where | set(batch.packs)))
        if changed is not None:
            batch = structs.replace(batch, ops=tuple(changed))
        if batch.loose and self._backend.loose.loose_bytes() > LOOSE_BUDGET:
            batch = self._packed(batch)
        return batch

    def _is_whole(self, op: Write, seen: Mapping[BlockId, int]) -> bool:
        """What is sealed is one of these blocks, all of it, whose id is the digest where ids have no key."""
        if len(op.extents) != 1 or self._backend.format.block_key:
            return False
        [(offset, length, block, block_offset, _)] = op.extents
        return (
            (offset, block_offset, length) == (0, 0, op.end)
            and block == op.seal
            and seen.get(block) == length
        )

    def _deduplicated(self, batch: Batch) -> Batch:
        """Clients send little without asking: what is stored already is named where it lies."""
        packs = self._backend.blocks.missing([block.id for block in batch.loose])
        known = {b.id: pack for b, pack in zip(batch.loose, packs, strict=True) if pack != NO_PACK}
        if not known:
            return batch
        return structs.replace(
            batch,
            ops=tuple(hinted(op, known) for op in batch.ops),
            packs=tuple({*batch.packs, *known.values()}),
            loose=tuple(block for block in batch.loose if block.id not in known),
        )

    def _packed(self, batch: Batch) -> Batch:
        """Its hints stay 0, which costs readers a look-up."""
        blocks = [Block(b.id, b.codec, b.plain_length, b.payload) for b in batch.loose]
        packs = {*batch.packs, *self._backend.content.store.put(blocks)}
        return structs.replace(batch, packs=tuple(packs), loose=())

    def _loose(self, blocks: Sequence[LooseBlock]) -> set[BlockId]:
        fmt = self._backend.format
        if sum(len(block.payload) for block in blocks) > LOOSE_MAX:
            raise Invalid(f"a batch carries at most {LOOSE_MAX} bytes of blocks: put the others first")
        for block in blocks:
            if not 1 <= block.plain_length <= fmt.block_max:
                raise Invalid(f"a block has {block.plain_length} bytes; 1 to {fmt.block_max} are allowed")
            try:
                plain = decode(block.codec, block.payload, block.plain_length)
            except Damaged as error:
                raise Invalid(f"block {block.id.hex()} cannot be decoded: {error}") from error
            if block_id(plain, fmt.block_key) != block.id:
                raise Invalid(f"the bytes sent for block {block.id.hex()} have another id")
        return {block.id for block in blocks}

    def _stored(
        self, blocks: list[BlockId], hints: dict[BlockId, int], sender: Sender, batch: Batch
    ) -> set[PackNumber]:
        """Each is in a pack: a client stores what it names, and asks for what it does not store. What is not
        its volume's to name is told as if it were not there, and then sent."""
        if not blocks:
            return set()
        foreign = self._reach.unknown(sender.volume, blocks)
        if foreign and self._was_seen(batch, hints, sender):
            self._reach.learn(sender.volume, foreign)
            foreign = set()
        packs = self._backend.blocks.missing(blocks)
        lost = {
            hints[block]
            for block, pack in zip(blocks, packs, strict=True)
            if pack == NO_PACK or block in foreign
        }
        if lost:
            raise MissingBlocks(tuple(sorted(lost)))
        return set(packs)

    def _was_seen(self, batch: Batch, named: Mapping[BlockId, int], sender: Sender) -> bool:
        stamp = sender.stamps.get(batch.number, b"")
        return len(stamp) == STAMP and hmac.compare_digest(
            stamp, self._stamps.of(sender.session, batch, named)
        )


def named_in(batch: Batch) -> dict[BlockId, int]:
    """The blocks that a batch names, with their hints."""
    named: dict[BlockId, int] = {}
    for op in batch.ops:
        if isinstance(op, (Write, Append)):
            _name(named, op.extents)
    return named


def _name(named: dict[BlockId, int], extents: Sequence[Extent]) -> None:
    for extent in extents:
        if extent.block != HOLE:
            named[extent.block] = extent.hint
