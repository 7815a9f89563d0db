"""One connection and the requests on it: heads in, answers out in as few system calls as they take.

cheroot's writer copies every piece, and after every request its worker hands the connection back to the
selector; here a worker looks for the next request itself for a moment.
"""

from __future__ import annotations

import errno
import logging
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from cheroot.server import HTTPConnection, HTTPRequest, HTTPServer
from typing_extensions import Buffer

from graviton_webdav.bodies import Body, body_of
from graviton_webdav.dates import http_date
from graviton_webdav.faults import REASONS, Refused, refusal_of
from graviton_webdav.messages import Response, refused_response
from graviton_webdav.streams import send_all, streams
from gravitonfs.errors import GravitonError

log = logging.getLogger("graviton.webdav")

_LINGER_MS = 20
"""How long a worker waits for a connection's next request before the selector gets it."""
_DRAIN = 8 << 20
_READ = 64 << 10
# The target as a path, or as a whole URL, which servers have to take too (RFC 9112, 3.2.2).
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) (?:https?://[!-.0-~]+)?(/[!-\"$-~\x80-\xff]*) HTTP/1\.([01])\r\n")


class DavHTTPRequest(HTTPRequest):
    """One request on a connection."""

    expects_continue = False

    def read_request_line(self) -> bool:
        """The plain case at once; whatever is unusual or wrong is cheroot's."""
        line = self.rfile.readline()
        self.started_request = True
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            self.conn.rfile.unread(line)
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        self.method, self.uri, minor = match.groups()
        self.path, _, self.qs = self.uri.partition(b"?")
        self.authority = b""
        self.request_protocol = b"HTTP/1." + minor
        self.response_protocol = "HTTP/1.1" if minor == b"1" else "HTTP/1.0"
        return True

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if self.response_protocol == "HTTP/1.1" and b"Host" not in self.inheaders:
            self.simple_response("400 Bad Request", "HTTP/1.1 requires a Host header.")
            return False
        return True

    def header_reader(self, rfile: Any, headers: dict[bytes, bytes]) -> None:
        """As cheroot's, but keeps Expect from it, so that 100 Continue is sent when a body is wanted."""
        HTTPRequest.header_reader(rfile, headers)
        expect = headers.pop(b"Expect", b"").lower()
        if expect and expect != b"100-continue":
            raise ValueError("This expectation cannot be met.")
        self.expects_continue = bool(expect)

    def respond(self) -> None:
        try:
            self._respond()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            # Clients leave TLS like this every day; what serves the connection knows it by its plain name.
            raise ConnectionResetError(errno.ECONNRESET, "the client has gone") from error

    def _respond(self) -> None:
        try:
            body = body_of(
                self.conn.rfile, self.inheaders, self._send_continue if self.expects_continue else None
            )
        except Refused as refused:
            self.close_connection = True
            self._send(refused_response(refused))
            return
        response = self.server.application(self, body)
        try:
            self._finish(body)
            self._send(response)
        finally:
            close = getattr(response.stream, "close", None)
            if close is not None:
                close()

    def _send_continue(self) -> None:
        self.conn.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _finish(self, body: Body) -> None:
        """Leave the connection at the next request, or have it closed after the answer."""
        if not body.finished and not body.drain(_DRAIN):
            self.close_connection = True
            self.conn.unread = True

    def _send(self, response: Response) -> None:
        stream, length = response.stream, response.length
        first: Sequence[Buffer] = (response.body,)
        bodyless = self.method == b"HEAD" or response.status in (204, 304)
        if stream is None:
            length = len(response.body) if length is None else length
        elif not bodyless:
            try:
                first = next(stream, ())
            except GravitonError as error:
                self._note(error)
                self._send(refused_response(refusal_of(error)))
                return
            if length is None:
                stream, first, length = _measured(stream, first)
        chunked = length is None and not bodyless and self.response_protocol == "HTTP/1.1"
        if length is None and not bodyless and not chunked:
            self.close_connection = True
        head = self._head(response, length, chunked)
        self.sent_headers = True
        if bodyless:
            self.conn.socket.sendall(head)
            return
        self._pieces(first, chunked, head)
        del first  # what long streams give is free again only when nobody has it
        if stream is None:
            return
        try:
            for pieces in stream:
                self._pieces(pieces, chunked)
                del pieces
        except GravitonError as error:
            # The head is out: an answer that ends early on a closed connection is all that can be told.
            self._note(error)
            self.close_connection = True
            return
        if chunked:
            self.conn.socket.sendall(b"0\r\n\r\n")

    def _note(self, error: GravitonError) -> None:
        """What is gone meanwhile (deleted, replaced and collected) is nobody's failure."""
        level = logging.ERROR if error.http_status >= 500 else logging.INFO
        log.log(level, "%s: %s", self.uri.decode("latin-1"), error)

    def _head(self, response: Response, length: int | None, chunked: bool) -> bytes:
        if not self.server.ready:
            self.close_connection = True
        lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None and response.status not in (204, 304):
            lines.append(f"Content-Length: {length}")
        if self.close_connection:
            lines.append("Connection: close")
        elif self.response_protocol != "HTTP/1.1":
            lines.append("Connection: Keep-Alive")
        lines.append(f"Date: {http_date(time.time_ns())}\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1", "replace")

    def _pieces(self, pieces: Sequence[Buffer], chunked: bool, head: bytes = b"") -> None:
        """Together, the first ones with the head, as one chunk."""
        size = sum([memoryview(piece).nbytes for piece in pieces])
        buffers: Sequence[Buffer] = (head, *pieces)
        if chunked and size:
            buffers = (head + b"%x\r\n" % size, *pieces, b"\r\n")
        send_all(self.conn.socket, buffers, plain=self.server.ssl_adapter is None)


def _measured(
    stream: Iterator[Sequence[Buffer]], first: Sequence[Buffer]
) -> tuple[Iterator[Sequence[Buffer]] | None, Sequence[Buffer], int | None]:
    """A stream that ends with its first pieces needs no chunks: (rest, first pieces, length if known)."""
    second = next(stream, None)
    if second is None:
        return None, first, sum([memoryview(piece).nbytes for piece in first])
    return chain((second,), stream), first, None


class DavHTTPConnection(HTTPConnection):
    """A connection whose worker looks for the next request itself before it gives it back."""

    RequestHandlerClass = DavHTTPRequest
    unread = False
    _shaken = False

    def __init__(self, server: HTTPServer, sock: socket.socket, makefile: object = None) -> None:
        super().__init__(server, sock, streams)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def communicate(self) -> bool:
        if not self._shaken and not self._shake_hands():
            return False
        while super().communicate():  # type: ignore[no-untyped-call]
            if not self._next_soon():
                return True
        if self.unread:
            self._linger()
        return False

    def _shake_hands(self) -> bool:
        """TLS begins here, on a worker, so that a slow client does not hold up those who connect."""
        self._shaken = True
        if isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.do_handshake()
            except OSError as error:
                log.info("a client at %s did not get to TLS: %s", self.remote_addr, error)
                return False
        return True

    def _next_soon(self) -> bool:
        if self.rfile.has_data():
            return True
        if not self.server.ready or self.server.requests.qsize:
            return False
        return bool(self._poll.poll(_LINGER_MS))

    def _linger(self) -> None:
        """Closing with unread bytes resets the connection, and the client would lose the answer."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1.0)
            left = _DRAIN
            while left > 0 and self.server.ready:
                piece = self.socket.recv(_READ)
                if not piece:
                    return
                left -= len(piece)
        except OSError:
            pass
