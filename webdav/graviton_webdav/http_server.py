"""HTTP/1.1 on cheroot: its accept loop, thread pool, connection manager and request parser.

What is replaced: its buffered reader and its writer (pure Python), its chunked reader (reads a whole
client chunk into memory), its fixed number of threads, and the trip through the selector after every
request.
"""

from __future__ import annotations

import errno
import logging
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

from cheroot.server import Gateway, HTTPServer
from cheroot.workers.threadpool import ThreadPool

from graviton_webdav.bodies import Body
from graviton_webdav.http_connection import DavHTTPConnection, DavHTTPRequest
from graviton_webdav.messages import Response
from graviton_webdav.streams import HEAD_LIMIT

log = logging.getLogger("graviton.webdav")

IDLE_TIMEOUT = 30.0
"""Seconds a connection may keep silent, between requests or inside one, where nothing is configured."""
_THREADS = 16
_THREADS_MAX = 256
_BACKLOG = 256

Application = Callable[[DavHTTPRequest, Body], Response]


class Workers(ThreadPool):
    """cheroot's pool, but it grows while all are busy: slow uploads must not hold up everybody else.

    At the end a worker that only writes is cut off as well.
    """

    _threads: list[threading.Thread]
    _queue: queue.Queue[object]
    _spawn_worker: Callable[[], threading.Thread]

    def put(self, obj: object) -> None:
        super().put(obj)
        if self.qsize > self.idle and len(self._threads) < self.max:
            self._threads.append(self._spawn_worker())

    def stop(self, timeout: int = 5) -> None:
        """As cheroot's, and connections that no worker came to are closed, too."""
        super().stop(timeout)
        with suppress(queue.Empty):
            while True:
                left = self._queue.get_nowait()
                if isinstance(left, DavHTTPConnection):
                    left.close()

    @staticmethod
    def _force_close(conn: DavHTTPConnection | None) -> None:
        if conn is not None:
            with suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)


class DavHTTPServer(HTTPServer):
    """cheroot with limits meant for file transfer; every request goes to ``application``."""

    ConnectionClass = DavHTTPConnection
    request_queue_size = _BACKLOG
    keep_alive_conn_limit = 512
    max_request_header_size = HEAD_LIMIT
    expiration_interval = 0.5
    nodelay = True
    protocol = "HTTP/1.1"
    shutdown_timeout = 5

    def __init__(
        self,
        address: tuple[str, int],
        application: Application,
        *,
        name: str = "webdav",
        timeout: float = IDLE_TIMEOUT,
    ) -> None:
        super().__init__(address, Gateway, minthreads=_THREADS, server_name="Graviton")
        self.timeout = timeout  # type: ignore[assignment]
        self._name = name
        self.requests = Workers(self, min=_THREADS, max=_THREADS_MAX)
        self.application = application
        self._serving: threading.Thread | None = None

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: Any) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def open(self) -> tuple[str, int]:
        """Bind and serve from a thread of its own; the address that was bound."""
        self.prepare()
        address: tuple[str, int] = self.bind_addr
        self._serving = threading.Thread(target=self.serve, name=self._name, daemon=True)
        self._serving.start()
        return address

    def shut(self, timeout: float) -> None:
        """Take no more requests, let those in work finish for ``timeout`` seconds, then cut them off."""
        self.shutdown_timeout = ceil(timeout)
        self.stop()
        if self._serving is not None:
            self._serving.join(timeout)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


def bind_problem(error: OSError, host: str, port: int) -> str:
    """Why an address could not be bound, and what to do."""
    text = str(error)
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE or "Address already in use" in text:
        return f"{where} is in use by another program: stop it or choose another port"
    if error.errno == errno.EACCES or "Permission denied" in text:
        return f"{where} may not be bound by this user: choose a port from 1024 on"
    return f"cannot listen on {where}: {text}"
