"""Reading directories while they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple, Protocol

from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Entry

PAGE = 1000
PAGE_FIRST = 256
"""Where the next page, of twice as many, is asked for meanwhile: so the first one is there soon."""
PAGE_CHANGING = 64
_KEPT = 4 * PAGE


class Page(NamedTuple):
    """Entries behind ``position``. The one at index i stands at ``position + i + 1``, which is what a later
    read continues behind."""

    position: int
    entries: Sequence[Entry]

    @property
    def end(self) -> int:
        return self.position + len(self.entries)


_NOTHING: Final = Page(0, ())


class ListDirectory(Protocol):
    def __call__(self, directory: Ino, after: bytes | None, limit: int, /) -> Sequence[Entry]: ...


Submit = Callable[[Callable[[], Sequence[Entry]]], "Future[Sequence[Entry]] | None"]
"""Runs it beside; None where that is not possible."""


class _Ahead(NamedTuple):
    """A page that was asked for before anybody wants it."""

    position: int
    tick: int
    limit: int
    entries: Future[Sequence[Entry]]


class DirectoryHandle:
    """One open directory. Positions count entries returned; 0 is the start.

    Entries come in byte order of their names, so one that exists all along is returned exactly once
    whatever comes and goes. Attributes of a page that was read ahead are only used while nothing
    changed since (``tick``): the kernel would cache stale ones. With ``submit`` the next page is asked for
    while the kernel takes this one.
    """

    def __init__(self, ino: Ino, list_directory: ListDirectory, submit: Submit | None = None) -> None:
        self.ino = ino
        self._list = list_directory
        self._submit = submit
        self._ahead: _Ahead | None = None
        self._names: list[bytes] = []
        self._first = 0
        """Position before ``_names[0]``: older names are dropped."""
        self._page = _NOTHING
        self._page_tick = -1

    def page(self, position: int, tick: int) -> Page:
        """Entries behind ``position``; none at the end. ``tick`` rises with every change. The kernel has room
        for thousands (``st_blksize`` decides), so that it is asked once for each page."""
        if position == 0:
            self._forget()
        if position < self._first:
            self._rewind(position)
        if self._page_tick != tick or not self._page.position <= position < self._page.end:
            self._load(position, tick)
        return Page(position, self._page.entries[position - self._page.position :])

    def coming(self, position: int) -> Future[Sequence[Entry]] | None:
        """The page at ``position``, where it is on its way: to be waited for off the event loop."""
        ahead = self._ahead
        if ahead is None or ahead.position != position or ahead.entries.done():
            return None
        return None if ahead.entries.cancel() else ahead.entries

    def _load(self, position: int, tick: int) -> None:
        after = self._names[position - self._first - 1] if position > self._first else None
        ahead, self._ahead = self._ahead, None
        entries, limit = self._taken(ahead, position, tick), PAGE
        if ahead is not None and entries is not None:
            limit = ahead.limit
        else:
            if self._page_tick not in (tick, -1):
                limit = PAGE_CHANGING
            elif position == 0 and self._submit is not None:
                limit = PAGE_FIRST
            entries = self._list(self.ino, after, limit)
        if entries and len(entries) >= limit != PAGE_CHANGING:
            self._ask_ahead(position + len(entries), entries[-1].name, tick, min(2 * limit, PAGE))
        del self._names[position - self._first :]
        self._names += [entry.name for entry in entries]
        self._page = Page(position, entries)
        self._page_tick = tick
        excess = len(self._names) - _KEPT
        if excess > PAGE:
            # Keep the name before the page: it is where the page starts.
            excess = min(excess, position - self._first - 1)
            if excess > 0:
                del self._names[:excess]
                self._first += excess

    @staticmethod
    def _taken(ahead: _Ahead | None, position: int, tick: int) -> Sequence[Entry] | None:
        """What was asked for ahead, if it is this page and nothing has changed since it was asked for."""
        if ahead is None or (ahead.position, ahead.tick) != (position, tick) or ahead.entries.cancel():
            return None
        try:
            return ahead.entries.result()
        except GravitonError:
            return None  # asked for by whoever reads, it is told to them

    def _ask_ahead(self, position: int, after: bytes, tick: int, limit: int) -> None:
        if self._submit is not None:
            future = self._submit(lambda: self._list(self.ino, after, limit))
            if future is not None:
                self._ahead = _Ahead(position, tick, limit, future)

    def _forget(self) -> None:
        self._names, self._first, self._page = [], 0, _NOTHING

    def _rewind(self, position: int) -> None:
        """seekdir to a place whose name is forgotten: count again from the start."""
        self._forget()
        while len(self._names) < position:
            entries = self._list(self.ino, self._names[-1] if self._names else None, PAGE)
            if not entries:
                return
            self._names += [entry.name for entry in entries]
        del self._names[position:]
