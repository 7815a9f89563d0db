"""What a commit is made of. Order of durable steps: what batches rely on (the barrier), then sessions' rows
and counters, then COMMIT, which flushes the log.

Guarded by the store's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.engine import DatabaseError
from gravitonfs.errors import NoSpace, Unavailable

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

TOUCHED_STEP_NS: Final = 5 * 10**9

_SAVE_VERSION: Final = "UPDATE meta SET value = ? WHERE key = 'version'"
_SAVE_CHANGED: Final = "UPDATE contents SET changed = ? WHERE id = ?"


def _nothing() -> None:
    pass


class Commits:
    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self.barrier: Callable[[], None] = _nothing
        self.presync: Callable[[], None] = _nothing
        self.count = 0
        self._in_barrier = False
        self._touched_saved = 0

    def commit(self) -> None:
        """Everything applied is durable when this returns; when it raises it is all still there."""
        group = self._store.group
        if group.lost is not None:
            group.restart()
        if not group.open or self._in_barrier:
            return  # calls during the barrier are part of the commit that waits for it
        self._in_barrier = True
        try:
            self.barrier()
        finally:
            self._in_barrier = False
        try:
            self._save_and_commit()
        except (NoSpace, Unavailable):
            if group.lost is not None:
                raise
            self._save_and_commit()  # the failed one has made room, if there was any to make
        self.count += 1
        self._store.numbers.committed()
        self._store.roster.committed()

    def _save_and_commit(self) -> None:
        try:
            self._save()
        except DatabaseError as error:
            raise self._store.group.broken_by(error) from error
        self._store.group.commit()

    def _save(self) -> None:
        """What memory has gathered since the last commit."""
        store = self._store
        version = store.applier.version
        if not store.roster.save(version):
            store.execute(_SAVE_VERSION, (version,))  # else the row of a session tells it
        if store.clock_ns() - self._touched_saved >= TOUCHED_STEP_NS:
            self.save_touched()

    def save_touched(self) -> None:
        """When drafts changed is for background work, which knows memory too: rows may lag a little."""
        store = self._store
        touched = store.applier.txn.touched
        for content, changed in touched.items():
            store.execute(_SAVE_CHANGED, (changed, content))
        touched.clear()
        self._touched_saved = store.clock_ns()
