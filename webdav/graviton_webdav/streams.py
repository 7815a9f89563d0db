"""Buffered reading and plain writing of a connection's socket.

cheroot's own are pure Python and copy every byte several times.
"""

from __future__ import annotations

import socket

from typing_extensions import Buffer

HEAD_LIMIT = 64 << 10
"""Bytes of a request line with its headers."""
_READ = 64 << 10


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
