"""A TCP proxy between a client and a real server: it delays, cuts and corrupts what passes.

For any protocol. Faults are given as plans that meet the next bytes of a direction; each plan is used
up once, and ``fired`` tells how many were. A connection without TLS or checksums of its own must not be
corrupted in tests that expect it to notice.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]
_PIECE = 64 << 10


@dataclass
class _Plan:
    """After ``skip`` bytes of ``direction`` (counted from when the plan was made, all connections
    together, or of one connection with ``matching``), do ``action``."""

    direction: Direction
    skip: int
    action: Literal["cut", "corrupt", "stall", "answer", "leave"]
    matching: bytes | None
    reply: bytes = b""


class TcpProxy:
    """Listens on loopback at ``port``. A context manager. ``_lock`` guards the plans and connections."""

    def __init__(self, host: str, port: int) -> None:
        """A ``host`` that is a directory holds a Unix socket of PostgreSQL."""
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Condition()
        self._plans: list[_Plan] = []
        self._pairs: set[_Pair] = set()
        self._closed = False
        self.delay = 0.0
        """Seconds that every piece waits, in each direction."""
        self.refusing = False
        """New connections are closed at once."""
        self.fired = 0
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    # --- faults ---

    def cut(self, direction: Direction = "down", after: int = 0, *, matching: bytes | None = None) -> None:
        """Close the connection, both ways, once ``after`` more bytes have passed. ``matching``: in a
        connection whose next piece in that direction contains these bytes, counted from where they begin."""
        self._add(_Plan(direction, after, "cut", matching))

    def corrupt(
        self, direction: Direction = "down", after: int = 0, *, matching: bytes | None = None
    ) -> None:
        """Flip a bit of the byte behind ``after`` more bytes."""
        self._add(_Plan(direction, after, "corrupt", matching))

    def stall(self, direction: Direction = "down", after: int = 0, *, matching: bytes | None = None) -> None:
        """Let nothing more through on that connection, and keep it open."""
        self._add(_Plan(direction, after, "stall", matching))

    def leave(self, direction: Direction = "down", *, matching: bytes) -> None:
        """Cut every connection where these bytes would pass, and refuse new ones."""
        self._add(_Plan(direction, 0, "leave", matching))

    def answer(self, reply: bytes, *, matching: bytes) -> None:
        """Instead of passing on the next piece from the client that contains ``matching``, answer it
        with ``reply`` and close the connection."""
        self._add(_Plan("up", 0, "answer", matching, reply))

    def cut_all(self) -> None:
        """Cut what is connected now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()

    def heal(self) -> None:
        """No more faults; stalled connections are cut."""
        with self._lock:
            self._plans.clear()
            self.delay = 0.0
            self.refusing = False
            stalled = [pair for pair in self._pairs if pair.stalled]
        for pair in stalled:
            pair.cut()

    def wait_fired(self, count: int, timeout: float = 30.0) -> None:
        """Until so many plans have met their bytes."""
        with self._lock:
            if not self._lock.wait_for(lambda: self.fired >= count, timeout):
                raise AssertionError(f"only {self.fired} of {count} faults met anything")

    def _add(self, plan: _Plan) -> None:
        with self._lock:
            self._plans.append(plan)

    # --- passing on ---

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing or self._closed:
                client.close()
                continue
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                if one.family != socket.AF_UNIX:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server, self._pass, self._ended)
            with self._lock:
                self.connections += 1
                self._pairs.add(pair)
            pair.start()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if not host.startswith("/"):
            return socket.create_connection(self._target, timeout=10)
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _ended(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _pass(self, pair: _Pair, direction: Direction, piece: bytes) -> tuple[bytes, str | None]:
        """What of ``piece`` goes on, and what then happens to the connection."""
        if self.delay:
            time.sleep(self.delay)
        if not self._plans and not pair.own:
            return piece, None
        with self._lock:
            for plan in [plan for plan in self._plans if plan.direction == direction]:
                if plan.matching is not None and plan.matching in piece:
                    plan.skip += piece.find(plan.matching)
                    plan.matching = None
                    self._plans.remove(plan)
                    pair.own.append(plan)
                    break  # the next one waits for the next such piece
            for plan in [*pair.own, *self._plans]:
                if plan.direction != direction or plan.matching is not None:
                    continue
                if plan.skip >= len(piece):
                    plan.skip -= len(piece)
                    continue
                (pair.own if plan in pair.own else self._plans).remove(plan)
                self.fired += 1
                self._lock.notify_all()
                at = plan.skip
                if plan.action == "answer":
                    pair.reply(plan.reply)
                    return b"", "cut"
                if plan.action == "corrupt":
                    changed = bytearray(piece)
                    changed[at] ^= 1
                    return bytes(changed), None
                if plan.action == "leave":
                    self.refusing = True
                    for other in self._pairs - {pair}:
                        other.cut()
                    return piece[:at], "cut"
                return piece[:at], plan.action
        return piece, None

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):  # accept does not wake up by close alone
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        self._thread.join(10)

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pair:
    """Two connections, and the one thread that carries bytes between them."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        change: Callable[[_Pair, Direction, bytes], tuple[bytes, str | None]],
        ended: Callable[[_Pair], None],
    ) -> None:
        self._ends = {client: (server, "up"), server: (client, "down")}
        self._change = change
        self._ended = ended
        self.own: list[_Plan] = []
        self.stalled = False
        self._over = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="proxy-pair", daemon=True).start()

    def reply(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            next(iter(self._ends)).sendall(data)

    def cut(self) -> None:
        self._over.set()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for end in self._ends:
                selector.register(end, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                self._carry(selector)
        for end in self._ends:
            end.close()
        self._ended(self)

    def _carry(self, selector: selectors.DefaultSelector) -> None:
        while selector.get_map():
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                sink, direction = self._ends[source]
                piece = source.recv(_PIECE)
                if not piece:
                    selector.unregister(source)
                    sink.shutdown(socket.SHUT_WR)
                    continue
                piece, action = self._change(self, direction, piece)  # type: ignore[arg-type]
                if piece:
                    sink.sendall(piece)
                if action == "cut":
                    self.cut()
                    return
                if action == "stall":
                    self.stalled = True
                    self._over.wait()
                    return
