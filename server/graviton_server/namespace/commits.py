"""What a commit is made of. Order of durable steps: what batches rely on (the barrier), then sessions' rows
and counters, then COMMIT, which flushes the log. Or, after the barrier, one record in the redo log; the
next COMMIT voids it.

Guarded by the store's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import recovery
from graviton_server.namespace.engine import DatabaseError
from graviton_server.namespace.redo import RedoLog, redo_path
from gravitonfs.errors import NoSpace, Unavailable

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

log = logging.getLogger(__name__)

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
        self.count = self.logged = 0
        self._redo: RedoLog | None = None
        self._redo_failed = False
        """A record may or may not be there: the database has to be committed before the next one."""
        self._next_epoch = b""
        self._in_barrier = False
        self._touched_saved = 0

    def open_log(self, epoch: bytes) -> None:
        """Records go to this epoch, which the database has just begun. Without a log all goes on, slower."""
        try:
            self._redo = RedoLog(redo_path(self._store.path), epoch)
        except OSError as error:
            log.warning("there is no redo log, so fsync is slower: %s", error)

    def close_log(self) -> None:
        if self._redo is not None:
            self._redo.close()
            self._redo = None

    def make_durable(self) -> None:
        """As ``commit``, without the database where everything new is in batches."""
        if self._nothing_to_do() or self._all_logged():
            return
        self._pass_barrier()
        if not self._write_record():
            self._commit()

    def commit(self) -> None:
        """Everything applied is durable when this returns; when it raises it is all still there."""
        if self._nothing_to_do():
            return
        self._pass_barrier()
        self._commit()

    def _nothing_to_do(self) -> bool:
        group = self._store.group
        if group.lost is not None:
            group.restart()
        # Calls during the barrier are part of the commit that waits for it.
        return not group.open or self._in_barrier

    def _all_logged(self) -> bool:
        """The redo log has everything already."""
        group = self._store.group
        return group.calls == 0 and group.logged == len(group.entries) and self._store.roster.all_logged()

    def _pass_barrier(self) -> None:
        self._in_barrier = True
        try:
            self.barrier()
        finally:
            self._in_barrier = False

    def _write_record(self) -> bool:
        group, roster = self._store.group, self._store.roster
        redo = self._redo
        if redo is None or self._redo_failed or group.failing or group.calls:
            return False
        payload = recovery.encode(group.entries[group.logged :], roster.unlogged(self._store.applier.version))
        try:
            if not redo.append(payload):
                return False
        except OSError as error:
            log.warning("the redo log cannot be written, the database is committed instead: %s", error)
            self._redo_failed = True
            return False
        group.logged = len(group.entries)
        roster.logged()
        self.logged += 1
        return True

    def _commit(self) -> None:
        group = self._store.group
        try:
            self._save_and_commit()
        except (NoSpace, Unavailable):
            if group.lost is not None:
                raise
            self._save_and_commit()  # the failed one has made room, if there was any to make
        self.count += 1
        if self._next_epoch and self._redo is not None:
            self._redo.restart(self._next_epoch)
            self._next_epoch, self._redo_failed = b"", False
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
        if self._redo is not None and (self._redo_failed or not self._redo.empty):
            self._next_epoch = recovery.renew(store.execute)
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
