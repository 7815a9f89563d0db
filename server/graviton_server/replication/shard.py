"""A store as a shard: it keeps whole packs of another store, its router's, with rows of its own.

Which packs are needed is known to the router alone: nothing here collects or compacts.

Order for a pack that comes: row ``storing``, durable -> the bytes at this store's write quorum -> ``live`` ->
answered. For one that goes: condemned -> deleting -> the bytes are gone -> the row goes -> answered. A crash
in between leaves a row that the router's next try, of either kind, finds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, Final, Protocol

import msgspec
from typing_extensions import Buffer

from graviton_server.packs.format import (
    HEADER_SIZE,
    TRAILER_SIZE,
    Records,
    decode_header,
    decode_trailer,
    pack_digest,
    pack_key,
)
from graviton_server.replication.image import fault_of, fetch
from graviton_server.replication.repair import Repair
from graviton_server.replication.target import uuid_of
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import (
    Damaged,
    Exists,
    FormatError,
    GravitonError,
    Invalid,
    NotFound,
    Throttled,
    Unavailable,
    Unsupported,
)
from gravitonfs.ports.packs import PackRow, PackState
from gravitonfs.ports.store import EngineNames
from gravitonfs.ports.target import ObjectInfo, Space, Target

PACKS: Final = "packs/"
ROUTERS: Final = "router/"
"""Below it lies what the router keeps beside packs, apart from this store's own."""
PACK_MAX: Final = 256 << 20
_EVER: Final = 10**18
_WAITED: Final = 20.0
_LOCKS: Final = 64


class Claimant(msgspec.Struct, frozen=True):
    """Whose shard: the UUID of the router's store in hexadecimal, and what that calls this shard."""

    router: str
    shard: str

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Claimant:
        return msgspec.json.decode(data, type=cls)


class PackFiles(Protocol):
    def expect(self, number: PackNumber, uuid: bytes) -> None:
        """A pack comes whole from elsewhere; look-ups need not know what is in it."""

    def delete_pack(self, number: PackNumber) -> None:
        """Remove the object of a row that is ``deleting``, and what look-ups know of it."""


