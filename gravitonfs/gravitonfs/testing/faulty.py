"""Wrappers that fail on demand: any method, on its n-th call, before or after the real one; writes cut
short, answers with flipped bits. The real component does all the work."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import BinaryIO, NamedTuple, TypeVar

from typing_extensions import Buffer

from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import GravitonError, NoSpace, Unavailable
from gravitonfs.ports.blocks import Block, BlockStore, StoreCounters
from gravitonfs.ports.target import AppendFile, AppendTarget, ObjectInfo, Space

T = TypeVar("T")
Error = Callable[[], GravitonError]


def broken() -> GravitonError:
    return Unavailable("the medium fails, as the test asked")


def full() -> GravitonError:
    return NoSpace("no space is left, as the test asked")


class _Fault(NamedTuple):
    first: int
    last: int
    error: Error | None
    after: bool
    keep: int | None
    flip: int | None


class Faults:
    """What shall fail. Calls of each method are counted from 1 in ``calls``.

    ``_lock`` guards the counters and the plan.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self._plan: dict[str, list[_Fault]] = {}

    def fail(
        self, method: str, *, on: int = 1, times: int = 1, error: Error = broken, after: bool = False
    ) -> None:
        """Raise on the ``on``-th call from now and ``times`` - 1 more; ``after``: once the work is done."""
        self._add(method, on, times, error, after, None, None)

    def cut(self, method: str, keep: int, *, on: int = 1, error: Error = broken) -> None:
        """Let only ``keep`` bytes of what is written through, then raise."""
        self._add(method, on, 1, error, False, keep, None)

    def flip(self, method: str, bit: int, *, on: int = 1, times: int = 1) -> None:
        """Answer with one bit of the bytes changed."""
        self._add(method, on, times, None, False, None, bit)

    def _add(
        self,
        method: str,
        on: int,
        times: int,
        error: Error | None,
        after: bool,
        keep: int | None,
        flip: int | None,
    ) -> None:
        with self._lock:
            first = self.calls[method] + on
            fault = _Fault(first, first + times - 1, error, after, keep, flip)
            self._plan.setdefault(method, []).append(fault)

    def heal(self) -> None:
        with self._lock:
            self._plan.clear()

    def next(self, method: str) -> _Fault | None:
        """Count a call; the fault that meets it."""
        with self._lock:
            self.calls[method] += 1
            count = self.calls[method]
            for fault in self._plan.get(method, ()):
                if fault.first <= count <= fault.last:
                    return fault
        return None

    def run(self, method: str, call: Callable[[], T]) -> T:
        fault = self.next(method)
        if fault is not None and fault.error is not None and not fault.after:
            raise fault.error()
        result = call()
        if fault is not None and fault.error is not None:
            raise fault.error()
        return result

    def answer(self, method: str, data: Buffer) -> Buffer:
        """What is read, for a call whose work is done already."""
        changed = self.read(method, lambda: data)
        assert changed is not None
        return changed

    def read(self, method: str, call: Callable[[], Buffer | None]) -> Buffer | None:
        fault = self.next(method)
        if fault is not None and fault.error is not None and not fault.after:
            raise fault.error()
        data = call()
        if fault is None or data is None:
            return data
        if fault.error is not None:
            raise fault.error()
        changed = bytearray(data)
        if fault.flip is not None and changed:
            at = fault.flip // 8 % len(changed)
            changed[at] ^= 1 << fault.flip % 8
        return bytes(changed)


class FaultyAppendFile:
    """An ``AppendFile``. Methods in the plan: ``append``, ``sync``, ``read``, ``close``."""

    def __init__(self, inner: AppendFile, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def append(self, buffers: Sequence[Buffer]) -> int:
        fault = self._faults.next("append")
        if fault is None:
            return self._inner.append(buffers)
        if fault.keep is not None:
            self._inner.append([b"".join(bytes(b) for b in buffers)[: fault.keep]])
        elif fault.after:
            self._inner.append(buffers)
        raise (fault.error or broken)()

    def sync(self) -> int:
        return self._faults.run("sync", self._inner.sync)

    def read(self, start: int, length: int) -> Buffer:
        data = self._faults.read("read", lambda: self._inner.read(start, length))
        assert data is not None
        return data

    def close(self) -> None:
        self._faults.run("close", self._inner.close)


class FaultyTarget:
    """An ``AppendTarget``. Methods in the plan: those of the port, and those of its files."""

    def __init__(self, inner: AppendTarget, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self.name = inner.name

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        fault = self._faults.next("put")
        if fault is None:
            self._inner.put(key, body, length)
            return
        if fault.keep is not None:  # a body that ends early, as a cut connection gives
            body = BytesIO(body.read(fault.keep))
        if fault.after or fault.keep is not None:
            self._inner.put(key, body, length)
        raise (fault.error or broken)()

    def get(self, key: str, start: int, length: int) -> Buffer:
        data = self._faults.read("get", lambda: self._inner.get(key, start, length))
        assert data is not None
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """In the plan each range is a ``get``."""
        return [self._faults.answer("get", data) for data in self._inner.get_ranges(key, ranges)]

    def head(self, key: str) -> ObjectInfo:
        return self._faults.run("head", lambda: self._inner.head(key))

    def delete(self, key: str) -> None:
        self._faults.run("delete", lambda: self._inner.delete(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._faults.run("list", lambda: self._inner.list(prefix))

    def space(self) -> Space:
        return self._faults.run("space", self._inner.space)

    def create(self, key: str) -> AppendFile:
        file = self._faults.run("create", lambda: self._inner.create(key))
        return FaultyAppendFile(file, self._faults)

    def read_cached(self, key: str, start: int, length: int) -> Buffer | None:
        return self._faults.read("read_cached", lambda: self._inner.read_cached(key, start, length))


class FaultyBlockStore:
    """A ``BlockStore``. Methods in the plan: those of the port; flips change what ``get`` and ``near``
    answer, so a plain reader sees what a verifying one must never let through."""

    def __init__(self, inner: BlockStore, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def missing(self, ids: Sequence[BlockId]) -> list[PackNumber]:
        return self._faults.run("missing", lambda: self._inner.missing(ids))

    def put(self, blocks: Sequence[Block]) -> list[PackNumber]:
        return self._faults.run("put", lambda: self._inner.put(blocks))

    def get(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Buffer]:
        for one in self._inner.get(wanted):
            yield self._faults.answer("get", one)

    def stored(self, wanted: Sequence[tuple[BlockId, PackNumber]]) -> Iterator[Block]:
        for one in self._inner.stored(wanted):
            yield one._replace(payload=self._faults.answer("stored", one.payload))

    def get_cached(self, block: BlockId, hint: PackNumber) -> Buffer | None:
        return self._faults.read("get_cached", lambda: self._inner.get_cached(block, hint))

    def near(self, block: BlockId, hint: PackNumber, span: int) -> list[tuple[BlockId, Buffer]]:
        return self._faults.run("near", lambda: self._inner.near(block, hint, span))

    def sync(self, packs: Sequence[PackNumber]) -> None:
        self._faults.run("sync", lambda: self._inner.sync(packs))

    def forget_packs(self, packs: Sequence[PackNumber]) -> None:
        self._faults.run("forget_packs", lambda: self._inner.forget_packs(packs))

    def stored_bytes(self, ids: Sequence[BlockId]) -> int:
        return self._inner.stored_bytes(ids)

    def counters(self) -> StoreCounters:
        return self._inner.counters()
