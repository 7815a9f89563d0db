"""The threads of a store: one commits the open group in time, one moves the log into the database.

Guarded state: none of their own; events only. They stop with the store.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.engine import DatabaseError, connect
from gravitonfs.errors import GravitonError

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

log = logging.getLogger(__name__)

CHECKPOINT_BYTES: Final = 16 << 20
RESTART_BYTES: Final = 64 << 20
"""A log of this size is emptied with the gate closed for its last bit, so that it starts over."""


class Committer:
    def __init__(self, store: NamespaceStore, group_seconds: float) -> None:
        self._store = store
        self._seconds = group_seconds
        self._pending = threading.Event()
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._committed = threading.Event()
        self._threads = [
            threading.Thread(target=self._commit_loop, name="namespace-commit", daemon=True),
            threading.Thread(target=self._checkpoint_loop, name="namespace-checkpoint", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def work(self) -> None:
        """There is something to commit within the group's time."""
        if not self._pending.is_set():
            self._pending.set()

    def hurry(self) -> None:
        self._hurry.set()

    def stop(self) -> None:
        self._stop.set()
        self._pending.set()
        self._hurry.set()
        self._committed.set()
        for thread in self._threads:
            thread.join()

    def _commit_loop(self) -> None:
        while not self._stop.is_set():
            self._pending.wait()
            self._hurry.wait(self._seconds)
            if self._stop.is_set():
                return
            self._pending.clear()
            self._hurry.clear()
            try:
                self._store.commits.presync()
                self._store.commit()
            except Exception as error:  # without this thread nothing would become durable
                known = isinstance(error, GravitonError)
                log.error("changes are not durable yet, trying again: %s", error, exc_info=not known)
                self._pending.set()
                self._stop.wait(self._seconds)
            self._committed.set()

    def _checkpoint_loop(self) -> None:
        while True:
            self._committed.wait()
            self._committed.clear()
            if self._stop.is_set():
                return
            size = self._store.engine.log_bytes()
            if size < CHECKPOINT_BYTES:
                continue
            try:
                # Opened each time, so that a disk that fails just then does not end this thread.
                with closing(connect(self._store.path)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                if size >= RESTART_BYTES:
                    self._store.finish_checkpoint()
            except (DatabaseError, GravitonError) as error:
                log.warning("the namespace's log could not be moved into the database: %s", error)
