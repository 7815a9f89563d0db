"""Inode numbers and content ids, from ranges that are durable before any of them is given out.

Guarded by the store's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

STEP: Final = 1 << 20
"""One commit for so many numbers; a crash loses those left of a range, of which there are plenty."""

_RESERVE: Final = "UPDATE meta SET value = ? WHERE key = 'next_ino'"


class InodeNumbers:
    def __init__(self, store: NamespaceStore, first: int) -> None:
        self._store = store
        self.next = first
        self._reserved = first
        self._durable = first
        self._contents_durable = 0

    def grant(self, count: int) -> range:
        """Numbers for a client to use; committed, because it may use them after a crash of ours."""
        first = self.next
        if first + count > self._reserved:
            self._store.change(self.reserve, first + count + STEP)
        self.take(count)
        if self.next > self._durable:
            self._store.commit()
        return range(first, first + count)

    def grant_contents(self, count: int) -> range:
        """Content ids for a client to use, likewise. The next one is the transaction's business."""
        txn = self._store.applier.txn
        first = txn.content
        limit = first + count
        if limit > self._contents_durable:
            self._store.change(txn.reserve_contents, limit)
            self._store.commit()
            self._contents_durable = txn.content_limit
        txn.content = limit
        return range(first, limit)

    def take(self, count: int) -> int:
        """The first of so many numbers for the batch that is being applied, durable with it."""
        first = self.next
        if first + count > self._reserved:
            self.reserve(first + count + STEP)
        self.next = self._store.applier.txn.ino_limit = first + count
        return first

    def reserve(self, limit: int) -> None:
        if limit > self._reserved:
            self._reserved = limit
            self._store.execute(_RESERVE, (limit,))

    def rolled_back(self) -> None:
        """What was reserved since the last commit may be undone: reserve anew when needed."""
        self._reserved = self._durable

    def committed(self) -> None:
        self._durable = self._reserved

    def recovered(self) -> None:
        """Batches of a dead process were applied again, and with them what they had reserved and used."""
        self.committed()
        self.next = self._store.applier.txn.ino_limit = max(self.next, self._reserved)
