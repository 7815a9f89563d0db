"""Bytes in: cut, hash, ask, compress what is new, put, and name the blocks in a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from gravitonfs.content.budget import Budget
from gravitonfs.content.cache import BlockCache
from gravitonfs.content.held import Held
from gravitonfs.content.kept import Kept
from gravitonfs.content.maps import SmallMaps
from gravitonfs.content.session import Session
from gravitonfs.core.chunking import Chunker
from gravitonfs.core.codec import encode
from gravitonfs.core.extents import Extent
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK, BlockId, ContentId, PackNumber
from gravitonfs.errors import MissingBlocks
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.ports.ops import LooseBlock, Op, Result

LOOSE_LIMIT = 1 << 20
"""A durable flush with fewer new bytes than this goes into the database (DESIGN: loose blocks)."""
KEPT = 128 << 10
"""Bytes of a flush that whoever reads them next need not fetch."""
_RETRIES = 8


class Piece(NamedTuple):
    """One block's worth of a file, cut and hashed. ``data`` is kept until a batch names it."""

    offset: int
    id: BlockId
    data: memoryview


class Stored(NamedTuple):
    """What a batch needs to name pieces: their extents, packs to rely on, and blocks that travel in it.

    ``new_bytes``: plain bytes of the blocks that the store did not have.
    """

    extents: tuple[Extent, ...]
    packs: tuple[PackNumber, ...]
    loose: tuple[LooseBlock, ...]
    new_bytes: int = 0


class Recent(NamedTuple):
    cache: BlockCache
    maps: SmallMaps


Waiting = Callable[[Sequence[PackNumber]], bool]
"""Whether a batch must not name these packs before they are synced (packs that go up whole)."""


class LooseRoom(Protocol):
    """Whether the database takes more loose blocks now; over its budget they go into packs."""

    def loose_bytes(self) -> int: ...
    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]: ...


class Pacer(Protocol):
    """A rate limit. ``spend`` waits until there is room for so many bytes."""

    def spend(self, count: int, /) -> None: ...


