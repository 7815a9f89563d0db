"""Which inodes this session has just written.

What is written and not stored yet is shown from memory. An answer of the namespace that was on its way while
it was stored may be from before, and nothing in memory says more by now: it has to be asked for again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Append, Attr, Op, Truncate, Write

A = TypeVar("A", Attr, Attr | None)

_KEPT: Final = 4096
"""Inodes; more of them are not stored in the time of one question."""
_TRIES: Final = 64


class OwnWrites:
    """``_lock`` guards all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._last: dict[Ino, int] = {}

    def applied(self, ops: tuple[Op, ...]) -> None:
        """Before their bytes are forgotten here."""
        inos = [op.ino for op in ops if isinstance(op, (Write, Append, Truncate))]
        if not inos:
            return
        with self._lock:
            self._count += 1
            for ino in inos:
                self._last.pop(ino, None)
                self._last[ino] = self._count
            while len(self._last) > _KEPT:
                del self._last[next(iter(self._last))]

    def mark(self) -> int:
        return self._count

    def since(self, ino: Ino, mark: int) -> bool:
        return self._last.get(ino, 0) > mark

    def current(self, ask: Callable[[], A]) -> A:
        """The answer of ``ask``, asked again while a write of ours overtakes it."""
        for _ in range(_TRIES):
            mark = self._count
            attr = ask()
            if attr is None or not self.since(attr.ino, mark):
                break
        return attr
