"""Pack rows and loose blocks in memory: conforming, for tests of what stands on those ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import NotFound
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackRow, PackState


class MemoryRegistry:
    """A ``PackRegistry``. ``_lock`` guards the rows. It outlives the store that uses it, so that tests
    can open the same rows again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[PackNumber, PackRow] = {}
        self._last = 0

    def load(self, rows: Iterable[PackRow]) -> None:
        """As a database that was opened again with these rows."""
        with self._lock:
            self._rows = {row.number: row for row in rows}
            self._last = max(self._rows, default=0)

    def begin(self, uuid: bytes, owner: str, state: PackState) -> PackNumber:
        with self._lock:
            self._last += 1
            number = PackNumber(self._last)
            now = self.clock_ns()
            self._rows[number] = PackRow(number, uuid, state, owner, 0, 0, now, now, now)
            return number

    def _change(self, number: PackNumber, **changes: object) -> None:
        row = self._rows.get(number)
        if row is None:
            raise NotFound(f"there is no pack {number}")
        self._rows[number] = row._replace(changed_ns=self.clock_ns(), **changes)  # type: ignore[arg-type]

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        with self._lock:
            self._change(number, length=length, blocks=blocks)

    def publish(self, number: PackNumber) -> bool:
        return self._move(number, (PackState.STORING,), PackState.LIVE)

    def abandon(self, number: PackNumber) -> None:
        with self._lock:
            self._change(number, state=PackState.ABANDONED)

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        with self._lock:
            return [self._rows[number] for number in sorted(self._rows) if number > after][:limit]

    def get(self, number: PackNumber) -> PackRow | None:
        with self._lock:
            return self._rows.get(number)

    def condemn(self, numbers: Sequence[PackNumber], before_ns: int) -> list[PackNumber]:
        with self._lock:
            result = []
            for number in numbers:
                row = self._rows.get(number)
                if row is not None and row.state is PackState.LIVE and row.relied_ns < before_ns:
                    self._change(number, state=PackState.CONDEMNED)
                    result.append(number)
            return result

    def deleting(self, number: PackNumber) -> bool:
        return self._move(number, (PackState.CONDEMNED, PackState.ABANDONED), PackState.DELETING)

    def _move(self, number: PackNumber, from_states: tuple[PackState, ...], to_state: PackState) -> bool:
        with self._lock:
            row = self._rows.get(number)
            if row is None or row.state not in from_states:
                return False
            self._change(number, state=to_state)
            return True

    def deleted(self, number: PackNumber) -> None:
        with self._lock:
            row = self._rows.get(number)
            if row is not None and row.state is PackState.DELETING:
                del self._rows[number]

    def clock_ns(self) -> int:
        return time.time_ns()


class MemoryLoose:
    """``LooseBlocks``; ``add`` stands for a batch that brings some. ``_lock`` guards ``_blocks``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[BlockId, Block] = {}
        self._bytes = 0

    def add(self, blocks: Iterable[Block]) -> None:
        with self._lock:
            for block in blocks:
                if block.id not in self._blocks:
                    kept = block._replace(payload=bytes(block.payload))
                    self._blocks[block.id] = kept
                    self._bytes += memoryview(kept.payload).nbytes

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        with self._lock:
            return {block: self._blocks[block] for block in ids if block in self._blocks}

    def loose_page(self, limit_bytes: int) -> list[Block]:
        with self._lock:
            page: list[Block] = []
            size = 0
            for block in self._blocks.values():
                size += memoryview(block.payload).nbytes
                if page and size > limit_bytes:
                    break
                page.append(block)
            return page

    def loose_drop(self, ids: Sequence[BlockId], packs: Sequence[PackNumber] = ()) -> None:
        """The rows of ``packs`` are not known here: they are taken to be live."""
        with self._lock:
            for block in ids:
                dropped = self._blocks.pop(block, None)
                if dropped is not None:
                    self._bytes -= memoryview(dropped.payload).nbytes

    def loose_bytes(self) -> int:
        return self._bytes
