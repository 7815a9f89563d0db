"""The side of the control socket that answers: a thread for each connection, one that watches them all."""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from typing_extensions import Buffer

from graviton_server.control.calls import Cancelled
from graviton_server.control.handlers import answer as answer_to
from graviton_server.control.requests import REQUESTS
from graviton_server.control.service import Service
from graviton_server.control.wire import (
    PROTOCOL,
    SOCKET_NAME,
    Call,
    Disconnected,
    Done,
    End,
    Event,
    Failed,
    Hello,
    Hole,
    Wire,
    socket_address,
)
from gravitonfs.errors import GravitonError, Kind

log = logging.getLogger(__name__)

_CLIENTS_MAX = 64
_CREDENTIALS = struct.Struct("3i")
_EVENTS_EVERY = 0.1
"""Seconds between two progress events of one call; the last one always goes out."""


class SocketChannel:
    """The caller is at the other end of a connection."""

    def __init__(self, wire: Wire, cancelled: threading.Event, has_input: bool) -> None:
        self.cancelled = cancelled
        self._wire = wire
        self._input_open = has_input
        self._last = 0.0

    def event(self, event: Event) -> None:
        self._check()
        now = time.monotonic()
        if 0 < event.total <= event.done or now - self._last >= _EVENTS_EVERY:
            self._last = now
            self._wire.send(event)

    def send(self, data: Buffer) -> None:
        self._check()
        self._wire.send_data(data)

    def hole(self, length: int) -> None:
        self._check()
        self._wire.send(Hole(length))

    def receive(self) -> Iterator[Buffer | Hole]:
        while self._input_open:
            self._check()
            message = self._wire.receive()
            if isinstance(message, bytearray | Hole):
                yield message
            elif isinstance(message, End):
                self._input_open = False
            else:
                raise Disconnected("the control socket got a message in the middle of data")

    def discard_input(self) -> None:
        """What the caller had sent before it saw that the call has failed."""
        while self._input_open:
            for _ in self.receive():
                pass

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled


class ControlServer:
    """Listens in the data directory; whoever starts it holds that directory's lock.

    ``_state`` guards the connections and ``_accepting``. Only the same user, or root, may connect.
    """

    def __init__(self, service: Service, data: Path) -> None:
        self._service = service
        self._data = data
        self._state = threading.Condition()
        self._clients: dict[int, tuple[Wire, threading.Event]] = {}
        self._accepting = True
        self._listener = self._listen()
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._wake, self._woken = os.pipe()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._watcher = threading.Thread(target=self._watch, name="control", daemon=True)
        self._watcher.start()

    @property
    def clients(self) -> int:
        return len(self._clients)

    def wait_idle(self, timeout: float | None) -> bool:
        """Until no connection is left; then none is taken any more.

        With a timeout none is taken from now on: whoever waits without one can do so for those who
        come meanwhile, too.
        """
        with self._state:
            self._accepting = self._accepting and timeout is None
            idle = self._state.wait_for(lambda: not self._clients, timeout)
            self._accepting = False
            return idle

    def close(self) -> None:
        """Cancel what is still under way and stop listening. Idempotent."""
        with self._state:
            self._accepting = False
            if self._listener.fileno() < 0:
                return
            (self._data / SOCKET_NAME).unlink(missing_ok=True)
            self._listener.close()
            for wire, cancelled in self._clients.values():
                cancelled.set()
                wire.sock.shutdown(socket.SHUT_RDWR)
        os.write(self._woken, b"x")
        self._watcher.join()
        with self._state:
            # A handler that does not look at its channel is not waited for: the engine's own close is.
            self._state.wait_for(lambda: not self._clients, 5)
        self._epoll.close()
        os.close(self._wake)
        os.close(self._woken)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = self._data / SOCKET_NAME
        path.unlink(missing_ok=True)  # left by a process that died: the lock says that none lives
        old = os.umask(0o177)
        try:
            with socket_address(self._data) as address:
                listener.bind(address)
        finally:
            os.umask(old)
        listener.listen(_CLIENTS_MAX)
        return listener

    def _watch(self) -> None:
        """Accepts, and notices connections whose other side has gone."""
        while True:
            ready = {fd for fd, _ in self._epoll.poll()}
            if self._wake in ready:
                return
            with self._state:
                for fd in ready & self._clients.keys():
                    self._clients[fd][1].set()
                    self._epoll.unregister(fd)
            # Last, because it may get the number of a connection that has just been closed.
            if self._listener.fileno() in ready:
                self._accept()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # closed meanwhile
        wire = Wire(sock)
        gone = threading.Event()
        fd = sock.fileno()
        with self._state:
            refusal = self._refusal(sock)
            if refusal is None:
                self._clients[fd] = (wire, gone)
        if refusal is not None:
            self._refuse(wire, refusal)
            return
        # RDHUP only: data is the serving thread's business.
        self._epoll.register(fd, select.EPOLLRDHUP)
        threading.Thread(target=self._serve, args=(fd, wire, gone), name=f"control-{fd}", daemon=True).start()

    def _refusal(self, sock: socket.socket) -> Failed | None:
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if uid not in (0, os.geteuid()):
            return Failed(Kind.ACCESS_DENIED.value, "only the user who opened the volume may command it")
        if not self._accepting:
            return Failed(Kind.UNAVAILABLE.value, "the process that has the volume open is stopping")
        if len(self._clients) >= _CLIENTS_MAX:
            return Failed(Kind.BUSY.value, f"more than {_CLIENTS_MAX} commands at once: try again later")
        return None

    @staticmethod
    def _refuse(wire: Wire, refusal: Failed) -> None:
        try:
            wire.send(refusal)
        except Disconnected:
            pass
        wire.close()

    def _serve(self, fd: int, wire: Wire, gone: threading.Event) -> None:
        try:
            hello = wire.receive()
            wire.send(Hello(PROTOCOL, os.getpid(), self._service.role))
            if not isinstance(hello, Hello) or hello.protocol != PROTOCOL:
                return
            while True:
                call = wire.receive()
                if not isinstance(call, Call):
                    return
                self._answer(wire, call, gone)
        except (Disconnected, Cancelled):
            pass
        finally:
            with self._state:
                del self._clients[fd]
                wire.close()
                self._state.notify_all()

    def _answer(self, wire: Wire, call: Call, gone: threading.Event) -> None:
        channel = SocketChannel(wire, gone, call.input)
        try:
            request_type = REQUESTS.get(call.name)
            if request_type is None:
                raise msgspec.ValidationError(f"no request is called {call.name}")
            request = msgspec.msgpack.decode(call.body, type=request_type)
            result = answer_to(self._service, request, channel)
            answer: Done | Failed = Done(msgspec.Raw(msgspec.msgpack.encode(result)))
        except (Disconnected, Cancelled):
            raise
        except GravitonError as error:
            answer = Failed(error.kind.value, str(error))
        except msgspec.ValidationError as error:
            answer = Failed(Kind.INVALID.value, f"the request is not understood: {error}")
        except Exception as error:  # a mistake of ours: told to whoever asked, the process goes on
            log.exception("the request %s failed", call.name)
            answer = Failed(Kind.INTERNAL.value, f"{call.name} failed inside: {error!r}")
        wire.send(answer)
        channel.discard_input()
