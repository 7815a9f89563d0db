"""A volume as front ends use it: names, bytes in, bytes out."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

from gravitonfs.content.budget import Budget
from gravitonfs.content.cache import BlockCache
from gravitonfs.content.held import Held
from gravitonfs.content.ingest import Ingest, LooseRoom, Pacer, Recent, Waiting
from gravitonfs.content.maps import SmallMaps
from gravitonfs.content.names_cache import AnswerCounts
from gravitonfs.content.reader import ContentReader, Fetcher
from gravitonfs.content.session import Session
from gravitonfs.content.stage import StagedFile
from gravitonfs.content.writer import FileWriter
from gravitonfs.core.ids import Ino
from gravitonfs.journal.journal import Journal
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr, Op, Result


class Content:
    """What the volumes of one process share: the block store, caches, budgets and worker threads. ``_lock``
    guards ``_ingests`` and ``waiting``."""

    def __init__(
        self,
        store: BlockStore,
        *,
        loose: LooseRoom | None = None,
        pace: Pacer | None = None,
        unasked: int = 0,
        waiting: Waiting | None = None,
        dirty_limit: int = 128 << 20,
        cache_limit: int = 128 << 20,
        near: bool = False,
        stream_limit: int = 32 << 20,
        processors: int | None = None,
    ) -> None:
        """``near``: the store is on a local disk, where one block takes less than a millisecond."""
        self.store = store
        self.near = near
        self.loose = loose
        self.pace = pace
        self.unasked = unasked
        self.waiting = waiting
        self._lock = threading.Lock()
        self._ingests: weakref.WeakSet[Ingest] = weakref.WeakSet()
        self.names = AnswerCounts()
        self.dirty = Budget(dirty_limit)
        self.cache = BlockCache(cache_limit)
        cores = processors or os.cpu_count() or 2
        self.ingest_workers = ThreadPoolExecutor(cores + 1, "ingest")
        self.held = Held(self.ingest_workers)
        self.passed = 0
        """Calls that went past the pipeline, straight to the store; a lost increment is harmless."""
        self.fetch_workers = ThreadPoolExecutor(cores + 1, "fetch")
        # Most of these wait for the medium. A mount has none: more threads would only be in its loop's way.
        self.run_workers = ThreadPoolExecutor(2 * cores + 2, "run")
        self.fetcher = Fetcher(
            store, self.cache, self.fetch_workers, self.run_workers, Budget(stream_limit), far=not near
        )

    def join(self, ingest: Ingest) -> None:
        """An attached volume's: it is told when packs begin to go up whole."""
        with self._lock:
            self._ingests.add(ingest)
            ingest.wait_for_packs(self.waiting)

    def packs_go_up_whole(self, waiting: Waiting) -> None:
        """From now on, for the volumes that are attached, too; called before the store does so."""
        with self._lock:
            self.waiting, self.near = waiting, False
            for ingest in self._ingests:
                ingest.wait_for_packs(waiting)
        self.fetcher.read_from_afar()

    def close(self) -> None:
        """Waits for work that has begun; every volume is closed before."""
        self.ingest_workers.shutdown()
        self.fetch_workers.shutdown(cancel_futures=True)
        self.run_workers.shutdown(cancel_futures=True)


class Volume:
    """One attached volume. Thread-safe, except for the readers and writers it hands out."""

    def __init__(self, namespace: Namespace, content: Content) -> None:
        self.namespace = namespace
        self.store = content.store
        self.shared = content
        self.session = Session(namespace)
        self.maps = SmallMaps()
        self.journal: Journal | None = None
        """Where there is one, it answers ``fsync``."""
        self.ingest = Ingest(
            self.session,
            content.store,
            namespace.format,
            budget=content.dirty,
            workers=content.ingest_workers,
            loose=content.loose,
            pace=content.pace,
            unasked=content.unasked,
            held=content.held,
            # A local store has them at hand anyway, and the kernel too.
            recent=None if namespace.inline else Recent(content.cache, self.maps),
        )
        content.join(self.ingest)

    def submit(self, *ops: Op, durable: bool = False) -> tuple[Result, ...]:
        """One user operation: one batch, atomic. Raises the error of the op that failed."""
        return self.session.submit(ops, durable=durable)

    def submit_for_attr(self, op: Op, *, durable: bool = False) -> Attr:
        return self.session.submit_for_attr(op, durable=durable)

    def submit_later(self, *ops: Op) -> None:
        """See ``Session``."""
        self.session.submit_later(*ops)

    def new_ino(self) -> Ino:
        return self.session.new_ino()

    def reader(self, attr: Attr) -> ContentReader:
        return ContentReader(self.namespace, self.shared.fetcher, attr, self.maps)

    def writer(self, attr: Attr) -> FileWriter:
        return FileWriter(self.ingest, attr, self._tail_of)

    def stage(self, *, mode: int, uid: int, gid: int) -> StagedFile:
        return StagedFile(self.ingest, mode=mode, uid=uid, gid=gid)

    def commit(self, *, own: bool = False) -> None:
        """Wait until everything applied so far survives power loss; with ``own`` what others did need not."""
        self.session.commit(own=own)

    def close(self) -> None:
        """End the session; what it staged and did not publish goes. Idempotent."""
        self.session.close()
        self.namespace.detach()

    def _tail_of(self, attr: Attr) -> bytes:
        return self.reader(attr).tail(self.namespace.format.block_min)
