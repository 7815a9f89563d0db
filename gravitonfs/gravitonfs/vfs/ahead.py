"""Reading ahead across files: who opens one small file of a directory after another finds the next in memory.

What a file costs where names and packs are behind a network is a question for its map and one for its
block. Of a window of files both are asked for at once, in the background. Only immutable contents are read
ahead: an open asks for the attributes as ever, and by them a file that somebody replaced meanwhile has
another content.

Evidence comes first: the third small file of one directory within a short time. The next files in the order
of names follow, in windows that double while they are used; who opens files in another order gets up to 16
files ahead for each one that was missing, and so at last the whole directory. On a walk through a tree, where
directories are listed and then read, a listing will do, and the directories that come next are read, too.
"""

from __future__ import annotations

import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice

from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import EXTENTS_OF_MAX, SMALL_CONTENT, Entry
from gravitonfs.ports.ops import Attr
from gravitonfs.vfs.walks import IDLE, Walk

EVIDENCE = 3
_WINDOW = 32
_WINDOW_MAX = EXTENTS_OF_MAX
_WINDOW_LISTED = 256
_PER_MISS = 16
_RUNS = 64
_PLACES = 16_384
_OPENED = 4096
_DIRECTORIES_AHEAD = 8
_OVERHEAD = 512
"""What is remembered of a file."""
_BUDGET_SHARE = 4
"""This part of the cache may be filled with what nobody has opened yet."""


class _Run:
    """A directory whose files are being opened."""

    __slots__ = (
        "begun", "busy", "directory", "done", "fetched", "last", "listed", "next", "opened", "origin",
        "round", "waiting", "window",
    )  # fmt: skip

    def __init__(self, directory: Ino, now: float) -> None:
        self.directory = directory
        self.last = now
        self.opened: set[Ino] = set()
        self.fetched = 0
        self.waiting: dict[Ino, int] = {}
        """Read ahead and not opened yet, with their bytes."""
        self.window = _WINDOW
        self.begun = False
        self.origin = b""
        """Behind this name reading ahead began; it goes round once."""
        self.next = b""
        self.round = False
        self.busy = False
        self.done = False
        self.listed = False


Step = tuple[_Run, Sequence[Entry] | None]


