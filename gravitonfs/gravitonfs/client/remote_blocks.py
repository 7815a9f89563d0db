"""The ``BlockStore`` port over BlockService: bounded batches, several of them under way at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message
from typing_extensions import Buffer

from gravitonfs.client.block_replies import BlocksReply
from gravitonfs.client.connection import Answer, Connection, Pending, Sendable
from gravitonfs.client.failures import until_answered
from gravitonfs.core.codec import RAW, decode
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.frames import Framed, FramedBlock
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, Stale, Throttled, Unavailable
from gravitonfs.ports.blocks import Block, StoreCounters
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb

M = TypeVar("M")

_SERVICE: Final = "/graviton.v1.BlockService/"
_CALL: Final = 30.0
"""Seconds for one try."""
PUT_BYTES: Final = 10 << 20
"""A whole segment of a stream in one call, so that its blocks are neighbours: a reader's run of 8 MiB is then
read with one or two requests (309 for a GiB with 4 MiB)."""
_HEADROOM: Final = 128 << 10
"""Of a message, for what is not payload."""
GET_BYTES: Final = 12 << 20
"""A run of a sequential reader comes in one answer: the daemon then reads it with one request."""
_PUT_BLOCKS: Final = 4096
_IDS: Final = 8192
_GET_BLOCKS: Final = 1024
"""Small ones; of large ones fewer fit into an answer, and the rest is asked for again."""
_UNDER_WAY: Final = 4
_BULK: Final = 128 << 10
"""So many new bytes go to the pack that the daemon fills with large puts."""


class RemoteBlockStore:
    """Waits up to ``timeout`` for a daemon that does not answer, then ``Unavailable``.

    ``_lock`` guards the counters.
    """

    def __init__(
        self,
        connection: Connection,
        fmt: VolumeFormat,
        volume: str = "main",
        *,
        timeout: float = 60.0,
        max_message: int = PUT_BYTES,
        introduce: Callable[[Collection[BlockId]], bool] = lambda blocks: False,
    ) -> None:
        """``max_message``: bytes that the daemon takes. ``introduce``: have the daemon hear of blocks that it
        has not told us of (``RemoteNamespace``)."""
        self._introduce = introduce
        self._put_bytes_max = max(1 << 20, min(PUT_BYTES, max_message - _HEADROOM))
        self._refused: set[PackNumber] = set()
        self._filling = NO_PACK
        self._stored: Callable[[], None] = lambda: None
        self._connection = connection
        self._volume = volume
        self._key = fmt.block_key
        self._timeout = timeout
        self._lock = threading.Lock()
        self._put = self._put_bytes = self._found = self._read = self._read_bytes = self._syncs = 0

    # --- in ---

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        result: list[PackNumber] = []
        for at in range(0, len(ids), _IDS):
            request = pb.MissingRequest(volume=self._volume, ids=b"".join(ids[at : at + _IDS]))
            reply = self._call("Missing", request, pb.MissingReply, bulk=False)
            result += [PackNumber(pack) for pack in reply.packs]
        with self._lock:
            self._found += len(result) - result.count(NO_PACK)
        return result

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        """A writer has asked what is missing before it compressed; the daemon asks its index once more."""
        known: dict[BlockId, PackNumber] = {}
        fresh = list({block.id: block for block in blocks}.values())
        under_way: deque[tuple[list[Block], Framed, Pending[pb.PutReply]]] = deque()
        try:
            for batch in _batches(fresh, self._put_bytes_max):
                if len(under_way) >= _UNDER_WAY:
                    self._placed(known, *under_way.popleft())
                request = self._put_request(batch)
                pending = self._connection.begin(_SERVICE + "Put", request, pb.PutReply, timeout=_CALL)
                under_way.append((batch, request, pending))
            while under_way:
                self._placed(known, *under_way.popleft())
        finally:
            for _, _, pending in under_way:
                pending.cancel()
        return [known[block.id] for block in blocks]

    def _put_request(self, batch: list[Block]) -> Framed:
        request = Framed(pb.PutRequest(volume=self._volume).SerializeToString())
        for block in batch:
            request.add_block(pb.PutRequest.BLOCKS_FIELD_NUMBER, *block)
        return request

    def _placed(
        self,
        known: dict[BlockId, PackNumber],
        batch: list[Block],
        request: Framed,
        pending: Pending[pb.PutReply],
    ) -> None:
        try:
            reply = pending.result()
        except (Unavailable, Throttled):
            reply = self._call("Put", request, pb.PutReply)
        for block, pack in zip(batch, reply.packs, strict=True):
            known[block.id] = PackNumber(pack)
        with self._lock:
            self._put += reply.new_blocks
            self._put_bytes += reply.new_bytes
            if reply.new_bytes >= _BULK:
                self._filling = max(self._filling, *known.values())

    def waiting(self, packs: Sequence[PackNumber]) -> bool:
        """Whether one of them is still being filled, as far as is known here: the newest that took a large
        put. To ``sync`` that would store it before it is full; the daemon stores the others by itself."""
        return self._filling in packs

    def when_stored(self, tell: Callable[[], None]) -> None:
        """``tell``: called from now on after each ``sync``."""
        self._stored = tell

    def sync(self, packs: Sequence[PackNumber]) -> None:
        if packs:
            request = pb.SyncRequest(volume=self._volume, packs=sorted(set(packs)))
            self._call("Sync", request, pb.SyncReply)
        with self._lock:
            self._syncs += 1
            if self._filling in packs:
                self._filling = NO_PACK
        self._stored()

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        """Refused twice in a row: the daemon that refuses is not the one that gets the blocks."""
        if packs:
            refused = self._refused.intersection(packs)
            self._refused = set(packs)
            if refused:
                self._connection.join()
            self._call(
                "Forget", pb.ForgetRequest(volume=self._volume, packs=sorted(set(packs))), pb.ForgetReply
            )

    # --- out ---

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        """The next group is asked for while one is used."""
        groups = [wanted[at : at + _GET_BLOCKS] for at in range(0, len(wanted), _GET_BLOCKS)]
        ahead: Pending[BlocksReply] | None = None
        try:
            for number, group in enumerate(groups):
                current, ahead = ahead or self._begin_get(group), None
                if number + 1 < len(groups):
                    ahead = self._begin_get(groups[number + 1])
                yield from self._group(group, current)
        finally:
            if ahead is not None:
                ahead.cancel()

    def _get_request(
        self, group: Sequence[tuple[BlockId, PackNumber]], *, stored: bool = True
    ) -> pb.GetRequest:
        """``stored``: the daemon need not verify what is verified here."""
        return pb.GetRequest(
            volume=self._volume,
            ids=b"".join(block for block, _ in group),
            packs=[pack for _, pack in group],
            room=GET_BYTES,
            stored=stored,
        )

    def _begin_get(self, group: Sequence[tuple[BlockId, PackNumber]]) -> Pending[BlocksReply]:
        return self._connection.begin(_SERVICE + "Get", self._get_request(group), BlocksReply, timeout=_CALL)

    def _group(
        self, group: Sequence[tuple[BlockId, PackNumber]], pending: Pending[BlocksReply]
    ) -> Iterator[Buffer]:
        first: Pending[BlocksReply] | None = pending
        while group:
            reply, first = self._got(group, first), None
            for block, (wanted, pack) in zip(reply.blocks, group, strict=False):
                yield self._verified(wanted, pack, block)
            group = group[len(reply.blocks) :]
            if reply.damaged and group:
                raise Damaged(reply.damaged)
            if not reply.blocks:
                raise Damaged(f"the daemon answers nothing for block {group[0][0].hex()}")

    def _got(
        self, group: Sequence[tuple[BlockId, PackNumber]], pending: Pending[BlocksReply] | None
    ) -> BlocksReply:
        try:
            if pending is not None:
                return pending.result()
        except (Unavailable, Throttled):
            pass
        except Stale:
            if not self._introduce([block for block, _ in group]):
                raise
        return self._known("Get", self._get_request(group), BlocksReply, [block for block, _ in group])

    def _known(self, method: str, request: Message, reply: Answer[M], blocks: Sequence[BlockId]) -> M:
        """Once more where the daemon did not know that the blocks are ours."""
        for again in (False, True):
            try:
                return self._call(method, request, reply)
            except Stale:
                if again:
                    self._connection.join()
                if not self._introduce(blocks):
                    raise
        return self._call(method, request, reply)

    def _verified(self, wanted: BlockId, pack: PackNumber, block: FramedBlock | pb.Block) -> Buffer:
        """Bytes that changed, on their way or where they are stored, are asked for once more, verified."""
        plain = self._plain(wanted, block)
        if plain is None:
            again = self._call("Get", self._get_request([(wanted, pack)], stored=False), BlocksReply)
            if again.damaged:
                raise Damaged(again.damaged)
            plain = self._plain(wanted, again.blocks[0]) if again.blocks else None
        if plain is None:
            raise Damaged(f"block {wanted.hex()} came with other bytes than its id says")
        with self._lock:
            self._read += 1
            self._read_bytes += memoryview(block.payload).nbytes
        return plain

    def _plain(self, wanted: BlockId, block: FramedBlock | pb.Block) -> Buffer | None:
        try:
            plain = decode(block.codec, block.payload, block.plain_length)
        except Damaged:
            return None
        return plain if block_id(plain, self._key) == wanted else None

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        """Verified, as it has travelled anyway."""
        for (block, _), plain in zip(wanted, self.get(wanted), strict=True):
            yield Block(block, RAW, memoryview(plain).nbytes, plain)

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        return None

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        request = pb.NearRequest(volume=self._volume, id=block, pack=hint, span=span)
        reply = self._known("Near", request, BlocksReply, [block])
        if not reply.blocks or reply.blocks[0].id != block:
            raise Damaged(f"block {block.hex()} is not what the daemon answers with")
        found = [(block, self._verified(block, hint, reply.blocks[0]))]
        for neighbour in reply.blocks[1:]:
            plain = self._plain(BlockId(neighbour.id), neighbour)
            if plain is not None:
                found.append((BlockId(neighbour.id), plain))
        return found

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        total = 0
        for at in range(0, len(ids), _IDS):
            part = ids[at : at + _IDS]
            request = pb.StoredBytesRequest(volume=self._volume, ids=b"".join(part))
            total += self._known("StoredBytes", request, pb.StoredBytesReply, part).bytes
        return total

    def counters(self) -> StoreCounters:
        with self._lock:
            return StoreCounters(
                self._put, self._put_bytes, self._found, self._read, self._read_bytes, self._syncs
            )

    def _call(self, method: str, request: Sendable, reply: Answer[M], *, bulk: bool = True) -> M:
        return until_answered(
            lambda left: self._connection.call(
                _SERVICE + method, request, reply, timeout=min(left, _CALL), bulk=bulk
            ),
            self._timeout,
        )


def _batches(blocks: list[Block], limit: int) -> Iterator[list[Block]]:
    batch: list[Block] = []
    size = 0
    for block in blocks:
        length = memoryview(block.payload).nbytes
        if batch and (size + length > limit or len(batch) >= _PUT_BLOCKS):
            yield batch
            batch, size = [], 0
        batch.append(block)
        size += length
    if batch:
        yield batch
