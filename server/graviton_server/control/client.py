"""The side of the control socket that asks."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from graviton_server.control.calls import OnEvent, OnHole, Sink, Source, pass_hole
from graviton_server.control.request import Request, answer_type
from graviton_server.control.wire import (
    PROTOCOL,
    Call,
    Disconnected,
    Done,
    End,
    Event,
    Failed,
    Hello,
    Hole,
    Message,
    Wire,
    socket_address,
)
from gravitonfs.errors import GravitonError, Internal, Kind, Unavailable, error_of

R = TypeVar("R")
_ANSWERS_WITHIN = 10.0
"""Seconds for the greeting; afterwards a long command may be silent for as long as it takes."""


class NobodyThere(Unavailable):
    """No process listens on the data directory's control socket."""


class OwnerGone(Unavailable):
    """The process that had the volume open ended before it answered."""


class RemoteCaller:
    """Requests to the process that has the volume open; a connection for each call under way.

    ``_lock`` guards the idle connections. One stays open throughout, so that the owner knows that it
    is still needed.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        first, self.owner = self._connect()
        self._idle.append(first)

    def call(
        self,
        request: Request[R],
        *,
        source: Source | None = None,
        sink: Sink | None = None,
        on_hole: OnHole | None = None,
        on_event: OnEvent | None = None,
    ) -> R:
        with self._lock:
            wire = self._idle.pop() if self._idle else None
        if wire is None:
            wire = self._connect()[0]
        try:
            result = self._exchange(wire, request, source, sink, on_hole, on_event)
        except GravitonError as error:
            if isinstance(error, Disconnected):
                wire.close()
                raise OwnerGone(
                    f"process {self.owner.pid}, which has {self._data} open, went away during the command:"
                    " run it again"
                ) from error
            self._keep(wire)
            raise
        except BaseException:
            # The answer is not all read, so the connection is no use any more; closing it cancels.
            wire.close()
            raise
        self._keep(wire)
        return result

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def _keep(self, wire: Wire) -> None:
        with self._lock:
            self._idle.append(wire)

    def _connect(self) -> tuple[Wire, Hello]:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_ANSWERS_WITHIN)
            with socket_address(self._data) as address:
                sock.connect(address)
            wire = Wire(sock)
            with suppress(Disconnected):  # a refusal comes without waiting for the greeting: read it
                wire.send(Hello(PROTOCOL, 0))
            answer = wire.receive()
        except (ConnectionRefusedError, FileNotFoundError, Disconnected) as error:
            sock.close()
            raise NobodyThere(f"nobody answers on the control socket of {self._data}") from error
        except OSError as error:
            sock.close()
            raise Unavailable(
                f"the control socket of {self._data} cannot be used: {error.strerror}"
            ) from error
        if isinstance(answer, Failed):
            sock.close()
            if answer.kind == Kind.UNAVAILABLE.value:
                raise NobodyThere(answer.message)  # it is about to let go of the volume
            raise _error(answer)
        if not isinstance(answer, Hello) or answer.protocol != PROTOCOL:
            sock.close()
            raise Unavailable(
                f"the process that has {self._data} open is of another version of graviton:"
                " stop it, or use the same version"
            )
        sock.settimeout(None)
        return wire, answer

    def _exchange(
        self,
        wire: Wire,
        request: Request[R],
        source: Source | None,
        sink: Sink | None,
        on_hole: OnHole | None,
        on_event: OnEvent | None,
    ) -> R:
        body = msgspec.Raw(msgspec.msgpack.encode(request))
        wire.send(Call(type(request).__name__, body, source is not None))
        if source is not None:
            self._send_all(wire, source)
        while True:
            message = wire.receive()
            if isinstance(message, bytearray):
                if sink is not None:
                    sink(message)
            elif isinstance(message, Hole):
                pass_hole(message.length, sink, on_hole)
            elif isinstance(message, Event):
                if on_event is not None:
                    on_event(message)
            else:
                return self._result(message, request)

    @staticmethod
    def _send_all(wire: Wire, source: Source) -> None:
        """Stops early where the answer is there already: it can only be a failure."""
        poll = select.poll()
        poll.register(wire.sock, select.POLLIN)
        for data in source:
            if poll.poll(0):
                break
            if isinstance(data, Hole):
                wire.send(data)
            else:
                wire.send_data(data)
        wire.send(End())

    @staticmethod
    def _result(message: Message, request: Request[R]) -> R:
        if isinstance(message, Failed):
            raise _error(message)
        if not isinstance(message, Done):
            raise Internal(f"the control socket got a {type(message).__name__} where an answer was due")
        result: R = msgspec.msgpack.decode(message.result, type=answer_type(type(request)))
        return result


def _error(failed: Failed) -> GravitonError:
    try:
        kind = Kind(failed.kind)
    except ValueError:
        kind = Kind.INTERNAL
    return error_of(kind, failed.message)
