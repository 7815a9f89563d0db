"""The client's side of exactly-once: numbers batches, sends them, hands out inode numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import Internal
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr, Batch, LooseBlock, Op, Result

_INO_GRANT = 1024


class Session:
    """One attached namespace. Thread-safe.

    ``_lock`` guards the batch number, so that batches reach the namespace in the order of their
    numbers; ``_ino_lock`` guards the granted inode numbers.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._lock = threading.Lock()
        self._number = 0
        self._ino_lock = threading.Lock()
        self._inos = iter(range(0))

    def submit(
        self,
        ops: tuple[Op, ...],
        *,
        packs: Sequence[PackNumber] = (),
        loose: tuple[LooseBlock, ...] = (),
        durable: bool = False,
    ) -> tuple[Result, ...]:
        """Apply one batch and return a result an op. Raises what the batch failed with or was refused for."""
        with self._lock:
            batch = Batch(self._number + 1, time.time_ns(), ops, tuple(packs), loose)
            reply = self.namespace.apply((batch,), durable=durable)[0]
            self._number = batch.number
        if reply.failure is not None:
            raise reply.failure.error()
        return reply.results

    def submit_for_attr(self, op: Op, *, durable: bool = False) -> Attr:
        """One op whose answer is an Attr."""
        result = self.submit((op,), durable=durable)[0]
        if not isinstance(result, Attr):
            raise Internal(f"{type(op).__name__} was answered with {result!r}")
        return result

    def commit(self) -> None:
        """Wait until everything applied so far survives power loss."""
        self.submit((), durable=True)

    def new_ino(self) -> Ino:
        with self._ino_lock:
            ino = next(self._inos, None)
            if ino is None:
                self._inos = iter(self.namespace.grant(_INO_GRANT))
                ino = next(self._inos)
            return Ino(ino)
