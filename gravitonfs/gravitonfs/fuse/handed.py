"""For how long the kernel may keep what it is told, and what it was told so: to be taken back at a recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from gravitonfs.content.fresh import Ticket
from gravitonfs.ports.namespace import Entry

LONGEST: Final = 60.0
_GENERATION: Final = 20.0
MOST: Final = 200_000
"""Names and inodes that are noted at a time. Of those beyond, it is waited until they have run out."""


class Times(Protocol):
    """Seconds that go with an answer. ``mark`` is taken before the question is asked: what has changed since
    may be in the answer or not, and the kernel must not keep it. ``own``: it is the answer to a change, which
    it has in it."""

    def mark(self) -> Ticket | None: ...

    def of_name(self, parent: int, name: bytes, ino: int, mark: Ticket | None, *, own: bool = False) -> float:
        """``parent`` as the kernel numbers it. ``ino`` 0: there is no such name."""

    def of_inode(self, ino: int, mark: Ticket | None, *, own: bool = False) -> float: ...

    def of_page(self, mark: Ticket | None) -> float:
        """As ``of_name``, for many names at once: those that are ``handed`` in the same step."""

    def handed(self, parent: int, entries: Sequence[Entry]) -> None:
        """So many names of one directory with their attributes, for as long as ``of_page`` says."""


class Fixed:
    """Always the same: where whoever changes something tells the kernel before it answers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def mark(self) -> Ticket | None:
        return None

    def of_name(self, parent: int, name: bytes, ino: int, mark: Ticket | None, *, own: bool = False) -> float:
        return self._seconds

    def of_inode(self, ino: int, mark: Ticket | None, *, own: bool = False) -> float:
        return self._seconds

    def of_page(self, mark: Ticket | None) -> float:
        return self._seconds

    def handed(self, parent: int, entries: Sequence[Entry]) -> None:
        pass


class _Generation:
    __slots__ = ("inodes", "named", "names", "since", "until")

    def __init__(self, since: float) -> None:
        self.since = since
        self.until = 0.0
        self.names: dict[int, set[bytes]] = {}
        self.named = 0
        self.inodes: set[int] = set()

    def __len__(self) -> int:
        return self.named + len(self.inodes)

    def add(self, parent: int, names: Iterable[bytes]) -> None:
        known = self.names.get(parent)
        if known is None:
            known = self.names[parent] = set()
        before = len(known)
        known.update(names)
        self.named += len(known) - before


class Noted(NamedTuple):
    """``until`` (``time.monotonic()``) all of it has run out; ``uncounted``: so have those not noted."""

    names: set[tuple[int, bytes]]
    inodes: set[int]
    until: float
    uncounted: float


class Leased:
    """As long as the session is trusted to be alone, and not beyond. On the event loop."""

    def __init__(
        self, trusted_until: Callable[[], float], mark: Callable[[], Ticket | None], most: int = MOST
    ) -> None:
        self._trusted_until = trusted_until
        self.mark = mark
        self._most = most
        self._now = _Generation(0.0)
        self._before: list[_Generation] = []
        self._uncounted = 0.0

    def of_name(self, parent: int, name: bytes, ino: int, mark: Ticket | None, *, own: bool = False) -> float:
        seconds = self._seconds(mark, own)
        if seconds:
            self._now.add(parent, (name,))
            if ino:
                self._now.inodes.add(ino)
        return seconds

    def of_inode(self, ino: int, mark: Ticket | None, *, own: bool = False) -> float:
        seconds = self._seconds(mark, own)
        if seconds:
            self._now.inodes.add(ino)
        return seconds

    def of_page(self, mark: Ticket | None) -> float:
        return self._seconds(mark, own=False)

    def handed(self, parent: int, entries: Sequence[Entry]) -> None:
        self._now.add(parent, [entry.name for entry in entries])
        self._now.inodes.update([entry.attr.ino for entry in entries])

    def _seconds(self, mark: Ticket | None, own: bool) -> float:
        now_mark = self.mark() if mark is not None else None
        if mark is None or now_mark is None or mark.epoch != now_mark.epoch:
            return 0.0
        if not own and mark.moment != now_mark.moment:
            return 0.0
        until = self._trusted_until()
        now = time.monotonic()
        if until <= now:
            return 0.0
        until = min(until, now + LONGEST)
        current = self._now
        if now - current.since > _GENERATION or len(current) >= self._most:
            current = self._next(now)
        current.until = max(current.until, until)
        return until - now

    def _next(self, now: float) -> _Generation:
        """What has run out meanwhile need not be taken back; nor what is too much to."""
        kept = [one for one in (*self._before, self._now) if one.until > now]
        while kept and sum(map(len, kept)) >= self._most:
            self._uncounted = max(self._uncounted, kept.pop(0).until)
        self._before, self._now = kept, _Generation(now)
        return self._now

    def take(self) -> Noted:
        """All that may not have run out."""
        generations = [*self._before, self._now]
        self._before, self._now = [], _Generation(0.0)
        uncounted, self._uncounted = self._uncounted, 0.0
        return Noted(
            {(parent, name) for one in generations for parent, names in one.names.items() for name in names},
            {ino for one in generations for ino in one.inodes},
            max(one.until for one in generations),
            uncounted,
        )
