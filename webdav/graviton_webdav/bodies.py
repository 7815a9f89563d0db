"""Request bodies, read in bounded pieces; what is cut short is an error, never a shorter file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from graviton_webdav.faults import Refused

PIECE = 1 << 20
"""The most that is read from a socket at once."""
_LINE = 4096
_TRAILERS = 64


class Source(Protocol):
    """The bytes of a connection."""

    def recv(self, limit: int) -> bytes:
        """Some bytes, as they come; empty at the end of the connection."""

    def readline(self, limit: int = -1) -> bytes: ...


class Body:
    """One request's body. ``declared`` is its length where the client told it.

    ``finished`` says that the connection stands at the next request.
    """

    def __init__(
        self, source: Source, declared: int | None, on_read: Callable[[], None] | None = None
    ) -> None:
        """``on_read`` is called before the first byte is asked for (100 Continue)."""
        self.declared = declared
        self.finished = declared == 0
        self.begun = False
        self._source = source
        self._on_read = on_read
        self._pieces = self._known(declared) if declared is not None else self._chunked()

    def pieces(self) -> Iterator[bytes]:
        """The body, piece by piece. Raises 400 where it ends before its declared end."""
        if not self.finished and not self.begun and self._on_read is not None:
            self._on_read()
        self.begun = True
        return self._pieces

    def read_all(self, limit: int) -> bytes:
        """All of a small body; 413 beyond ``limit``."""
        if self.declared is not None and self.declared > limit:
            raise Refused(413, f"this body may have at most {limit} bytes")
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > limit:
                raise Refused(413, f"this body may have at most {limit} bytes")
            parts.append(piece)
        return b"".join(parts)

    def drain(self, limit: int) -> bool:
        """Read away what is left, so that the connection can be used again; False when too much is."""
        if self.finished:
            return True
        if not self.begun and self._on_read is not None:
            return False  # the client still waits for 100 Continue and may never send
        self.begun = True
        try:
            for piece in self._pieces:
                limit -= len(piece)
                if limit < 0:
                    return False
        except (Refused, OSError):
            return False
        return self.finished

    def _known(self, declared: int) -> Iterator[bytes]:
        left = declared
        while left:
            piece = self._source.recv(min(left, PIECE))
            if not piece:
                raise Refused(400, f"the body ended {left} bytes before its declared {declared}", close=True)
            left -= len(piece)
            yield piece
        self.finished = True

    def _chunked(self) -> Iterator[bytes]:
        while True:
            left = self._chunk_size()
            if left == 0:
                break
            while left:
                piece = self._source.recv(min(left, PIECE))
                if not piece:
                    raise _truncated()
                left -= len(piece)
                yield piece
            if self._source.readline(2) != b"\r\n":
                raise _truncated()
        for _ in range(_TRAILERS):
            if self._line() == b"\r\n":
                self.finished = True
                return
        raise Refused(400, "too many trailers", close=True)

    def _chunk_size(self) -> int:
        line = self._line().strip()
        digits = line.split(b";", 1)[0].strip()
        # int() would take signs, underscores and a 0x prefix as well.
        if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
            raise Refused(400, "a chunk of the body has no valid size", close=True)
        return int(digits, 16)

    def _line(self) -> bytes:
        line = self._source.readline(_LINE)
        if not line.endswith(b"\r\n"):
            raise _truncated()
        return line


def _truncated() -> Refused:
    return Refused(400, "the chunked body is cut short or malformed", close=True)


def body_of(source: Source, headers: dict[bytes, bytes], on_read: Callable[[], None] | None = None) -> Body:
    """The body that the headers announce. Two lengths at once are an attack (request smuggling)."""
    length = headers.get(b"Content-Length")
    if b"Transfer-Encoding" in headers:
        if length is not None or headers[b"Transfer-Encoding"].strip().lower() != b"chunked":
            raise Refused(400, "the body's length is told twice or in an unknown coding", close=True)
        return Body(source, None, on_read)
    if length is None:
        return Body(source, 0)
    if not length.isdigit() or len(length) > 18:
        raise Refused(400, "Content-Length is no number", close=True)
    return Body(source, int(length), on_read)
