"""Buffered reading and plain writing of a connection's socket.

cheroot's own are pure Python and copy every byte several times.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from typing_extensions import Buffer

HEAD_LIMIT = 64 << 10
"""Bytes of a request line with its headers."""
_READ = 64 << 10
_JOIN = 64 << 10
"""Buffers up to this size together are copied for one plain call."""


class SocketReader:
    """A buffered reader of a socket. For one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._at = 0
        self.bytes_read = 0
        self.closed = False

    def recv(self, limit: int) -> bytes:
        if self._at < len(self._buffer):
            piece = self._buffer[self._at : self._at + limit]
            self._at += len(piece)
            return piece
        return self._sock.recv(limit)

    def readline(self, limit: int = -1) -> bytes:
        limit = HEAD_LIMIT if limit < 0 else limit
        while True:
            end = self._buffer.find(b"\n", self._at, self._at + limit)
            if end >= 0 or len(self._buffer) - self._at >= limit:
                stop = end + 1 if end >= 0 else self._at + limit
                line = self._buffer[self._at : stop]
                self._at = stop
                return line
            more = self._sock.recv(_READ)
            if not more:
                line = self._buffer[self._at :]
                self._buffer, self._at = b"", 0
                return line
            self._buffer = self._buffer[self._at :] + more
            self._at = 0

    def unread(self, data: bytes) -> None:
        """Give back what was read last."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0

    def has_data(self) -> bool:
        """Bytes are here that a selector on the socket would not see."""
        pending = getattr(self._sock, "pending", None)
        return self._at < len(self._buffer) or (pending is not None and pending() > 0)

    def close(self) -> None:
        self._buffer, self._at = b"", 0
        self.closed = True


class SocketWriter:
    """What cheroot itself writes through (its own error answers)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.bytes_written = 0

    def write(self, data: Buffer) -> int:
        self._sock.sendall(data)
        return memoryview(data).nbytes


def streams(sock: socket.socket, mode: str = "r", bufsize: int = -1) -> SocketReader | SocketWriter:
    return SocketReader(sock) if "r" in mode else SocketWriter(sock)


def send_all(sock: socket.socket, buffers: Sequence[Buffer], *, plain: bool) -> None:
    """All of the bytes, in as few system calls as the socket takes; with TLS (not ``plain``) one a buffer."""
    left = [memoryview(buffer) for buffer in buffers if memoryview(buffer).nbytes]
    if sum([view.nbytes for view in left]) <= _JOIN:
        sock.sendall(b"".join(left))
    elif not plain:
        for view in left:
            sock.sendall(view)
    else:
        while left:
            sent = sock.sendmsg(left)
            done = 0
            while done < len(left) and sent >= left[done].nbytes:
                sent -= left[done].nbytes
                done += 1
            left = left[done:]
            if sent:
                left[0] = left[0][sent:]
