"""A volume's maintenance: what the commands call, and what runs by itself."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from graviton_server.maintenance import backup
from graviton_server.maintenance.backups import Backups
from graviton_server.maintenance.chores import TEND, Chores, Settings
from graviton_server.maintenance.collect import EMBEDDED, Caution, collect, due_in, together
from graviton_server.maintenance.compact import compact, open_waste
from graviton_server.maintenance.contents import Writing
from graviton_server.maintenance.fence import settle_fence
from graviton_server.maintenance.fsck import check
from graviton_server.maintenance.history import History, MarkTimes
from graviton_server.maintenance.kept import (
    drop,
    free_path,
    kept_dumps,
    path_of,
    the_dump,
    tidy,
    what_it_frees,
)
from graviton_server.maintenance.mark import Mark, rows_of
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.objects import check_objects, object_length
from graviton_server.maintenance.reports import (
    Archived,
    Checked,
    Collected,
    DroppedDump,
    Dumped,
    Figures,
    KeptDump,
    Scrubbed,
    TaskStatus,
)
from graviton_server.maintenance.schedule import Supervisor
from graviton_server.maintenance.scrub import scrub
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.turns import LASTS, kept_up, own_turn, turn
from graviton_server.maintenance.usage import Marked, figures
from graviton_server.maintenance.work import Activity, Work
from graviton_server.replication.repair import Repair
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import BlockId, Ino
from gravitonfs.errors import Unsupported
from gravitonfs.ports.target import Target

_LOOK: Final = 0.2
COLLECT: Final = "collect"


class Maintenance:
    """One of an engine. Thread-safe.

    ``_turn`` makes collection, dumps and scrubs of one store come one after the other; ``_lock``
    guards ``_marked``, ``_session`` and ``_writing``.
    """

    def __init__(
        self,
        stores: Stores,
        open_volume: Callable[[], Volume],
        activity: Activity,
        dumps: Path,
        settings: Settings | None = None,
        caution: Caution = EMBEDDED,
    ) -> None:
        """``open_volume``: a session with caches of its own, called once when it is needed. ``activity``:
        see there. ``dumps``: the directory of retained dumps."""
        self._stores = stores
        self._open_volume = open_volume
        self._activity = activity
        self._dumps = dumps
        self._settings = settings = settings or Settings()
        grace = caution.grace_ns if settings.grace is None else int(settings.grace * 1e9)
        self._caution = caution._replace(grace_ns=grace, keep_ns=int(settings.keep * 1e9))
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._session: Volume | None = None
        self._marked: tuple[int, Marked] | None = None
        self._writing: list[Writing] = []
        self.backups = None if stores.archive is None else Backups(stores, stores.archive, settings.backup)
        self._chores = Chores(
            stores,
            lambda: self._volume,
            settings,
            self._is_written,
            self._collect_by_itself,
            lambda: due_in(stores, self._caution),
            self._session_has_ended,
            self.backups,
            self._back_up_by_itself,
            self._note_usage,
        )
        self.history = History(lambda: self._volume)
        self._marks = MarkTimes()
        self._supervisor = Supervisor(
            self._chores.tasks(),
            activity=activity,
            urgent=self._chores.nearly_full,
            bytes_per_second=settings.bytes_per_second,
        )

    @property
    def _volume(self) -> Volume:
        with self._lock:
            if self._session is None:
                self._session = self._open_volume()
            return self._session

    def _session_has_ended(self) -> None:
        with self._lock:
            self._session = None

    # --- by itself -----------------------------------------------------------------------------------

    def start(self) -> None:
        self._supervisor.start()

    def close(self) -> None:
        """Stop what runs, at a safe point, and end the session. Idempotent."""
        self._supervisor.stop()
        with self._lock:
            if self._session is not None:
                self._session.close()

    def status(self) -> list[TaskStatus]:
        tended = self._stores.tended
        return [task for task in self._supervisor.status() if tended or task.name != TEND]

    def lead_to(self, target: Target, copies: Repair | None, owner: str) -> None:
        """The store has several targets from now on."""
        stores = self._stores
        stores.target, stores.copies, stores.owner, stores.tended = target, copies, owner, True

    def wake(self, *names: str) -> None:
        """Look for work now: ``drain``, ``reap``, ``rechunk``, ``digest``, ``collect``; all by default."""
        self._supervisor.wake(*names)

    def settle(self, timeout: float) -> bool:
        """Do all there is to do without waiting for idle times; False when that took too long."""
        return self._supervisor.settle(timeout)

    def ask_writing(self, writing: Writing) -> Callable[[], None]:
        """Ask this before a file is sealed; call what is returned to be asked no longer."""
        with self._lock:
            self._writing.append(writing)

        def forget() -> None:
            with self._lock:
                self._writing.remove(writing)

        return forget

    # --- on command ----------------------------------------------------------------------------------

    def collect(
        self,
        work: Work | None = None,
        *,
        dry_run: bool = False,
        compaction: bool = True,
        empty_trash: bool = False,
    ) -> Collected:
        """``graviton gc``: free what nothing names, condemn and delete packs, compact wasteful ones.
        ``empty_trash``: what was removed is first erased for good (with ``dry_run`` only counted)."""
        work = work or Work()
        if empty_trash:
            erased = self._chores.emptier.empty(work, dry_run=dry_run)
            report = self.collect(work, dry_run=dry_run, compaction=compaction)
            return msgspec.structs.replace(report, erased=erased)
        self._wait_for_index(work)
        with self._in_turn(work), own_turn(self._stores.housekeeping, COLLECT, work):
            tidy(self._stores, self._dumps)
            return self._collect(work, dry_run=dry_run, compaction=compaction)

    def _collect_by_itself(self, work: Work) -> Collected | None:
        """None where another engine of the store does it, or has done it just now."""
        self._wait_for_index(work)
        if self._stores.is_shard():
            return None
        rest = self._settings.collect_rest
        with self._in_turn(work), turn(self._stores.housekeeping, COLLECT, work, rest) as ours:
            tidy(self._stores, self._dumps)
            return self._collect(work, dry_run=False, compaction=True) if ours else None

    def _back_up_by_itself(self, work: Work) -> str:
        assert self.backups is not None
        self._wait_for_index(work)
        with self._in_turn(work):
            return self.backups.run(work, lambda: self._chores.reap(work))

    def _wait_for_index(self, work: Work) -> None:
        while not self._stores.blocks.filled(_LOOK):  # else a mark would search all footers
            work.check()

    def _collect(self, work: Work, *, dry_run: bool, compaction: bool) -> Collected:
        if self._stores.is_shard():
            raise Unsupported(
                "this store is a shard: what its packs are needed for is known to its router alone"
            )
        if self.backups is not None:
            self.backups.check_fence()
            self.backups.hold()
        if not dry_run:
            self._chores.reap(work)
        version = self._stores.upkeep.version()
        report, mark = collect(
            self._stores, work, dry_run=dry_run, caution=self._caution, more_roots=self._dump_roots()
        )
        self._keep(version, mark)
        if not dry_run and open_waste(self._stores, mark):
            self._stores.blocks.seal_open()
            first = report
            report, mark = collect(self._stores, work, caution=self._caution, more_roots=self._dump_roots())
            report = together(first, report)
        if dry_run or not compaction:
            return report
        return self._compact(report, mark, work)

    def check(
        self,
        work: Work | None = None,
        *,
        read_data: bool = False,
        rebuild_index: bool = False,
        repair: bool = False,
        after_restore: bool = False,
        agreed: Collection[str] | None = None,
    ) -> Checked:
        """``graviton fsck``. Damage does not raise: see the findings, and the plan of what can be repaired;
        ``agreed``: what of that is."""
        work = work or Work()
        with self._in_turn(work):
            if after_restore:
                self._stores.upkeep.restored()
                rebuild_index = repair = True
                if self._stores.archive is not None:
                    archive = self._stores.archive
                    settle_fence(archive.target, self._stores.upkeep, archive.store_uuid)
            return check(
                self._stores,
                self._volume,
                work,
                read_data=read_data,
                rebuild_index=rebuild_index,
                repair=repair,
                agreed=agreed,
                harmless=after_restore,
            )

    def scrub(self, work: Work | None = None) -> Scrubbed:
        """``graviton scrub``; the rate is that of ``work``. Goes on where a stopped run was."""
        work = work or Work()
        with self._in_turn(work):
            return scrub(self._stores, self._volume, work)

    def dump(self, sink: backup.Sink, work: Work | None = None) -> Dumped:
        """``graviton dump``: the namespace, compressed, into ``sink``."""
        work = work or Work()
        with self._in_turn(work), self._dumping(f"passing-{uuid.uuid4()}", work):
            self._chores.reap(work)  # what nothing names any more would be missed when the dump is loaded
            return backup.dump(self._stores, sink, work)

    def retain_dump(self, name: str, work: Work | None = None) -> Dumped:
        """A dump kept with the volume: what it names is not collected while it is there, by no engine.

        Order of durable steps: the store knows that a dump is being written, and condemns nothing; the
        file, whole and named; the store knows which packs it needs."""
        work = work or Work()
        with self._in_turn(work):
            tidy(self._stores, self._dumps)
            path = free_path(self._dumps, name)
            return self._retain(name, path, work)

    def _retain(self, name: str, path: Path, work: Work) -> Dumped:
        with self._dumping(name, work) as keep:
            self._chores.reap(work)
            report = backup.dump_to_file(self._stores, path, work)
            try:
                keep(lambda: backup.dumped_blocks(backup.file_pieces(path)))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return report

    def back_up(self, work: Work | None = None) -> Archived:
        """A dump on the targets now, beside those that the clock makes. Waits for one that is being made."""
        if self.backups is None:
            raise Unsupported("this store keeps no dumps on its targets")
        work = work or Work()
        self._wait_for_index(work)
        with self._in_turn(work):
            self._chores.reap(work)
            return self.backups.make(work)

    def dumps(self) -> list[KeptDump]:
        """Those that are kept with the volume, by whichever engine, then those on the targets."""
        kept = kept_dumps(self._stores, self._dumps)
        return kept if self.backups is None else kept + self.backups.dumps()

    def drop_dump(
        self, name: str, owner: str | None = None, work: Work | None = None, *, dry_run: bool = False
    ) -> DroppedDump:
        """A retained dump that is wanted no longer, and what the next collections free for it. One of another
        engine holds nothing any more; that engine removes its file. NotFound, Invalid."""
        work = work or Work()
        path_of(self._dumps, name)
        self._wait_for_index(work)
        with self._in_turn(work):
            tidy(self._stores, self._dumps)
            dump = the_dump(self.dumps(), name, owner)
            self._chores.reap(work)  # what nothing names any more would be counted as needed
            report = what_it_frees(self._stores, self._dumps, dump, work)
            if not dry_run and dump.on_targets:
                assert self.backups is not None
                self.backups.drop(dump.name, work)
            elif not dry_run:
                drop(self._stores, self._dumps, dump)
        if not dry_run:
            self.wake("collect")
        return report

    def figures(self, work: Work | None = None) -> Figures:
        """``graviton info``. Reads the whole map once after a change, else answers from memory."""
        version = self._stores.upkeep.version()
        with self._lock:
            known = self._marked
        if known is None or known[0] != version:
            known = self._keep(version, mark_live(self._stores, work or Work()))
        return figures(self._stores, self._volume.namespace.usage(), known[1])

    def _note_usage(self, work: Work) -> str:
        """A mark is made for it only where those of collections are too old, and never for a hundredth of the
        time."""
        if not self._stores.blocks.filled(0.0):
            return ""  # next time: what comes after this in the round does not wait for it
        version = self._stores.upkeep.version()
        with self._lock:
            known = self._marked
        if known is None or (known[0] != version and self._marks.due()):
            with self._marks.timed():
                known = self._keep(version, mark_live(self._stores, work))
        store = self._stores.snapshots
        return self.history.note(
            int(self._stores.packs.clock_ns() / 1e9),
            [] if store is None else store.volume_rows(),
            known[1].plain,
            self.stored_bytes(),
        )

    def stored_bytes(self) -> int:
        """What packs and loose blocks take: as their rows tell, and the target of those that are open."""
        packs = sum(row.length or object_length(self._stores, row) for row in rows_of(self._stores.packs))
        return packs + self._stores.loose.loose_bytes()

    def unhealthy(self) -> int:
        """How many live packs are not on the target, or not whole."""
        return len(check_objects(self._stores)[0])

    # --- inside --------------------------------------------------------------------------------------

    @contextmanager
    def _in_turn(self, work: Work) -> Iterator[None]:
        """Wait for what others do, but not longer than whoever asked."""
        while not self._turn.acquire(timeout=_LOOK):
            work.check()
        try:
            yield
        finally:
            self._turn.release()

    def _is_written(self, ino: Ino) -> bool:
        with self._lock:
            asked = list(self._writing)
        return any(writing(ino) for writing in asked)

    def _compact(self, report: Collected, mark: Mark, work: Work) -> Collected:
        if self._chores.nearly_full():
            mark.pinned |= mark.held  # no room for what would be double
        done = compact(self._stores, mark, work, policy=self._settings.compaction, caution=self._caution)
        return msgspec.structs.replace(
            report,
            condemned=report.condemned + done.packs - done.kept,
            deleted=report.deleted + done.deleted,
            freed_bytes=report.freed_bytes + done.freed_bytes,
            compacted=done.packs,
            moved_bytes=done.moved_bytes,
            kept=report.kept + done.kept,
        )

    @contextmanager
    def _dumping(self, name: str, work: Work) -> Iterator[Callable[[Callable[[], Iterable[BlockId]]], None]]:
        """While a dump is written; it is forgotten at the end unless it was kept by what this gives."""
        house, owner = self._stores.housekeeping, self._stores.owner
        house.begin_dump(owner, name, LASTS)
        kept = False

        def keep(blocks: Callable[[], Iterable[BlockId]]) -> None:
            nonlocal kept
            backup.hold(self._stores, blocks, work, lambda packs: house.keep_dump(owner, name, packs))
            kept = True

        try:
            with kept_up(lambda: house.renew_dump(owner, name, LASTS), work):
                yield keep
        finally:
            if not kept:
                house.drop_dump(owner, name)

    def _dump_roots(self) -> Iterator[Iterator[BlockId]]:
        return backup.retained_roots(self._dumps)

    def _keep(self, version: int, mark: Mark) -> tuple[int, Marked]:
        known = version, Marked(mark.live_blocks, mark.live_plain, mark.live_stored)
        with self._lock:
            self._marked = known
        return known