class FilesAhead:
    """Of one mount. Any thread; nothing blocks but the work itself, on the fetch workers.

    ``_lock`` guards everything.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.limit = volume.shared.cache.limit // _BUDGET_SHARE
        """Bytes."""
        beside = volume.namespace.inline and volume.shared.near
        self.active = not beside and self.limit >= SMALL_CONTENT
        self._lock = threading.Lock()
        self._places: dict[Ino, tuple[Ino, bytes]] = {}
        self._runs: OrderedDict[Ino, _Run] = OrderedDict()
        self._pending: dict[Ino, _Run] = {}
        self._bytes = 0
        self._walk = Walk()
        self._finding = False

    @property
    def held(self) -> int:
        """Bytes that are read ahead, or on the way, of files that nobody has opened yet."""
        return self._bytes

    @property
    def working(self) -> bool:
        """Windows are on their way."""
        return self._finding or any(run.busy for run in list(self._runs.values()))

    def stop(self) -> None:
        """Nothing more is begun, and what is under way comes to its end soon. Idempotent."""
        self.active = False

    # --- what the mount sees ---

    def seen(self, directory: Ino, name: bytes, attr: Attr) -> None:
        """A name was looked up."""
        if self.active and _is_small(attr):
            with self._lock:
                self._place(directory, name, attr.ino)

    def listed(self, directory: Ino, after: bytes | None, entries: Sequence[Entry], *, whole: bool) -> None:
        """A page of a directory was read; ``whole``: it has no entries behind that."""
        if not self.active:
            return
        small = [entry for entry in entries if _is_small(entry.attr)]
        with self._lock:
            for entry in small:
                self._place(directory, entry.name, entry.attr.ino)
            if after:
                return
            self._walk.know(directory, _directories(entries))
            run = self._run(directory)
            run.listed = True
            due: list[Step] = []
            if small and self._walk.listed() and not run.begun and self._may_begin(run):
                due.append((run, self._begin(run, entries, whole=whole)))
            if self._walk.goes_on:
                due += [(other, None) for other in self._next_directories(directory)]
            for other, _ in due:
                other.busy = True
        if due:
            self._submit(lambda: self._work(due))

    def opened(self, attr: Attr) -> None:
        """A file was opened for reading."""
        if not self.active or not _is_small(attr):
            return
        with self._lock:
            run = self._pending.pop(attr.ino, None)
            if run is not None:
                self._bytes -= run.waiting.pop(attr.ino)
                run.last = time.monotonic()
                self._note(run, attr.ino)
                if len(run.waiting) > run.window // 2 or not self._may_begin(run):
                    return
            else:
                place = self._places.get(attr.ino)
                if place is None:
                    if not self._finding:
                        self._finding = True
                        self._submit(lambda: self._find(attr))
                    return
                run = self._missed(attr.ino, *place)
                if run is None:
                    return
            run.busy = True
        self._submit(lambda: self._work([(run, None)]))

    # --- evidence; the lock is held ---

    def _place(self, directory: Ino, name: bytes, ino: Ino) -> None:
        places = self._places
        places[ino] = (directory, name)
        if len(places) > _PLACES:
            del places[next(iter(places))]

    def _run(self, directory: Ino) -> _Run:
        now = time.monotonic()
        run = self._runs.get(directory)
        if run is None or (now - run.last > IDLE and not run.busy):
            if run is not None:
                self._drop(run)
            run = self._runs[directory] = _Run(directory, now)
            if len(self._runs) > _RUNS:
                self._drop(next(iter(self._runs.values())))
        run.last = now
        self._runs.move_to_end(directory)
        return run

    def _drop(self, run: _Run) -> None:
        """It is not being read any more; what was read ahead is the cache's."""
        run.done = True
        if self._runs.get(run.directory) is run:
            del self._runs[run.directory]
        self._let_go(run, len(run.waiting))

    def _let_go(self, run: _Run, count: int) -> None:
        for ino in list(run.waiting)[:count]:
            self._bytes -= run.waiting.pop(ino)
            self._pending.pop(ino, None)

    def _note(self, run: _Run, ino: Ino) -> None:
        if run.listed and not run.opened:
            self._walk.read()
        if len(run.opened) < _OPENED:
            run.opened.add(ino)

    def _begin(self, run: _Run, entries: Sequence[Entry], *, whole: bool) -> Sequence[Entry]:
        """The first window, where the first page of a directory is known."""
        known = entries[:_WINDOW_LISTED]
        run.begun = True
        run.next = known[-1].name if known else b""
        run.done = whole and len(known) == len(entries)
        run.window = _WINDOW_LISTED
        return known

    def _next_directories(self, directory: Ino) -> list[_Run]:
        """Runs for the next ones on a walk, once half of those before are used up."""
        coming = list(islice(self._walk.after(directory), _DIRECTORIES_AHEAD))
        fresh = [one for one in coming if one not in self._runs]
        if len(fresh) * 2 < len(coming) or self._bytes >= self.limit:
            return []
        return [self._run(one) for one in fresh]

    def _missed(self, ino: Ino, directory: Ino, name: bytes) -> _Run | None:
        """A file that was not read ahead: the run to go on with, or nothing."""
        run = self._run(directory)
        if ino in run.opened:
            return None
        self._note(run, ino)
        if len(run.opened) < EVIDENCE or run.fetched >= _PER_MISS * len(run.opened):
            return None
        if self._bytes >= self.limit:
            self._let_go(run, len(run.waiting) // 2)  # what was to come next does not come
        if not self._may_begin(run):
            return None
        if not run.begun:
            run.begun = True
            run.origin = run.next = name
        return run

    def _may_begin(self, run: _Run) -> bool:
        if run.busy or run.done:
            return False
        if self._bytes >= self.limit:
            now = time.monotonic()
            for other in list(self._runs.values()):
                if now - other.last > IDLE and not other.busy:
                    self._drop(other)
        return self._bytes < self.limit

    # --- work, on a fetch worker ---

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._volume.shared.fetch_workers.submit(work)
        except RuntimeError:
            self.active = False  # they are shut down

    def _find(self, attr: Attr) -> None:
        """The kernel opened what it had learnt long ago."""
        found = None
        try:
            found = self._volume.namespace.parent(attr.ino)
        except GravitonError:
            pass  # it has gone
        finally:
            with self._lock:
                self._finding = False
                if found is not None:
                    self._place(found[0], found[1], attr.ino)
        if found is not None:
            self.opened(attr)

    def _work(self, steps: Sequence[Step]) -> None:
        """A window of each run, of which the entries may be known."""
        try:
            if self.active:
                found = [(run, self._entries(run) if known is None else known) for run, known in steps]
                self._fetch(found)
        except GravitonError:
            for run, _ in steps:
                run.done = True  # whoever opens the files is told what is wrong
        finally:
            for run, _ in steps:
                run.busy = False

    def _entries(self, run: _Run) -> Sequence[Entry]:
        """The next ones in the order of names; the end of the directory is followed by its beginning."""
        namespace = self._volume.namespace
        if not run.begun:  # on a walk
            entries = namespace.entries(run.directory, None, _WINDOW_LISTED)
            with self._lock:
                self._walk.know(run.directory, _directories(entries))
                return self._begin(run, entries, whole=len(entries) < _WINDOW_LISTED)
        entries = namespace.entries(run.directory, run.next or None, run.window)
        at_end = len(entries) < run.window
        if run.round:
            entries = [entry for entry in entries if entry.name <= run.origin]
            run.done = at_end or len(entries) < run.window
        elif at_end:
            run.round, run.done = True, not run.origin
        run.next = b"" if at_end else entries[-1].name if entries else run.next
        return entries

    def _fetch(self, windows: Sequence[tuple[_Run, Sequence[Entry]]]) -> None:
        maps, shared = self._volume.maps, self._volume.shared
        room = max(self.limit - self._bytes, SMALL_CONTENT + _OVERHEAD)
        chosen: list[tuple[_Run, Attr]] = []
        for run, entries in windows:
            files, reached, room = _choose(run, entries, room)
            if reached < len(entries):
                run.next, run.done = entries[reached - 1].name if reached else run.next, False
                run.round = run.round and run.next <= run.origin
            run.fetched += reached
            run.window = min(run.window * 2, _WINDOW_MAX)
            chosen += [(run, attr) for attr in files]
        found: dict[ContentId, tuple[Extent, ...]] = {}
        contents = list({attr.content for _, attr in chosen if attr.content not in maps})
        for at in range(0, len(contents), EXTENTS_OF_MAX):
            found |= self._volume.namespace.extents_of(contents[at : at + EXTENTS_OF_MAX])
        maps.add(found)
        with self._lock:
            for run, attr in chosen:
                if attr.content in found and self._runs.get(run.directory) is run:
                    self._await(run, attr)
        if self.active:
            shared.fetcher.ahead([(e.block, e.hint, e.length) for extents in found.values() for e in extents])

    def _await(self, run: _Run, attr: Attr) -> None:
        if attr.ino not in self._pending and attr.ino not in run.opened:
            self._pending[attr.ino] = run
            run.waiting[attr.ino] = _cost(attr)
            self._bytes += _cost(attr)


def _choose(run: _Run, entries: Sequence[Entry], room: int) -> tuple[list[Attr], int, int]:
    """The small files for which there is room, how far into the entries they reach, and the room left."""
    chosen: list[Attr] = []
    for count, entry in enumerate(entries):
        attr = entry.attr
        if _is_small(attr) and attr.ino not in run.opened:
            if _cost(attr) > room:
                return chosen, count, room
            room -= _cost(attr)
            chosen.append(attr)
    return chosen, len(entries), room


def _cost(attr: Attr) -> int:
    return attr.size + _OVERHEAD


def _is_small(attr: Attr) -> bool:
    return 0 < attr.size <= SMALL_CONTENT and stat.S_ISREG(attr.mode)


def _directories(entries: Sequence[Entry]) -> list[Ino]:
    return [entry.attr.ino for entry in entries if stat.S_ISDIR(entry.attr.mode)]
