"""A daemon as a target: a shard, which keeps packs of this store, its router's.

Calls have deadlines. A shard that did not answer is left alone for a moment: whoever asks then is refused at
once, so that a frozen one holds up nobody but those who want its packs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final, NamedTuple, TypeVar

from blake3 import blake3
from google.protobuf.message import Message
from typing_extensions import Buffer

from graviton_server.targets.identity import STORE_KEY, check_key, is_key
from gravitonfs.client.connection import Answer, Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.failures import Pauses
from gravitonfs.errors import (
    AccessDenied,
    FormatError,
    GravitonError,
    Invalid,
    Throttled,
    Unauthenticated,
    Unavailable,
    Unsupported,
    error_of,
)
from gravitonfs.ports.target import ObjectInfo, Space
from gravitonfs.rpc.graviton.v1 import shards_pb2 as pb

_SERVICE: Final = "/graviton.v1.ShardService/"
_PIECE: Final = 1 << 20
_READ: Final = 4 << 20
_SLOWEST: Final = 1_000_000
"""Bytes a second that a shard may take for an object, beside the patience there is."""
_AGAIN: Final = 3.0
_QUIET: Final = 3.0
_SPACE: Final = 5.0
M = TypeVar("M", bound=Message)


class ShardSettings(NamedTuple):
    """``patience``: seconds that an answer may take."""

    address: str
    token_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    patience: float = 10.0

    def endpoint(self) -> Endpoint:
        endpoint, _, _ = Endpoint.parse(self.address)
        return endpoint.with_options(
            token_file=_path(self.token_file),
            ca_file=_path(self.ca_file),
            cert_file=_path(self.cert_file),
            key_file=_path(self.key_file),
        )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


class ShardTarget:
    """A ``Target``, and a ``RemoteTarget``. Thread-safe; ``_lock`` guards the counts. That the daemon is this
    shard is checked by itself, at every call."""

    max_object = 256 << 20

    def __init__(
        self, settings: ShardSettings, name: str, store_uuid: bytes, *, create: bool = False
    ) -> None:
        """``create``: a daemon whose store is empty becomes this shard. Raises ``NotFound``, ``FormatError``,
        ``Exists``, ``AccessDenied``, ``Unavailable``."""
        self.name = name
        self.settings = settings
        self.store_uuid = store_uuid
        self._connection = Connection(settings.endpoint())
        self._claimant = pb.Claimant(router=store_uuid, shard=name)
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._quiet_until = 0.0
        self._why = ""
        self._space: Space | None = None
        self._space_until = 0.0
        try:
            self._claim(create=create)
        except BaseException:
            self._connection.close()
            raise

    def _claim(self, *, create: bool = False) -> None:
        request = pb.ClaimRequest(claimant=self._claimant, create=create)
        self._call("Claim", request, pb.ClaimReply)

    # --- calls ---

    def _call(self, method: str, request: Message, reply: Answer[M], patience: float | None = None) -> M:
        timeout = self.settings.patience if patience is None else patience
        bulk = method in ("Read", "Check")

        def once() -> M:
            return self._connection.call(_SERVICE + method, request, reply, timeout=timeout, bulk=bulk)

        return self._answered(method, once)

    def _answered(self, method: str, call: Callable[[], M], *, again: bool = True) -> M:
        """``again``: tried for a moment where nobody answers: a daemon that is started anew is back soon,
        and every call may be repeated."""
        if time.monotonic() < self._quiet_until:
            raise Unavailable(f"{self} does not answer: {self._why}")
        give_up = time.monotonic() + _AGAIN
        pauses = Pauses()
        while True:
            self._count(method)
            try:
                return call()
            except GravitonError as error:
                if not (again and isinstance(error, Unavailable) and time.monotonic() < give_up):
                    raise self._failed(error) from error
            pauses.wait()

    def _failed(self, error: GravitonError) -> GravitonError:
        """As a target's errors are, with the shard's name."""
        if isinstance(error, Unavailable | Throttled):
            if isinstance(error, Unavailable):
                self._why = str(error)
                self._quiet_until = time.monotonic() + _QUIET
            return Unavailable(f"{self}: {error}")
        if isinstance(error, AccessDenied | Unauthenticated):
            return AccessDenied(f"{self} refuses this router's token: {error}")
        if isinstance(error, Unsupported):
            return Unavailable(f"{self} is no daemon that can be a shard: {error}")
        if isinstance(error, FormatError):
            return FormatError(f"{self}: {error}")
        return error_of(error.kind, f"{self}: {error}")

    def __str__(self) -> str:
        return f"the shard {self.name} ({self.settings.address})"

    def _count(self, kind: str) -> None:
        with self._lock:
            self._counts[kind.lower()] = self._counts.get(kind.lower(), 0) + 1

    # --- objects ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        check_key(key)
        leaving = _Leaving(self._claimant, key, body, length)
        timeout = self.settings.patience + length / _SLOWEST

        def once() -> pb.StoreReply:
            return self._connection.upload(
                _SERVICE + "Store", leaving.messages(), pb.StoreReply, timeout=timeout
            )

        try:
            self._answered("Store", once, again=False)
        except GravitonError:
            if leaving.fault is not None:
                raise leaving.fault from None
            raise

    def get(self, key: str, start: int, length: int) -> Buffer:
        check_key(key)
        if length <= _READ:
            return self._read(key, start, length)
        found = bytearray()
        while len(found) < length:
            wanted = min(_READ, length - len(found))
            piece = self._read(key, start + len(found), wanted)
            found += piece
            if len(piece) < wanted:
                break
        return found

    def _read(self, key: str, start: int, length: int) -> bytes:
        request = pb.ReadRequest(claimant=self._claimant, key=key, start=start, length=max(0, length))
        return self._call("Read", request, pb.ReadReply).data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        first = ranges[0][0]
        span = memoryview(self.get(key, first, ranges[-1][0] + ranges[-1][1] - first))
        return [span[start - first : start - first + length] for start, length in ranges]

    def head(self, key: str) -> ObjectInfo:
        check_key(key)
        if key == STORE_KEY:  # whether the place is still this store's
            self._claim()
            return ObjectInfo(key, 0)
        found = self._call("Head", pb.HeadRequest(claimant=self._claimant, key=key), pb.HeadReply)
        return ObjectInfo(key, found.length)

    def delete(self, key: str) -> None:
        check_key(key)
        self._call("Delete", pb.DeleteRequest(claimant=self._claimant, key=key), pb.DeleteReply)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._claim()  # whether it answers at all
        self._count("keys")
        request = pb.KeysRequest(claimant=self._claimant, prefix=prefix)
        pages = self._connection.stream(_SERVICE + "Keys", request, pb.KeysReply)
        try:
            for page in pages:
                for key, length in zip(page.keys, page.lengths, strict=True):
                    if is_key(key):
                        yield ObjectInfo(key, length)
        except GravitonError as error:
            raise self._failed(error) from error

    def space(self) -> Space:
        """As of a few seconds ago: it is asked for often."""
        now = time.monotonic()
        if self._space is None or now > self._space_until:
            found = self._call("Space", pb.SpaceRequest(claimant=self._claimant), pb.SpaceReply)
            self._space = Space(found.capacity, found.free)
            self._space_until = now + _SPACE
        return self._space

    # --- upkeep ---

    def fault(self, key: str, length: int) -> str:
        """What is wrong with a pack, which the shard reads itself; empty: nothing."""
        request = pb.CheckRequest(claimant=self._claimant, key=key, length=length)
        return self._call("Check", request, pb.CheckReply, self.settings.patience * 3).fault

    def sweep_uploads(self) -> int:
        """What is not whole is not kept there."""
        return 0

    def requests(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        self._connection.close()


class _Leaving:
    """An object on its way. gRPC asks for its messages on a thread of its own, so what is wrong with the body
    is kept for the caller."""

    def __init__(self, claimant: pb.Claimant, key: str, body: BinaryIO, length: int) -> None:
        self._claimant = claimant
        self._key = key
        self._body = body
        self._length = length
        self.fault: GravitonError | None = None

    def messages(self) -> Iterator[pb.StoreRequest]:
        yield pb.StoreRequest(claimant=self._claimant, key=self._key, length=self._length)
        hasher, left = blake3(), self._length
        try:
            while left and (piece := self._body.read(min(_PIECE, left))):
                hasher.update(piece)
                left -= len(piece)
                yield pb.StoreRequest(data=piece)
            if left or self._body.read(1):
                self.fault = Invalid(f"{self._key} has another length than the {self._length} bytes told")
        except GravitonError as error:
            self.fault = error
        if self.fault is None:
            yield pb.StoreRequest(digest=hasher.digest())
