"""The targets of a store as this process has them: opened or not, in trouble or not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

from graviton_server.replication.latency import Latency
from graviton_server.replication.placement import Place, Wish, chosen, ranked
from graviton_server.replication.settings import Settings
from gravitonfs.core.units import format_size
from gravitonfs.errors import GravitonError, NoSpace, NotFound, Unavailable
from gravitonfs.ports.replicas import CopyState, Replicas, TargetNumber, TargetRow, TargetState
from gravitonfs.ports.target import Space, Target, close_target

_log = logging.getLogger(__name__)

AVOIDED: Final = 10.0
"""Seconds that a target is left alone after a failure, as far as others do."""
_PRESENCE: Final = 10.0
_ROOM: Final = 0.05
"""Of its capacity: a target with less is nearly full."""
_ROOM_AGAIN: Final = 0.08
_STORE: Final = "store"
Opener = Callable[[TargetRow], Target]
Guard = Callable[[Target], None]


def place_of(row: TargetRow) -> Place:
    return Place(row.number, row.name, row.zone, row.weight, row.copies, row.zones)


class Member:
    """A target. Attributes are replaced whole; a stale one costs a try."""

    def __init__(self, row: TargetRow, guard: Guard) -> None:
        self.row = row
        self._guard = guard
        self.target: Target | None = None
        self.trouble = ""
        self.latency = Latency()
        self.nearly_full = False
        self.used = 0
        """Bytes of packs, as of the last count, and what this process has put since."""
        self._avoid_until = 0.0
        self._seen = 0.0

    def check_room(self, size: int) -> None:
        """Raises ``NoSpace``."""
        if self.row.capacity and self.used + size > self.row.capacity:
            raise NoSpace(
                f"the target {self.name} has {format_size(self.used)} of its {format_size(self.row.capacity)}"
            )

    def space(self) -> Space:
        space = self.opened().space()
        capacity = self.row.capacity
        if not capacity:
            return space
        free = max(0, capacity - self.used)
        return Space(capacity, min(free, space.free) if space.capacity else free)

    def look_for_room(self) -> None:
        """Whether it takes new packs while others can; again once there is clearly more room. A target in
        trouble is asked whether it is still: readers go to others meanwhile, and learn nothing of it."""
        if self.target is None:
            return
        try:
            space = self.space()
            if self.trouble:
                self.opened().head(_STORE)
                self.works()
        except (Unavailable, NotFound) as error:
            self.failed(error)
            return
        except GravitonError:
            return
        least = _ROOM_AGAIN if self.nearly_full else _ROOM
        full = bool(space.capacity) and space.free < least * space.capacity
        if full and not self.nearly_full:
            _log.warning(
                "the target %s is nearly full: %s are left; new packs go to others where they can",
                self.name,
                format_size(space.free),
            )
        self.nearly_full = full

    @property
    def number(self) -> TargetNumber:
        return self.row.number

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def place(self) -> Place:
        return place_of(self.row)

    @property
    def avoided(self) -> bool:
        return self.target is None or time.monotonic() < self._avoid_until

    def opened(self) -> Target:
        target = self.target
        if target is None:
            raise Unavailable(
                f"the target {self.name} is not open: {self.trouble or 'it was not reached yet'}"
            )
        return target

    def failed(self, error: Exception) -> None:
        if not self.trouble:
            _log.warning("the target %s fails: %s", self.name, error)
        self.trouble = str(error)
        self._avoid_until = time.monotonic() + AVOIDED

    def works(self) -> None:
        if self.trouble:
            _log.info("the target %s works again", self.name)
        self.trouble = ""
        self._avoid_until = 0.0

    def present(self) -> Target:
        """The target, once it was seen lately that it is still this store's: a disk that is not mounted any
        more looks like an empty directory. Raises as ``head`` does, and what the guard does."""
        target = self.opened()
        now = time.monotonic()
        if now - self._seen > _PRESENCE:
            try:
                target.head(_STORE)
            except NotFound as error:
                lost = Unavailable(
                    f"the target {self.name} has lost its object 'store': is its disk mounted? If it is new"
                    f" and empty: graviton target set {self.name} --renew"
                )
                self.failed(lost)
                raise lost from error
            self._guard(target)
            self._seen = now
        return target

    def doubt(self) -> None:
        """Something is missing: look again whether it is there at all."""
        self._seen = 0.0


class Members:
    """``_lock`` guards opening and closing; ``_all`` is replaced whole."""

    def __init__(self, replicas: Replicas, opener: Opener) -> None:
        self.replicas = replicas
        self._opener = opener
        self.settings = Settings()
        self.guard: Guard = lambda target: None
        """Raises where a target must not be written to or deleted from any more: asked now and then."""
        self._lock = threading.Lock()
        self._all: dict[TargetNumber, Member] = {}

    def refresh(self) -> None:
        """What the database says now; targets that could not be opened are tried again."""
        rows = self.replicas.targets()
        self.settings = Settings.decode(self.replicas.settings())
        with self._lock:
            found: dict[TargetNumber, Member] = {}
            for row in rows:
                member = self._all.get(row.number)
                if row.state is TargetState.REMOVED:
                    if member is not None:
                        _close(member)
                    continue
                if member is None or member.row.location != row.location:
                    if member is not None:
                        _close(member)
                    member = Member(row, self._check)
                member.row = row
                found[row.number] = member
            self._all = found
            for member in found.values():
                if member.target is None:
                    self._open(member)
        for member in found.values():
            member.look_for_room()

    def _check(self, target: Target) -> None:
        self.guard(target)

    def count(self) -> None:
        """What the packs on each target take."""
        used: dict[TargetNumber, int] = {}
        for tally in self.replicas.tally():
            if tally.state not in (CopyState.WANTED, CopyState.MOVING):
                used[tally.target] = used.get(tally.target, 0) + tally.bytes
        for member in self._all.values():
            member.used = used.get(member.number, 0)

    def _open(self, member: Member) -> None:
        try:
            member.target = self._opener(member.row)
        except GravitonError as error:
            member.failed(error)
        else:
            member.works()

    def close(self) -> None:
        with self._lock:
            for member in self._all.values():
                _close(member)

    def all(self) -> list[Member]:
        return list(self._all.values())

    def get(self, number: TargetNumber) -> Member | None:
        return self._all.get(number)

    def named(self, name: str) -> Member | None:
        return next((member for member in self._all.values() if member.name == name), None)

    def pick(self, numbers: Iterable[TargetNumber]) -> list[Member]:
        return [member for number in numbers if (member := self._all.get(number)) is not None]

    def active(self) -> list[Member]:
        return [member for member in self._all.values() if member.row.state is TargetState.ACTIVE]

    @property
    def wish_asked(self) -> Wish:
        return self.settings.wish

    def wish(self) -> Wish:
        """What is asked for, capped by what is configured; never by what happens to work."""
        return self.wish_asked.capped([member.place for member in self.active()])

    def placed(self, uuid: bytes) -> list[TargetNumber]:
        """The targets that a pack belongs on. Raises ``Unavailable`` where none takes packs."""
        places = [member.place for member in self.active()]
        found = [TargetNumber(place.number) for place in chosen(uuid, places, self.wish_asked)]
        if not found:
            raise Unavailable("no target takes packs: add one, or set one active again (graviton target)")
        return found

    def placed_now(self, uuid: bytes, there: Collection[TargetNumber] = ()) -> list[TargetNumber]:
        """As ``placed``, past targets that are nearly full and are not ``there`` already, as far as the
        others give what is asked for without them. Packs that have been passed on stay where they are."""
        active, wish = self.active(), self.wish()
        for full in [one for one in active if one.nearly_full and one.number not in there]:
            left = [member for member in active if member is not full]
            if left and wish.met_by([member.place for member in left]):
                active = left
        places = [member.place for member in active]
        return [TargetNumber(place.number) for place in chosen(uuid, places, wish)] or self.placed(uuid)

    def others(self, uuid: bytes, but: Iterable[Member]) -> list[Member]:
        """Active members beside these, the best for this pack first."""
        taken = {member.number for member in but}
        places = [member.place for member in self.active() if member.number not in taken]
        return self.pick(TargetNumber(place.number) for place in ranked(uuid, places))


def _close(member: Member) -> None:
    target, member.target = member.target, None
    if target is not None:
        close_target(target)
