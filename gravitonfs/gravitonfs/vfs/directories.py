"""Reading directories while they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Entry

PAGE = 1000
PAGE_FIRST = 256
"""Where the next page, of twice as many, is asked for meanwhile: so the first one is there soon."""
PAGE_CHANGING = 64
_KEPT = 4 * PAGE
_AT_ONCE = 256
"""Entries for one answer to the kernel, which has room for about so many."""


class Numbered(NamedTuple):
    """An entry with the position that a later read continues behind."""

    position: int
    entry: Entry


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
        self._page: dict[int, Entry] = {}
        self._page_tick = -1

    def read(self, position: int, tick: int) -> Iterator[Numbered]:
        """Entries behind ``position``, as many as the caller takes. ``tick`` rises with every change."""
        if position == 0:
            self._names, self._first, self._page = [], 0, {}
        if position < self._first:
            self._rewind(position)
        while True:
            entry = self._page.get(position) if self._page_tick == tick else None
            if entry is None:
                if not self._load(position, tick):
                    return
                entry = self._page[position]
            position += 1
            yield Numbered(position, entry)

    def page(self, position: int, tick: int) -> list[Numbered]:
        """The entries behind ``position`` that one question brings; empty at the end."""
        result: list[Numbered] = []
        for numbered in self.read(position, tick):
            result.append(numbered)
            if numbered.position not in self._page or len(result) >= _AT_ONCE:
                break
        return result

    def coming(self, position: int) -> Future[Sequence[Entry]] | None:
        """The page at ``position``, where it is on its way: to be waited for off the event loop."""
        ahead = self._ahead
        if ahead is None or ahead.position != position or ahead.entries.done():
            return None
        return None if ahead.entries.cancel() else ahead.entries

    def _load(self, position: int, tick: int) -> bool:
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
        self._page = {position + index: entry for index, entry in enumerate(entries)}
        self._page_tick = tick
        excess = len(self._names) - _KEPT
        if excess > PAGE:
            # Keep the name before the page: it is where the page starts.
            excess = min(excess, position - self._first - 1)
            if excess > 0:
                del self._names[:excess]
                self._first += excess
        return bool(entries)

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

    def _rewind(self, position: int) -> None:
        """seekdir to a place whose name is forgotten: count again from the start."""
        self._names, self._first, self._page = [], 0, {}
        while len(self._names) < position:
            entries = self._list(self.ino, self._names[-1] if self._names else None, PAGE)
            if not entries:
                return
            self._names += [entry.name for entry in entries]
        del self._names[position:]
