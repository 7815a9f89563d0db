"""Sessions of a process's front ends: attached on first use, shared, and let go when nobody uses them.

A session that is kept for nothing would cost every other one its lease: a mount that is alone on its
volume may trust what it has cached.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from gravitonfs.content.volume import Volume
from gravitonfs.errors import Detached, Fenced, GravitonError

log = logging.getLogger("graviton.volumes")

IDLE: Final = 30.0
"""Seconds without a request after which a session ends."""

T = TypeVar("T")


class Attached:
    """A volume with what front ends have made of it. ``_lock`` guards ``_parts``."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._lock = threading.RLock()  # a part may be made of others
        self._parts: dict[Callable[[Attached], Any], Any] = {}

    def part(self, make: Callable[[Attached], T]) -> T:
        """What ``make`` makes of it: once, and then the same as long as the session lasts."""
        with self._lock:
            if make not in self._parts:
                self._parts[make] = make(self)
            made: T = self._parts[make]
            return made


class _Place:
    """``gate`` is held while the volume is attached; the pool's lock guards everything else."""

    __slots__ = ("attached", "gate", "idle_since", "over", "users")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.attached: Attached | None = None
        self.users = 0
        self.idle_since = 0.0
        self.over = False
        """Out of the table: the last user ends the session."""


class VolumePool:
    """Thread-safe. ``_lock`` (a condition, told when the pool closes or has a session) guards the table; it
    is not held while a volume is attached or let go, which may wait for other sessions."""

    def __init__(self, attach: Callable[[str], Volume], idle: float = IDLE, *, durable: bool = False) -> None:
        """``durable``: those who use it answer nobody before what they have done is."""
        self._attach = attach
        self._idle = idle
        self._durable = durable
        self._lock = threading.Condition()
        self._places: dict[str, _Place] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def use(self, name: str) -> Iterator[Attached]:
        """Attached for as long as this is held. NotFound.

        A session that turns out to have been ended by others is not used again: the next request
        attaches anew.
        """
        place = self._enter(name)
        try:
            yield self._attached(place, name)
        except (Fenced, Detached):
            self._strike(name, place)
            raise
        finally:
            self._leave(place)

    @contextmanager
    def volume(self, name: str) -> Iterator[Volume]:
        """As ``use``, for those who want nothing but the volume."""
        with self.use(name) as attached:
            yield attached.volume

    def let_go_of(self, name: str) -> None:
        """However short it has been idle; as soon as nobody uses it."""
        with self._lock:
            place = self._places.get(name)
        if place is not None:
            self._strike(name, place)

    def drop(self, session: int) -> None:
        """A session was ended from outside: the next request attaches anew."""
        with self._lock:
            found = [
                (name, place)
                for name, place in self._places.items()
                if place.attached is not None and place.attached.volume.namespace.session == session
            ]
        for name, place in found:
            self._strike(name, place)

    def close(self) -> None:
        """End every session, used or not. Idempotent; nothing is attached after it."""
        with self._lock:
            self._closed = True
            places = list(self._places.values())
            self._places.clear()
            for place in places:
                place.over = True
            self._lock.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        for place in places:
            with place.gate:
                self._end(place)

    # --- inside --------------------------------------------------------------------------------------

    def _enter(self, name: str) -> _Place:
        with self._lock:
            place = self._places.get(name)
            if place is None:
                place = _Place()
                if not self._closed:
                    self._places[name] = place
                    self._tended()
            place.users += 1
            return place

    def _attached(self, place: _Place, name: str) -> Attached:
        with place.gate:
            if self._closed and place.attached is None:
                raise Detached("the server is stopping")
            if place.attached is None:
                try:
                    place.attached = Attached(self._attach(name))
                except BaseException:
                    self._forget(name, place)
                    raise
            return place.attached

    def _forget(self, name: str, place: _Place) -> None:
        """Nothing was attached. Others that wait for the same try for themselves."""
        with self._lock:
            if place.users == 1 and self._places.get(name) is place:
                del self._places[name]

    def _strike(self, name: str, place: _Place) -> None:
        with self._lock:
            if self._places.get(name) is place:
                del self._places[name]
            place.over = True
            unused = not place.users
        if unused:
            self._end(place)

    def _leave(self, place: _Place) -> None:
        with self._lock:
            place.users -= 1
            place.idle_since = time.monotonic()
            last = place.over and not place.users
        if last:
            self._end(place)

    def _tended(self) -> None:
        """Lock held. Not told of every request: it looks once in an idle time while there is a session."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._tend, name="volumes", daemon=True)
            self._thread.start()
        self._lock.notify_all()

    def _end(self, place: _Place) -> None:
        with self._lock:
            attached, place.attached = place.attached, None
        if attached is None:
            return
        try:
            with suppress(Fenced, Detached):  # somebody else ended it
                if not self._durable:
                    attached.volume.commit()  # nobody would repeat what a crash of the database takes back
            attached.volume.close()
        except GravitonError as error:
            log.info("the end of a session could not be told: %s", error)  # silence ends it, too

    def _tend(self) -> None:
        """Ends what is idle."""
        while True:
            with self._lock:
                if self._closed:
                    return
                if not self._places:
                    self._lock.wait()
                    continue
                idle = [(name, place) for name, place in self._places.items() if not place.users]
                now = time.monotonic()
                due = [(name, place) for name, place in idle if place.idle_since + self._idle <= now]
                if not due:
                    ends = [place.idle_since + self._idle - now for _, place in idle]
                    self._lock.wait(min(ends, default=self._idle))
                    continue
                for name, place in due:
                    del self._places[name]
                    place.over = True
            for _, place in due:
                self._end(place)
