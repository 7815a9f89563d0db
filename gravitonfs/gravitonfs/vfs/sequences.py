"""Which small files a mount opens one after another, and what that says of those to come.

The third small file of one directory within a short time begins a sequence. It goes on in the order of names,
in windows that double while half of the last one was used; where files were opened that it did not have, up
to 16 files follow for each of them. On a walk through a tree a listing is enough.
"""

from __future__ import annotations

import stat
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import EXTENTS_OF_MAX, SMALL_CONTENT, Entry
from gravitonfs.ports.ops import Attr
from gravitonfs.vfs.walks import IDLE, Walk

EVIDENCE: Final = 3
LISTED: Final = 256
"""Files of the first window, where a listing has begun it."""
OVERHEAD: Final = 512
"""Bytes that are remembered of a file."""
_FIRST: Final = 32
_PER_MISS: Final = 16
_DIRECTORIES: Final = 64
_DIRECTORIES_AHEAD: Final = 8
_PLACES: Final = 16_384
_OPENED: Final = 4096


class Run:
    """A directory whose files are being opened. While it is ``busy`` a worker has it."""

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
        self.window = _FIRST
        self.next = b""
        self.origin = b""
        """Behind this name reading ahead began; it goes round once."""
        self.round = False
        self.begun = self.busy = self.done = self.listed = False

    def begin(self, entries: Sequence[Entry], *, whole: bool) -> Sequence[Entry]:
        """The first window, where the first page of the directory is known."""
        known = entries[:LISTED]
        self.begun = True
        self.next = known[-1].name if known else b""
        self.done = whole and len(known) == len(entries)
        self.window = LISTED
        return known

    def take(self, page: Sequence[Entry]) -> Sequence[Entry]:
        """What was found behind ``next``: a window. The end of the directory is followed by its beginning."""
        at_end = len(page) < self.window
        if self.round:
            page = [entry for entry in page if entry.name <= self.origin]
            self.done = at_end or len(page) < self.window
        elif at_end:
            self.round, self.done = True, not self.origin
        self.next = b"" if at_end else page[-1].name if page else self.next
        return page

    def choose(self, start: bytes, window: Sequence[Entry], room: int) -> tuple[list[Attr], int]:
        """The small files for which there is room, and the room left; it goes on behind the last of them.
        The window began behind ``start``."""
        chosen: list[Attr] = []
        reached = len(window)
        for count, entry in enumerate(window):
            attr = entry.attr
            if is_small(attr) and attr.ino not in self.opened:
                if cost(attr) > room:
                    reached = count
                    break
                room -= cost(attr)
                chosen.append(attr)
        if reached < len(window):
            self.next, self.done = window[reached - 1].name if reached else start, False
            self.round = self.round and self.next <= self.origin
        self.fetched += reached
        self.window = min(self.window * 2, EXTENTS_OF_MAX)
        return chosen, room