class _Image(BytesIO):
    """A pack in memory that several copies can be made of at once."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._whole = data

    def again(self) -> BinaryIO:
        return BytesIO(self._whole)


class Shard:
    """Thread-safe: one lock for each of several groups of packs; ``_room`` bounds the packs in memory."""

    def __init__(
        self,
        names: EngineNames,
        target: Target,
        owner: str,
        store: PackFiles,
        repair: Repair | None,
        at_once: int,
    ) -> None:
        self._names = names
        self._packs = names.packs
        self._target = target
        self._owner = owner
        self._store = store
        self._repair = repair
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._room = threading.BoundedSemaphore(at_once)
        self._claim = b""

    def lead_to(self, target: Target, repair: Repair | None, owner: str) -> None:
        """The store has several targets from now on."""
        self._target, self._repair, self._owner = target, repair, owner

    # --- whose it is ---

    def router(self) -> Claimant | None:
        """None: this store is its own."""
        if not self._claim:
            self._claim = self._names.replicas.router()
        return Claimant.decode(self._claim) if self._claim else None

    def claim(self, claimant: Claimant, *, create: bool) -> bytes:
        """This store's UUID; with ``create`` an empty store becomes this shard. Raises ``NotFound`` where it
        is nobody's, ``FormatError`` where it is somebody else's or another one, ``Exists`` where it has
        files."""
        if claimant.router == self._names.store_uuid.hex():
            raise Invalid("a store cannot be a shard of its own: the address leads to the router itself")
        if self.router() is None and create:
            if self._packs.rows(limit=1) or any(row.inodes > 1 for row in self._names.volume_rows()):
                raise Exists("the daemon has files of its own: a shard begins with an empty store")
            self._names.replicas.follow(claimant.encode())
        self.check(claimant)
        return self._names.store_uuid

    def check(self, claimant: Claimant) -> None:
        found = self.router()
        if found is None:
            raise NotFound("the daemon is nobody's shard: its store is a new one, or another one")
        if found != claimant:
            raise FormatError(
                f"the daemon is the shard {found.shard!r} of the store {found.router}, not"
                f" {claimant.shard!r} of {claimant.router}"
            )

    def refuse_files(self) -> None:
        """Raises ``Unsupported`` where this is a shard: files of its own would never give their room back."""
        found = self.router()
        if found is not None:
            raise Unsupported(f"this daemon is the shard {found.shard!r} of another store: go to its router")

    # --- objects ---

    def put(self, key: str, image: bytes) -> None:
        uuid = uuid_of(key)
        if uuid is None:
            self._target.put(ROUTERS + key, BytesIO(image), len(image))
            return
        blocks, footer = _contents(image, uuid)
        with self._lock_of(uuid):
            row = self._packs.find(uuid)
            if row is not None and row.state not in (PackState.STORING, PackState.LIVE):
                self._remove(row)
                row = None
            number = self._packs.begin(uuid, self._owner, PackState.STORING) if row is None else row.number
            self._store.expect(number, uuid)
            self._target.put(key, _Image(image), len(image))
            if not self._packs.publish(number, len(image), blocks, footer):
                raise Unavailable(f"{key} was given up while it was stored: it is to be sent again")

    def put_other(self, key: str, body: BinaryIO, length: int) -> None:
        """What is no pack, however long."""
        self._target.put(_place(key), body, length)

    def room(self) -> _Room:
        """Entered while a pack is in memory. Raises ``Throttled``."""
        return _Room(self._room)

    def get(self, key: str, start: int, length: int) -> Buffer:
        return self._target.get(_place(key), start, length)

    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, self._target.head(_place(key)).length)

    def delete(self, key: str) -> None:
        uuid = uuid_of(key)
        if uuid is None:
            self._target.delete(ROUTERS + key)
            return
        with self._lock_of(uuid):
            row = self._packs.find(uuid)
            if row is None:
                self._target.delete(key)
            else:
                self._remove(row)

    def _remove(self, row: PackRow) -> None:
        number = row.number
        if row.state is PackState.LIVE and not self._packs.condemn([number], self._packs.clock_ns() + _EVER):
            raise Unavailable(f"pack {number} of the shard cannot be deleted while it is dumped")
        if row.state is PackState.STORING:
            self._packs.abandon(number)
        if row.state is not PackState.DELETING and not self._packs.deleting(number):
            raise Unavailable(f"pack {number} of the shard has changed meanwhile")
        self._store.delete_pack(number)
        self._packs.deleted(number)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix.startswith(PACKS) or PACKS.startswith(prefix):
            for item in self._target.list(prefix):
                if uuid_of(item.key) is not None:
                    yield item
        for item in self._target.list(ROUTERS + prefix):
            yield ObjectInfo(item.key.removeprefix(ROUTERS), item.length)

    def space(self) -> Space:
        return self._target.space()

    # --- looking ---

    def fault(self, key: str, length: int) -> str:
        """What is wrong with a pack, all of it read; empty: there is a good copy, and the others are made
        anew. Raises ``NotFound``."""
        uuid = uuid_of(key)
        if uuid is None:
            raise Invalid(f"{key!r} is no pack")
        self._target.head(key)
        with self.room():
            if self._repair is not None:
                return _fault_of_all(self._repair, uuid, length)
            try:
                return fault_of(fetch(self._target, key), uuid, length, b"")
            except Damaged as error:
                return str(error)

    def _lock_of(self, uuid: bytes) -> threading.Lock:
        return self._locks[uuid[-1] % _LOCKS]


class _Room:
    def __init__(self, room: threading.BoundedSemaphore) -> None:
        self._room = room

    def __enter__(self) -> None:
        if not self._room.acquire(timeout=_WAITED):
            raise Throttled("the shard has as many packs in hand as it may", 1.0)

    def __exit__(self, *_: object) -> None:
        self._room.release()


def _fault_of_all(repair: Repair, uuid: bytes, length: int) -> str:
    found = repair.check_copies(uuid, length)
    if found.good or repair.can_be_made(uuid, length):
        return ""
    return "; ".join(f"{name}: {why}" for name, why in found.faults) or "no copy can be read now"


def _place(key: str) -> str:
    return key if uuid_of(key) is not None else ROUTERS + key


def _contents(image: bytes, uuid: bytes) -> tuple[int, bytes]:
    """How many blocks a whole pack has, and its footer. Raises ``Invalid`` where it is not one."""
    view = memoryview(image)
    try:
        trailer = decode_trailer(view[-TRAILER_SIZE:], len(image))
        if trailer is None or decode_header(view[:HEADER_SIZE]).uuid != uuid:
            raise Damaged("it has another header, or no trailer")
        footer = bytes(view[trailer.footer_offset :][: trailer.footer_length])
        if pack_digest(view[:HEADER_SIZE], footer) != trailer.digest:
            raise Damaged("its header and footer are not those that it was sealed with")
        return len(Records.decode(footer)), footer
    except Damaged as error:
        raise Invalid(f"{pack_key(uuid)} is no whole pack: {error}") from error
    except GravitonError as error:
        raise Invalid(f"{pack_key(uuid)} cannot be read as a pack: {error}") from error
