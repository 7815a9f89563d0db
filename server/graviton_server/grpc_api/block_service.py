"""BlockService: the ``BlockStore`` port, in batches of one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from typing_extensions import Buffer

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.calls import Call
from graviton_server.grpc_api.put_requests import PutBlocks
from graviton_server.grpc_api.rates import Rates
from graviton_server.grpc_api.reach import Reach
from graviton_server.grpc_api.settings import GrpcSettings
from gravitonfs.core.codec import RAW
from gravitonfs.core.frames import Framed
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, Invalid, Stale
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRegistry, PackState
from gravitonfs.rpc.graviton.v1 import blocks_pb2 as pb

ID: Final = 32
IDS_MAX: Final = 16_384
PACKS_MAX: Final = 4_096
SPAN_MAX: Final = 4 << 20
_PER_BLOCK: Final = 64


def gone(registry: PackRegistry, packs: Sequence[int]) -> list[PackNumber]:
    """Those of the packs that nothing may rely on."""
    result = []
    for pack in packs:
        row = registry.get(PackNumber(pack))
        if row is None or row.state is not PackState.LIVE:
            result.append(PackNumber(pack))
    return result


class BlockService:
    def __init__(self, backend: Backend, settings: GrpcSettings, rates: Rates, reach: Reach) -> None:
        self._backend = backend
        self._reach = reach
        self._blocks = backend.blocks
        self._settings = settings
        self._rates = rates

    def _passed(self) -> None:
        """Background work gives way to whoever does this."""
        if self._backend.content is not None:
            self._backend.content.passed += 1

    def missing(self, request: pb.MissingRequest, call: Call) -> pb.MissingReply:
        volume = request.volume or "main"
        call.may_write(volume)
        ids = _ids(request.ids)
        packs = self._blocks.missing(ids)
        if foreign := self._reach.unknown(volume, ids):
            packs = [NO_PACK if block in foreign else pack for block, pack in zip(ids, packs, strict=True)]
        return pb.MissingReply(packs=packs)

    def put(self, request: PutBlocks, call: Call) -> pb.PutReply:
        volume = request.volume or "main"
        call.may_write(volume)
        self._passed()
        blocks = [Block(_id(b.id), b.codec, b.plain_length, b.payload) for b in request.blocks]
        self._rates.received(sum(memoryview(block.payload).nbytes for block in blocks))
        known = self._blocks.missing([block.id for block in blocks])
        foreign = self._reach.unknown(volume, [block.id for block in blocks])
        packs = self._blocks.put(blocks)
        self._reach.learn(volume, (block.id for block in blocks))
        fresh = {
            b.id: memoryview(b.payload).nbytes
            for b, pack in zip(blocks, known, strict=True)
            if pack == NO_PACK or b.id in foreign
        }
        return pb.PutReply(packs=packs, new_blocks=len(fresh), new_bytes=sum(fresh.values()))

    def get(self, request: pb.GetRequest, call: Call) -> Framed:
        volume = request.volume or "main"
        call.may_read(volume)
        self._passed()
        ids = _ids(request.ids)
        self._told(volume, ids)
        if len(request.packs) not in (0, len(ids)):
            raise Invalid("one hint for each block is expected, or none at all")
        hints = [PackNumber(pack) for pack in request.packs] or [NO_PACK] * len(ids)
        reply = _Reply(self._settings.reply_limit_of(request.room))
        wanted = list(zip(ids, hints, strict=True))
        found = self._blocks.stored(wanted) if request.stored else self._verified(wanted)
        try:
            for block in found:
                if not reply.add(block):
                    break
        except Damaged as error:
            reply.damaged = str(error)
        self._rates.sent(reply.bytes)
        return reply.message()

    def _verified(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        for (block, _), data in zip(wanted, self._blocks.get(wanted), strict=True):
            yield _raw(block, data)

    def near(self, request: pb.NearRequest, call: Call) -> Framed:
        volume = request.volume or "main"
        call.may_read(volume)
        self._passed()
        self._told(volume, [_id(request.id)])
        reply = _Reply(self._settings.reply_limit)
        span = min(request.span, SPAN_MAX)
        found = self._blocks.near(_id(request.id), PackNumber(request.pack), span)
        foreign = self._reach.unknown(volume, [block for block, _ in found])
        for block, data in found:
            if block in foreign:
                continue
            if not reply.add(_raw(block, data)):
                break
        self._rates.sent(reply.bytes)
        return reply.message()

    def sync(self, request: pb.SyncRequest, call: Call) -> pb.SyncReply:
        call.may_write(request.volume or "main")
        self._blocks.sync(_packs(request.packs))
        return pb.SyncReply()

    def forget(self, request: pb.ForgetRequest, call: Call) -> pb.ForgetReply:
        """A client cannot make the store forget what is still good."""
        call.may_write(request.volume or "main")
        self._blocks.forget_packs(gone(self._backend.packs, _packs(request.packs)))
        return pb.ForgetReply()

    def stored_bytes(self, request: pb.StoredBytesRequest, call: Call) -> pb.StoredBytesReply:
        volume = request.volume or "main"
        call.may_read(volume)
        ids = _ids(request.ids)
        self._told(volume, ids)
        return pb.StoredBytesReply(bytes=self._blocks.stored_bytes(ids))

    def _told(self, volume: str, ids: Sequence[BlockId]) -> None:
        if self._reach.unknown(volume, ids):
            raise Stale("this daemon has told nobody of these blocks lately: ask for the extents again")


class _Reply:
    """A ``GetReply`` of at most ``room`` bytes, and of one block at least."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._blocks: list[Block] = []
        self.bytes = 0
        self.damaged = ""

    def add(self, block: Block) -> bool:
        """False, and nothing added, where it does not fit any more."""
        size = memoryview(block.payload).nbytes + _PER_BLOCK
        if self._blocks and self.bytes + size > self._room:
            return False
        self.bytes += size
        self._blocks.append(block)
        return True

    def message(self) -> Framed:
        framed = Framed(pb.GetReply(damaged=self.damaged).SerializeToString())
        for block in self._blocks:
            framed.add_block(pb.GetReply.BLOCKS_FIELD_NUMBER, *block)
        return framed


def _raw(block: BlockId, data: Buffer) -> Block:
    return Block(block, RAW, memoryview(data).nbytes, data)


def _id(data: bytes) -> BlockId:
    if len(data) != ID:
        _wrong_id(len(data))
    return BlockId(data)


def _wrong_id(length: int) -> NoReturn:
    raise Invalid(f"a block id has {ID} bytes, not {length}")


def _ids(data: bytes) -> list[BlockId]:
    if len(data) % ID:
        _wrong_id(len(data) % ID)
    if len(data) > IDS_MAX * ID:
        raise Invalid(f"one call names at most {IDS_MAX} blocks")
    return [BlockId(data[at : at + ID]) for at in range(0, len(data), ID)]


def _packs(packs: Sequence[int]) -> list[PackNumber]:
    if len(packs) > PACKS_MAX:
        raise Invalid(f"one call names at most {PACKS_MAX} packs")
    return [PackNumber(pack) for pack in packs]
