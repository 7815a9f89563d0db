"""What a volume does by itself, one kind of work after the other, and when each is due."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from graviton_server.maintenance.backups import BACKUP, Backups, Plan
from graviton_server.maintenance.compact import Policy
from graviton_server.maintenance.contents import Writing
from graviton_server.maintenance.counting import QuotaCounter
from graviton_server.maintenance.digest import Digester
from graviton_server.maintenance.history import HISTORY
from graviton_server.maintenance.rechunk import Rechunker
from graviton_server.maintenance.reports import Collected
from graviton_server.maintenance.schedule import Task, Timing
from graviton_server.maintenance.snapshotting import HOUR, Kept, Snapshotter
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.trash import Emptier
from graviton_server.maintenance.turns import LASTS, turn
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.units import format_size
from gravitonfs.errors import Fenced

DRAIN_BYTES: Final = 8 << 20
DRAIN_SECONDS: Final = 60.0
_REAP_STEP: Final = 512
_LOOK_AGAIN: Final = 600.0
TEND: Final = "tend"
_TEND: Final = 60.0
_NEARLY_FULL: Final = 10
_NEARLY_FULL_BYTES: Final = 1 << 30
"""With less than this part of the target free, and less than so much, space is given back at once. Well
above what the pack store keeps in reserve: writers are refused from there on."""


class Settings(NamedTuple):
    """Seconds and bytes a second. ``settled``: how long a file must have been left alone before it is
    re-chunked or digested."""

    grace: float | None = None
    """How long a condemned pack stays; None: as is right for the store."""
    keep: float = 0.0
    """Packs younger than this are left alone."""
    settled: float = 10.0
    idle: float = 3.0
    collect_rest: float = 15.0
    patience: float = 120.0
    bytes_per_second: int = 96 << 20
    compaction: Policy | None = None
    """None: as is right for the store."""
    snapshots: Kept = Kept()
    """Those that the clock makes."""
    trash_days: int = 1
    backup: Plan = Plan()
    history_interval: float = 0.0
    """How often usage is noted; 0: never."""


class _Alarm:
    """Counts the times that something was due by the clock alone. Used by one thread."""

    def __init__(self) -> None:
        self._at = float("inf")
        self._count = 0

    def set(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def rung(self) -> int:
        if time.monotonic() >= self._at:
            self._at = float("inf")
            self._count += 1
        return self._count


class Chores:
    """Run by one thread at a time, but for ``reap``."""

    def __init__(
        self,
        stores: Stores,
        volume: Callable[[], Volume],
        settings: Settings,
        writing: Writing,
        collect: Callable[[Work], Collected | None],
        due_in: Callable[[], float | None],
        let_go: Callable[[], None],
        backups: Backups | None,
        back_up: Callable[[Work], str],
        note_usage: Callable[[Work], str],
    ) -> None:
        """``collect``: None where it is another engine's turn. ``due_in``: seconds until a condemned pack
        may be deleted. ``let_go``: the session of ``volume`` has ended, the next call attaches anew."""
        self._stores = stores
        self._volume = volume
        self._settings = settings
        self._writing = writing
        self._collect = collect
        self._due_in = due_in
        self._let_go = let_go
        self._counter = QuotaCounter(stores)
        self.emptier = Emptier(stores, settings.trash_days, self.nearly_full)
        self._backups = backups
        self._back_up = back_up
        self._note_usage = note_usage
        self._collection = _Alarm()
        self._tidying = _Alarm()
        self._drained_at = time.monotonic()
        self._drain_seen: object = None
        self._version = -1
        self._version_at = 0.0
        self._digester: Digester | None = None
        self._rechunker: Rechunker | None = None

    def tasks(self) -> list[Task]:
        settings, upkeep = self._settings, self._stores.upkeep
        heavy = Timing(settings.idle, settings.patience, rest=1.0, rest_factor=1.0)
        collection = Timing(settings.idle, settings.patience, settings.collect_rest, rest_factor=10.0)
        return [
            Task(TEND, self._run_tend, self._tend_due, Timing(rest=_TEND)),
            *self._by_the_clock(),
            Task("drain", self._run_drain, self._drain_due, Timing()),
            Task("trash", self.emptier.run, self.emptier.due, Timing()),
            Task("quotas", self._counter.run, self._counter.due, Timing()),
            Task("reap", self._run_reap, upkeep.version, Timing(rest=0.5)),
            Task("rechunk", self._run_rechunk, self._tidy_due, heavy),
            Task("digest", self._run_digest, self._tidy_due, heavy),
            Task("collect", self._run_collect, self._collect_due, collection),
        ]

    def _by_the_clock(self) -> list[Task]:
        """Before what takes long."""
        kept, store = self._settings.snapshots, self._stores.snapshots
        tasks = []
        if store is not None and any(kept):
            snapshotter = Snapshotter(store, kept, self._stores.packs.clock_ns)
            tasks.append(Task("snapshot", snapshotter.run, lambda: int(time.time()) // HOUR, Timing()))
        if self._backups is not None:
            tasks.append(Task(BACKUP, self._back_up, self._backups.due, Timing()))
        every = self._settings.history_interval
        if every:
            timing = Timing(self._settings.idle, self._settings.patience)
            tasks.append(Task(HISTORY, self._run_history, lambda: int(time.time() / every), timing))
        return tasks

    def nearly_full(self) -> bool:
        space = self._stores.target.space()
        return bool(space.capacity) and space.free < min(space.capacity // _NEARLY_FULL, _NEARLY_FULL_BYTES)

    def _settled_changes(self) -> object:
        """Differs once after every change, as soon as that has settled; else now and then."""
        version, now = self._stores.upkeep.version(), time.monotonic()
        if version != self._version:
            self._version, self._version_at = version, now
        if now - self._version_at >= self._settings.settled:
            return version, int(now / _LOOK_AGAIN)
        return int(now / max(self._settings.patience, 1.0))

    def _tidy_due(self) -> object:
        """Again after a while where another engine had the turn."""
        return self._settled_changes(), self._tidying.rung()

    def _collect_due(self) -> object:
        """What waits for its time does so without any change."""
        return self._stores.upkeep.version(), self._collection.rung()

    def _tend_due(self) -> object:
        return int(time.monotonic() / _TEND) if self._stores.tended else None

    def _idle_before(self) -> int:
        return self._stores.packs.clock_ns() - int(self._settings.settled * 1e9)

    def _drain_due(self) -> object:
        held = self._stores.loose.loose_bytes()
        due = held >= DRAIN_BYTES or (held and time.monotonic() - self._drained_at >= DRAIN_SECONDS)
        return self._drained_at if due else self._drain_seen

    def _run_tend(self, work: Work) -> str:
        with turn(self._stores.housekeeping, TEND, work) as ours:
            return self._stores.blocks.tend() if ours else ""

    def _run_history(self, work: Work) -> str:
        """By one engine: what it notes is of the whole store."""
        rest = self._settings.history_interval / 2
        with turn(self._stores.housekeeping, HISTORY, work, rest) as ours:
            if not ours:
                return ""
            try:
                return self._note_usage(work)
            except Fenced:  # as in ``_in_turn``
                self._let_go()
                return self._note_usage(work)

    def _run_drain(self, work: Work) -> str:
        """By one engine: two would put the same blocks into packs of each."""
        held = self._stores.loose.loose_bytes()
        self._drain_seen, self._drained_at = self._drain_due(), time.monotonic()
        if not held:
            return ""
        with turn(self._stores.housekeeping, "drain", work) as ours:
            count = self._stores.blocks.drain_loose() if ours else 0
        return f"{count} loose blocks, {format_size(held)}, put into packs" if count else ""

    def reap(self, work: Work) -> int:
        total = 0
        while count := self._stores.upkeep.reap(_REAP_STEP):
            total += count
            work.tell(total, 0, "removed files freed")
        return total

    def _run_reap(self, work: Work) -> str:
        count = self.reap(work)
        return f"{count} rows of removed files freed" if count else ""

    def _in_turn(self, what: str, work: Work, run: Callable[[Work], str]) -> str:
        with turn(self._stores.housekeeping, what, work) as ours:
            if not ours:
                self._tidying.set(LASTS)
                return ""
            try:
                return run(work)
            except Fenced:  # somebody has ended the session: that of before is of no use any more
                self._rechunker = self._digester = None
                self._let_go()
                return run(work)

    def _run_rechunk(self, work: Work) -> str:
        return self._in_turn("rechunk", work, self._rechunk)

    def _run_digest(self, work: Work) -> str:
        return self._in_turn("digest", work, self._digest)

    def _rechunk(self, work: Work) -> str:
        if self._rechunker is None:
            self._rechunker = Rechunker(self._stores, self._volume())
        done = self._rechunker.run(self._idle_before(), work)
        if not done.contents and not done.flattened:
            return ""
        return (
            f"{done.contents} files cut anew, {done.extents_before} extents are {done.extents_after};"
            f" {done.flattened} flattened"
        )

    def _digest(self, work: Work) -> str:
        if self._digester is None:
            self._digester = Digester(self._stores.upkeep, self._volume(), self._writing)
        done = self._digester.run(self._idle_before(), work)
        return f"{done.contents} files sealed, {format_size(done.bytes)}" if done.contents else ""

    def _run_collect(self, work: Work) -> str:
        done = self._collect(work)
        if done is None:
            self._collection.set(max(self._settings.collect_rest, LASTS))
            return ""
        wait = self._due_in()
        if wait is not None:
            self._collection.set(wait + 1.0)
        if not done.condemned and not done.deleted and not done.compacted:
            return ""
        return f"{done.deleted} packs deleted, {format_size(done.freed_bytes)} given back"
