"""Pack rows and loose blocks in memory: conforming, for tests of what stands on those ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import NotFound
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackNews, PackRow, PackState


class MemoryRegistry:
    """A ``PackRegistry``. ``_lock`` guards the rows. It outlives the store that uses it, so that tests
    can open the same rows again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[PackNumber, PackRow] = {}
        self._footers: dict[PackNumber, bytes] = {}
        self._positions: dict[PackNumber, int] = {}
        self._engines: dict[str, tuple[int, int]] = {}
        self._position = 0
        self._last = 0

    def load(self, rows: Iterable[PackRow]) -> None:
        """As a database that was opened again with these rows."""
        with self._lock:
            self._rows = {row.number: row for row in rows}
            self._last = max(self._rows, default=0)

    def rows_and_footers(self) -> tuple[list[PackRow], dict[PackNumber, bytes]]:
        with self._lock:
            return list(self._rows.values()), dict(self._footers)

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
        if "state" in changes:
            self._position += 1
            self._positions[number] = self._position

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        with self._lock:
            self._change(number, length=length, blocks=blocks)
            self._footers[number] = footer

    def publish(self, number: PackNumber, length: int = 0, blocks: int = 0, footer: bytes = b"") -> bool:
        with self._lock:
            row = self._rows.get(number)
            if row is None or row.state is not PackState.STORING:
                return row is not None and row.state is PackState.LIVE
            if length:
                self._change(number, length=length, blocks=blocks)
                self._footers[number] = footer
            self._change(number, state=PackState.LIVE)
            return True

    def abandon(self, number: PackNumber) -> None:
        self._move(number, (PackState.STORING, PackState.LIVE), PackState.ABANDONED)

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        with self._lock:
            return [self._rows[number] for number in sorted(self._rows) if number > after][:limit]

    def get(self, number: PackNumber) -> PackRow | None:
        with self._lock:
            return self._rows.get(number)

    def find(self, uuid: bytes) -> PackRow | None:
        with self._lock:
            return next((row for row in self._rows.values() if row.uuid == uuid), None)

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
                self._positions.pop(number, None)
                self._footers.pop(number, None)

    def clock_ns(self) -> int:
        return time.time_ns()

    # --- several engines ---

    def enroll(self, owner: str) -> int:
        with self._lock:
            self._engines[owner] = (self._position, self.clock_ns())
            return self._position

    def tail(self, owner: str, after: int, limit: int = 64) -> list[PackNews]:
        with self._lock:
            self._engines[owner] = (after, self.clock_ns())
            if after >= self._position:
                return []
            told = sorted((at, number) for number, at in self._positions.items() if at > after)
            return [self._news(at, number) for at, number in told[:limit]]

    def _news(self, position: int, number: PackNumber) -> PackNews:
        row = self._rows[number]
        footer = self._footers.get(number, b"") if row.state is PackState.LIVE else b""
        return PackNews(position, row, footer)

    def leave(self, owner: str) -> None:
        with self._lock:
            self._engines.pop(owner, None)

    def abandon_dead(self, silent_ns: int) -> list[PackNumber]:
        with self._lock:
            horizon = self.clock_ns() - silent_ns
            alive = {owner for owner, (_, heard) in self._engines.items() if heard > horizon}
            dead = [
                row.number
                for row in self._rows.values()
                if row.state is PackState.STORING and row.owner not in alive
            ]
            for number in dead:
                self._change(number, state=PackState.ABANDONED)
            return dead

    def footers(self, numbers: Sequence[PackNumber]) -> dict[PackNumber, bytes]:
        with self._lock:
            return {number: self._footers[number] for number in numbers if number in self._footers}

    def shed_footers(self, numbers: Sequence[PackNumber]) -> int:
        with self._lock:
            read = min((position for position, _ in self._engines.values()), default=self._position)
            old = [n for n in numbers if n in self._footers and self._positions.get(n, 0) <= read]
            for number in old:
                del self._footers[number]
            return len(old)


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
