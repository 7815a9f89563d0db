"""A short way to say what the suite wants of a namespace."""

from __future__ import annotations

import hashlib
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from gravitonfs.content.kept import Kept
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.core.ids import ROOT_INO, BlockId, ContentId, Ino, PackNumber
from gravitonfs.errors import Kind
from gravitonfs.ports import ops
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.packs import LooseBlocks, PackRegistry, PackState
from gravitonfs.ports.upkeep import Upkeep

ROOT = ROOT_INO
START_NS = 1_700_000_000_000_000_000


class Store(Protocol):
    """An open store, as the suite needs it."""

    @property
    def packs(self) -> PackRegistry: ...
    @property
    def loose(self) -> LooseBlocks: ...
    @property
    def upkeep(self) -> Upkeep: ...
    def attach(
        self,
        volume: str = "main",
        *,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        resume: int | None = None,
        at: int | None = None,
        recall: Recall | None = None,
    ) -> Namespace: ...
    def set_barrier(self, barrier: Callable[[], None]) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Stores(Protocol):
    """Opens a store; only one is open at a time."""

    def open(self) -> Store: ...


class Session:
    """One attachment, whose batches are numbered and whose failures are raised."""

    def __init__(self, store: Store, label: str = "test", **options: Any) -> None:
        self.store = store
        self.ns = store.attach(label=label, **options)
        self.number = 0
        self.time = START_NS
        self._inos: Iterator[Ino] = iter(())
        self._pack: PackNumber | None = None

    def batch(self, *todo: ops.Op, **fields: Any) -> ops.Batch:
        self.number += 1
        self.time += 1000
        return ops.Batch(self.number, fields.pop("time_ns", self.time), todo, **fields)

    def do(self, *todo: ops.Op, durable: bool = False, **fields: Any) -> Any:
        """Apply one batch; the result of its only op, or of all of them."""
        reply = self.ns.apply([self.batch(*todo, **fields)], durable=durable)[0]
        if reply.failure is not None:
            raise reply.failure.error()
        return reply.results[0] if len(todo) == 1 else reply.results

    def fails(self, kind: Kind, *todo: ops.Op, **fields: Any) -> ops.Failure:
        """Apply a batch that has to fail in this way."""
        reply = self.ns.apply([self.batch(*todo, **fields)], durable=False)[0]
        assert reply.failure is not None, f"expected {kind}, got {reply.results}"
        assert Kind(reply.failure.kind) is kind, reply.failure
        return reply.failure

    def ino(self) -> Ino:
        found = next(self._inos, None)
        if found is None:
            self._inos = (Ino(number) for number in self.ns.grant(64))
            found = next(self._inos)
        return found

    def make(
        self, name: bytes, mode: int = stat.S_IFREG | 0o644, parent: Ino = ROOT, **fields: Any
    ) -> ops.Attr:
        owner = {"uid": fields.pop("uid", 1000), "gid": fields.pop("gid", 1000)}
        attr = self.do(ops.Create(parent, name, self.ino(), mode, **owner, **fields))
        assert isinstance(attr, ops.Attr)
        return attr

    def mkdir(self, name: bytes, parent: Ino = ROOT, mode: int = 0o755, **fields: Any) -> ops.Attr:
        return self.make(name, stat.S_IFDIR | mode, parent, **fields)

    def staged(self) -> ops.Attr:
        return self.make(b"", parent=Ino(0))

    @property
    def pack(self) -> PackNumber:
        """A live pack for the extents of this session."""
        if self._pack is None:
            self._pack = self.store.packs.begin(
                bytes(8) + self.ns.session.to_bytes(8, "big"), "suite", PackState.LIVE
            )
        return self._pack

    def extent(self, offset: int, data: bytes) -> Extent:
        block = _block_id(data)
        BLOCKS[block] = data
        return Extent(offset, len(data), block, 0, self.pack)

    def write(self, ino: Ino, offset: int, data: bytes, **fields: Any) -> ops.Attr:
        """Lay bytes over a file."""
        extent = self.extent(offset, data)
        attr = self.do(ops.Write(ino, (extent,), offset + len(data), **fields), packs=(self.pack,))
        assert isinstance(attr, ops.Attr)
        return attr

    def seal(self, ino: Ino) -> ops.Attr:
        attr = self.ns.attr(ino)
        self.do(ops.Seal(attr.content, attr.version, digest(self.read(ino))))
        return self.ns.attr(ino)

    def read(self, ino: Ino) -> bytes:
        """A file's bytes, put together as a reader would."""
        attr = self.ns.attr(ino)
        return read_content(self.ns, attr.content, attr.size)

    def names(self, parent: Ino = ROOT) -> list[bytes]:
        return [entry.name for entry in self.ns.entries(parent, None, 10_000)]

    def find(self, name: bytes, parent: Ino = ROOT) -> ops.Attr:
        attr = self.ns.lookup(parent, name)
        assert attr is not None, f"{name!r} is not there"
        return attr

    def problems(self) -> list[str]:
        return [problem.what for problem in self.store.upkeep.check()]

    def reap_all(self) -> None:
        while self.store.upkeep.reap(1000):
            pass


BLOCKS: dict[BlockId, bytes] = {}
"""What the suite's blocks hold; their ids need not be real ones here."""


def _block_id(data: bytes) -> BlockId:
    return BlockId(hashlib.sha256(data).digest())


def kept_of(batch: ops.Batch) -> Kept:
    """What a writer keeps of a batch that waits."""
    writes = (op for op in batch.ops if isinstance(op, (ops.Write, ops.Append)))
    named = {extent.block for op in writes for extent in op.extents}
    return Kept(((block, BLOCKS[block]) for block in named if block in BLOCKS), 1)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(b"content" + data).digest()


def read_content(ns: Namespace, content: ContentId, size: int) -> bytes:
    result = bytearray(size)
    end = 0
    for region in ns.extents(content, 0, size // REGION):
        for extent in region.extents:
            assert extent.offset >= end, "extents overlap or are out of order"
            assert extent.end <= size, "an extent reaches behind the end"
            assert not extent.is_hole
            end = extent.end
            data = BLOCKS[extent.block][extent.block_offset : extent.block_offset + extent.length]
            result[extent.offset : extent.end] = data
    return bytes(result)


@contextmanager
def refused(kind: Kind) -> Iterator[None]:
    """The calls inside have to raise an error of this kind."""
    from gravitonfs.errors import GravitonError

    with pytest.raises(GravitonError) as caught:
        yield
    assert caught.value.kind is kind, caught.value


def patterns() -> Iterable[bytes]:
    """Distinct short pieces of data."""
    return (b"%08d" % number for number in itertools.count())


@pytest.fixture
def store(stores: Stores) -> Iterator[Store]:
    opened = stores.open()
    yield opened
    opened.close()


@pytest.fixture
def session(store: Store) -> Iterator[Session]:
    """A session; what it leaves behind has to be consistent."""
    result = Session(store)
    yield result
    assert result.problems() == []
