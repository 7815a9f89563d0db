"""ShardService: this daemon's store keeps packs of another one, its router's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

from blake3 import blake3

from graviton_server.grpc_api.calls import Call
from graviton_server.replication.shard import PACK_MAX, Claimant, Shard
from graviton_server.replication.target import uuid_of
from gravitonfs.errors import Invalid, Unsupported
from gravitonfs.rpc.graviton.v1 import shards_pb2 as pb

READ_MAX: Final = 8 << 20
_PAGE: Final = 1000


class ShardService:
    def __init__(self, shard: Shard | None) -> None:
        self._shard = shard

    def _of(self, request: Any, call: Call) -> Shard:
        """The shard, for its router alone."""
        call.may_administer()
        shard = self._any()
        shard.check(_claimant(request.claimant))
        return shard

    def _any(self) -> Shard:
        if self._shard is None:
            raise Unsupported("this server keeps no packs of others")
        return self._shard

    def claim(self, request: pb.ClaimRequest, call: Call) -> pb.ClaimReply:
        call.may_administer()
        return pb.ClaimReply(store=self._any().claim(_claimant(request.claimant), create=request.create))

    def store(self, requests: Iterator[pb.StoreRequest], call: Call) -> pb.StoreReply:
        first = next(requests, None)
        if first is None:
            raise Invalid("an object without a message")
        shard = self._of(first, call)
        body = _Arriving(first, requests)
        if uuid_of(first.key) is None:
            shard.put_other(first.key, io.BufferedReader(body, 1 << 20), first.length)
            return pb.StoreReply()
        if first.length > PACK_MAX:
            raise Invalid(f"a pack of {first.length} bytes is larger than a shard takes")
        with shard.room():
            shard.put(first.key, b"".join(body.pieces()))
        return pb.StoreReply()

    def read(self, request: pb.ReadRequest, call: Call) -> pb.ReadReply:
        shard = self._of(request, call)
        if request.length > READ_MAX:
            raise Invalid(f"one call reads at most {READ_MAX} bytes")
        found = shard.get(request.key, request.start, request.length)
        return pb.ReadReply(data=bytes(found))

    def head(self, request: pb.HeadRequest, call: Call) -> pb.HeadReply:
        return pb.HeadReply(length=self._of(request, call).head(request.key).length)

    def delete(self, request: pb.DeleteRequest, call: Call) -> pb.DeleteReply:
        self._of(request, call).delete(request.key)
        return pb.DeleteReply()

    def keys(self, request: pb.KeysRequest, call: Call) -> Iterator[pb.KeysReply]:
        page = pb.KeysReply()
        for item in self._of(request, call).list(request.prefix):
            page.keys.append(item.key)
            page.lengths.append(item.length)
            if len(page.keys) >= _PAGE:
                yield page
                page = pb.KeysReply()
        yield page

    def space(self, request: pb.SpaceRequest, call: Call) -> pb.SpaceReply:
        space = self._of(request, call).space()
        return pb.SpaceReply(capacity=space.capacity, free=space.free)

    def check(self, request: pb.CheckRequest, call: Call) -> pb.CheckReply:
        return pb.CheckReply(fault=self._of(request, call).fault(request.key, request.length))


class _Arriving(io.RawIOBase):
    """An object's bytes as they come. Its last ones are given only once all have the length and the digest
    that were told, so that no reader has a whole object that is not."""

    def __init__(self, first: pb.StoreRequest, rest: Iterator[pb.StoreRequest]) -> None:
        self._length = first.length
        self._pieces = self._checked(first, rest)
        self._left = memoryview(b"")

    def pieces(self) -> Iterator[bytes]:
        return self._pieces

    def _checked(self, first: pb.StoreRequest, rest: Iterator[pb.StoreRequest]) -> Iterator[bytes]:
        hasher, size, held, request = blake3(), 0, first.data, first
        hasher.update(held)
        size += len(held)
        while not request.digest:
            following = next(rest, None)
            if following is None:
                raise Invalid("the object ended before its digest")
            request = following
            size += len(request.data)
            if size > self._length:
                raise Invalid(f"the object has more than its {self._length} bytes")
            hasher.update(request.data)
            if request.data:
                yield held
                held = request.data
        if size != self._length:
            raise Invalid(f"the object has {size} of its {self._length} bytes")
        if hasher.digest() != request.digest:
            raise Invalid("the object was damaged on its way")
        yield held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _claimant(claimant: pb.Claimant) -> Claimant:
    if len(claimant.router) != 16 or not claimant.shard:
        raise Invalid("a claim names the router's store and the shard")
    return Claimant(claimant.router.hex(), claimant.shard)
