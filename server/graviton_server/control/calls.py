"""How a request reaches its handler, and what a handler has of its caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import Buffer

from graviton_server.control.request import Request
from graviton_server.control.wire import Event, Hole

if TYPE_CHECKING:
    from graviton_server.control.service import Service

R = TypeVar("R")
Source = Iterable[Buffer | Hole]
Sink = Callable[[Buffer], None]
OnHole = Callable[[int], None]
OnEvent = Callable[[Event], None]


class Cancelled(Exception):
    """Whoever asked went away, or the process is about to stop."""


class Channel(Protocol):
    """A handler's way back to whoever asked. ``cancelled`` is set when nobody waits for the answer.

    Used by one thread at a time. Methods raise :class:`Cancelled` then; a handler lets it through.
    """

    cancelled: threading.Event

    def event(self, event: Event) -> None: ...

    def send(self, data: Buffer) -> None:
        """Bytes of the answer, before it; waits while the receiver is slow."""

    def hole(self, length: int) -> None:
        """Instead of so many zeroes."""

    def receive(self) -> Iterator[Buffer | Hole]:
        """The bytes that came with the request. An early end raises, it never looks complete."""


_ZEROES = memoryview(bytes(1 << 20))

Handler = Callable[["Service", Any, Channel], Any]


class Caller(Protocol):
    """Where a command sends its requests. Thread-safe."""

    def call(
        self,
        request: Request[R],
        *,
        source: Source | None = None,
        sink: Sink | None = None,
        on_hole: OnHole | None = None,
        on_event: OnEvent | None = None,
    ) -> R:
        """``source`` is sent with the request, ``sink`` gets what comes before the answer.

        Without ``on_hole`` the sink gets holes as zeroes, too.
        """

    def close(self) -> None: ...


def pass_hole(length: int, sink: Sink | None, on_hole: OnHole | None) -> None:
    """To whoever knows what a hole is, else as zeroes."""
    if on_hole is not None:
        on_hole(length)
    elif sink is not None:
        while length > 0:
            sink(_ZEROES[:length])
            length -= len(_ZEROES)


class LocalChannel:
    """The caller is in this process."""

    def __init__(
        self, source: Source | None, sink: Sink | None, on_hole: OnHole | None, on_event: OnEvent | None
    ) -> None:
        self.cancelled = threading.Event()
        self._source = source
        self._sink = sink
        self._on_hole = on_hole
        self._on_event = on_event

    def event(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def send(self, data: Buffer) -> None:
        if self._sink is not None:
            self._sink(data)

    def hole(self, length: int) -> None:
        pass_hole(length, self._sink, self._on_hole)

    def receive(self) -> Iterator[Buffer | Hole]:
        return iter(self._source or ())


class LocalCaller:
    """Runs handlers in this process, on the calling thread."""

    def __init__(self, service: Service, waiting: Callable[[int], None] | None = None) -> None:
        """``waiting`` is told of how many other commands the end of this one has to wait for."""
        self.service = service
        self._waiting = waiting

    def call(
        self,
        request: Request[R],
        *,
        source: Source | None = None,
        sink: Sink | None = None,
        on_hole: OnHole | None = None,
        on_event: OnEvent | None = None,
    ) -> R:
        from graviton_server.control.handlers import answer

        channel = LocalChannel(source, sink, on_hole, on_event)
        answered: R = answer(self.service, request, channel)
        return answered

    def close(self) -> None:
        self.service.close(waiting=self._waiting)