class Ingest:
    """The write pipeline of one volume, shared by all of its writers. Thread-safe."""

    def __init__(
        self,
        session: Session,
        store: BlockStore,
        fmt: VolumeFormat,
        *,
        budget: Budget,
        workers: ThreadPoolExecutor,
        loose: LooseRoom | None = None,
        loose_budget: int = 64 << 20,
        pace: Pacer | None = None,
        waiting: Waiting | None = None,
        held: Held | None = None,
        unasked: int = 0,
        recent: Recent | None = None,
    ) -> None:
        """``pace`` holds back loose blocks; a limited store holds back the others by itself. ``waiting``:
        where packs are not relied on before they are synced. Then every small flush is loose: others must
        see it at once, and it must not cost a request. ``held`` is told when packs were stored. ``unasked``:
        so many bytes are sent as loose blocks without asking whether the store has them, where asking costs
        as much as sending and whoever takes them looks by itself. ``recent``: where little that was just
        written is kept for who reads it next."""
        self.session = session
        self.store = store
        self.format = fmt
        self.budget = budget
        self.workers = workers
        self._inline = session.namespace.inline
        self._loose = loose
        self._loose_budget = loose_budget
        self._pace = pace
        self._unasked = unasked
        self._waiting = waiting
        self._recent = recent
        self.held = held or Held(workers)

    def wait_for_packs(self, waiting: Waiting | None) -> None:
        """Packs go up whole from now on. What was stored before is durable, and waits for nothing."""
        self._waiting = waiting

    @property
    def waits(self) -> bool:
        """Bytes that are stored may wait for their packs to fill up before they are named."""
        return self._waiting is not None

    @property
    def inline(self) -> bool:
        """The namespace is on this machine's disk: a batch takes microseconds."""
        return self._inline

    @property
    def paced(self) -> bool:
        """Storing even little may wait: not for an event loop."""
        return self._pace is not None or self._waiting is not None

    def chunker(self) -> Chunker:
        return Chunker(self.format)

    def hash_pieces(self, offset: int, data: memoryview, lengths: Sequence[int]) -> list[Piece]:
        key = self.format.block_key
        pieces = []
        start = 0
        for length in lengths:
            part = data[start : start + length]
            pieces.append(Piece(offset + start, block_id(part, key), part))
            start += length
        return pieces

    def store_pieces(self, pieces: Sequence[Piece], *, durable: bool = False, loose: bool = True) -> Stored:
        """Put what the store lacks. Little new data becomes loose blocks instead, which cost one commit: with
        ``durable``, where packs would have to wait for a sync, and always where the namespace is elsewhere;
        not with ``loose`` false."""
        ids = [piece.id for piece in pieces]
        if sum(piece.data.nbytes for piece in pieces) <= self._unasked:
            packs = [NO_PACK] * len(ids)
        else:
            packs = self.store.missing(ids)
        fresh: dict[BlockId, Block] = {}
        level = self.format.compression_level
        for piece, pack in zip(pieces, packs, strict=True):
            if pack == NO_PACK and piece.id not in fresh:
                fresh[piece.id] = Block(piece.id, *_encoded(piece.data, level))
        inside: tuple[LooseBlock, ...] = ()
        placed: dict[BlockId, PackNumber] = {}
        if fresh:
            blocks = list(fresh.values())
            small = durable or self._waiting is not None or not self._inline
            if loose and small and self._fits_loose(blocks):
                if self._pace is not None:
                    self._pace.spend(_payload(blocks))
                inside = tuple(LooseBlock(b.id, b.codec, b.plain_length, bytes(b.payload)) for b in blocks)
            else:
                placed = dict(zip(fresh, self.store.put(blocks), strict=True))
        extents = tuple(
            Extent(piece.offset, piece.data.nbytes, piece.id, 0, pack or placed.get(piece.id, NO_PACK))
            for piece, pack in zip(pieces, packs, strict=True)
        )
        new_bytes = sum(block.plain_length for block in fresh.values())
        return Stored(extents, tuple({e.hint for e in extents if e.hint}), inside, new_bytes)

    def commit_pieces(
        self, pieces: Sequence[Piece], ops: OpsOfExtents, *, durable: bool = False
    ) -> tuple[Result, ...]:
        """Store the pieces and apply the ops that name them; done again where packs went away meanwhile."""
        return self.commit_counted(pieces, ops, durable=durable)[0]

    def commit_counted(
        self, pieces: Sequence[Piece], ops: OpsOfExtents, *, durable: bool = False
    ) -> tuple[tuple[Result, ...], int]:
        """As ``commit_pieces``, with how many bytes were new to the store."""
        left = _RETRIES
        while True:
            stored = self.store_pieces(pieces, durable=durable)
            try:
                results = self.apply(stored, ops(stored.extents), pieces, durable=durable)
                break
            except MissingBlocks as refusal:
                if not left:
                    raise
                left -= 1
                self.store.forget_packs([PackNumber(p) for p in refusal.packs])
        self._keep(pieces)
        return results, stored.new_bytes

    def _keep(self, pieces: Sequence[Piece]) -> None:
        if self._recent is not None and sum(piece.data.nbytes for piece in pieces) <= KEPT:
            for piece in pieces:
                self._recent.cache.put(piece.id, piece.data)

    def sealed(self, content: ContentId, extents: tuple[Extent, ...]) -> None:
        """A small file's whole map, which does not change any more."""
        if self._recent is not None:
            maps = self._recent.maps
            maps.add({content: extents}, maps.epoch)

    def loose_among(self, ids: Sequence[BlockId]) -> int:
        """Plain bytes of those that wait loose in the database, which ``missing`` does not find."""
        if self._loose is None:
            return 0
        return sum(block.plain_length for block in self._loose.loose_get(ids).values())

    def apply(
        self, stored: Stored, ops: tuple[Op, ...], pieces: Sequence[Piece] | None = None, *, durable: bool
    ) -> tuple[Result, ...]:
        """Invariant 1: a durable batch waits for its packs first, outside the namespace's lock; and so does
        any batch where packs that are not stored yet cannot be relied on.

        Only the embedded namespace syncs them with its own commit; for any other they are durable before
        the batch is applied, so that a batch can be sent again after a crash without its bytes."""
        if stored.packs and (durable or not self._inline or self.must_wait(stored.packs)):
            self.store.sync(stored.packs)
        kept = None
        if pieces is not None and stored.packs and not self._inline:
            kept = self._kept(stored, pieces)
        return self.session.submit(ops, packs=stored.packs, loose=stored.loose, kept=kept, durable=durable)

    def _kept(self, stored: Stored, pieces: Sequence[Piece]) -> Kept:
        """What does not travel in the batch."""
        inside = {block.id for block in stored.loose}
        blocks = ((piece.id, piece.data) for piece in pieces if piece.id not in inside)
        return Kept(blocks, self.format.compression_level)

    def must_wait(self, packs: Sequence[PackNumber]) -> bool:
        return self._waiting is not None and self._waiting(packs)

    def _fits_loose(self, blocks: Sequence[Block]) -> bool:
        if self._loose is None:
            return False
        size = _payload(blocks)
        return size < LOOSE_LIMIT and self._loose.loose_bytes() + size <= self._loose_budget


class OpsOfExtents(Protocol):
    def __call__(self, extents: tuple[Extent, ...], /) -> tuple[Op, ...]: ...


def _payload(blocks: Sequence[Block]) -> int:
    return sum(memoryview(block.payload).nbytes for block in blocks)


def _encoded(data: memoryview, level: int) -> tuple[int, int, memoryview]:
    codec, payload = encode(data, level)
    return codec, data.nbytes, memoryview(payload)