class Sequences:
    """Not thread-safe: the caller has a lock. ``limit``: bytes that may wait to be opened."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        """That wait."""
        self.walk = Walk()
        self._places: dict[Ino, tuple[Ino, bytes]] = {}
        self._pages: deque[tuple[Ino, Sequence[Entry]]] = deque()
        self._unplaced = 0
        self._runs: OrderedDict[Ino, Run] = OrderedDict()
        self._waiting: dict[Ino, Run] = {}

    @property
    def busy(self) -> bool:
        return any(run.busy for run in list(self._runs.values()))

    # --- what is seen ---

    def place(self, directory: Ino, name: bytes, ino: Ino) -> None:
        self._place_listed()
        self._place(directory, name, ino)

    def place_all(self, directory: Ino, entries: Sequence[Entry]) -> None:
        """Of a page that was listed. Most of them nobody opens: they are gone through once somebody
        does."""
        if not entries:
            return
        self._pages.append((directory, entries))
        self._unplaced += len(entries)
        while self._unplaced - len(self._pages[0][1]) > _PLACES:
            self._unplaced -= len(self._pages.popleft()[1])

    def place_of(self, ino: Ino) -> tuple[Ino, bytes] | None:
        self._place_listed()
        return self._places.get(ino)

    def _place(self, directory: Ino, name: bytes, ino: Ino) -> None:
        places = self._places
        places[ino] = (directory, name)
        if len(places) > _PLACES:
            del places[next(iter(places))]

    def _place_listed(self) -> None:
        while self._pages:
            directory, entries = self._pages.popleft()
            for entry in entries:
                if is_small(entry.attr):
                    self._place(directory, entry.name, entry.attr.ino)
        self._unplaced = 0

    def listed(self, directory: Ino, *, small: bool) -> tuple[Run | None, list[Run]]:
        """Its first page was read. The run to begin with it, and those of directories that come next."""
        run = self._run(directory)
        run.listed = True
        begins = small and self.walk.listed() and not run.begun and self._may_go_on(run)
        return run if begins else None, self._next_directories(directory) if self.walk.goes_on else []

    def arrived(self, ino: Ino) -> tuple[bool, Run | None]:
        """A file was opened. Whether it had been read ahead, and the run, if it is to go on."""
        run = self._waiting.pop(ino, None)
        if run is None:
            return False, None
        self.bytes -= run.waiting.pop(ino)
        run.last = time.monotonic()
        self._note(run, ino)
        return True, run if len(run.waiting) <= run.window // 2 and self._may_go_on(run) else None

    def missed(self, ino: Ino, directory: Ino, name: bytes) -> Run | None:
        """A file was opened that had not been read ahead. The run that is to go on."""
        run = self._run(directory)
        if ino in run.opened:
            return None
        self._note(run, ino)
        if len(run.opened) < EVIDENCE or run.fetched >= _PER_MISS * len(run.opened):
            return None
        if self.bytes >= self.limit:
            self._let_go(run, len(run.waiting) // 2)  # what was to come next does not come
        if not self._may_go_on(run):
            return None
        if not run.begun:
            run.begun = True
            run.origin = run.next = name
        return run

    def wait(self, run: Run, attr: Attr) -> None:
        """It is on its way."""
        known = attr.ino in self._waiting or attr.ino in run.opened
        if not known and self._runs.get(run.directory) is run:
            self._waiting[attr.ino] = run
            run.waiting[attr.ino] = cost(attr)
            self.bytes += cost(attr)

    # --- runs ---

    def _run(self, directory: Ino) -> Run:
        now = time.monotonic()
        run = self._runs.get(directory)
        if run is None or (now - run.last > IDLE and not run.busy):
            if run is not None:
                self._drop(run)
            run = self._runs[directory] = Run(directory, now)
            if len(self._runs) > _DIRECTORIES:
                self._drop(next(iter(self._runs.values())))
        run.last = now
        self._runs.move_to_end(directory)
        return run

    def _drop(self, run: Run) -> None:
        """It is not being read any more; what was read ahead is the cache's."""
        run.done = True
        if self._runs.get(run.directory) is run:
            del self._runs[run.directory]
        self._let_go(run, len(run.waiting))

    def _let_go(self, run: Run, count: int) -> None:
        for ino in list(run.waiting)[:count]:
            self.bytes -= run.waiting.pop(ino)
            self._waiting.pop(ino, None)

    def _note(self, run: Run, ino: Ino) -> None:
        if run.listed and not run.opened:
            self.walk.read()
        if len(run.opened) < _OPENED:
            run.opened.add(ino)

    def _may_go_on(self, run: Run) -> bool:
        if run.busy or run.done:
            return False
        if self.bytes >= self.limit:
            now = time.monotonic()
            for other in list(self._runs.values()):
                if now - other.last > IDLE and not other.busy:
                    self._drop(other)
        return self.bytes < self.limit

    def _next_directories(self, directory: Ino) -> list[Run]:
        """The next ones on a walk, once half of those before are used up."""
        coming = list(islice(self.walk.after(directory), _DIRECTORIES_AHEAD))
        fresh = [one for one in coming if one not in self._runs]
        if len(fresh) * 2 < len(coming) or self.bytes >= self.limit:
            return []
        return [self._run(one) for one in fresh]


def cost(attr: Attr) -> int:
    return attr.size + OVERHEAD


def is_small(attr: Attr) -> bool:
    return 0 < attr.size <= SMALL_CONTENT and stat.S_ISREG(attr.mode)


def directories(entries: Sequence[Entry]) -> list[Ino]:
    return [entry.attr.ino for entry in entries if stat.S_ISDIR(entry.attr.mode)]
