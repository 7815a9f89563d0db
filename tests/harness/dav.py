"""A WebDAV client for tests: nothing between the test and the bytes on the wire."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, fromstring

DAV = "{DAV:}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def xml(self) -> Element:
        return fromstring(self.body)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    def responses(self) -> dict[str, Element]:
        """The responses of a multistatus by href."""
        assert self.status == 207, self.body
        found = {item.findtext(f"{DAV}href") or "": item for item in self.xml.findall(f"{DAV}response")}
        assert len(found) == len(self.xml.findall(f"{DAV}response")), "an href is there twice"
        return found

    def found(self, href: str, tag: str) -> Element | None:
        """A property of a resource that was answered with 200."""
        for propstat in self.responses()[href].findall(f"{DAV}propstat"):
            found = propstat.find(f"{DAV}prop/{tag}")
            if found is not None and " 200 " in (propstat.findtext(f"{DAV}status") or ""):
                return found
        return None

    def text(self, href: str, tag: str) -> str | None:
        found = self.found(href, tag)
        return None if found is None else (found.text or "")

    @property
    def lock_token(self) -> str:
        return self.headers["Lock-Token"].strip("<>")


def _empty(tag: str) -> str:
    """An empty element by its Clark name."""
    if not tag.startswith("{"):
        return f"<{tag}/>"
    space, _, local = tag[1:].partition("}")
    return f'<P:{local} xmlns:P="{space}"/>'


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Client:
    """Asks a server over one kept connection; reconnects where the server closed it."""

    def __init__(
        self, address: tuple[str, int], user: str | None = None, password: str = "", agent: str = "tests"
    ) -> None:
        self.address = address
        self.base = {"User-Agent": agent}
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.base["Authorization"] = f"Basic {token}"
        self.connection = http.client.HTTPConnection(*address, timeout=60)

    def url(self, path: str) -> str:
        return f"http://{self.address[0]}:{self.address[1]}{path}"

    def __call__(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> Answer:
        """Header names have ``_`` for ``-``. An iterable body goes out in chunks."""
        named = {**self.base, **{key.replace("_", "-"): value for key, value in headers.items()}}
        self.connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes | None))
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def propfind(self, path: str, *tags: str, depth: str = "0") -> Answer:
        """Asks for properties by Clark name; for all without one."""
        body = None
        if tags:
            wanted = "".join(_empty(tag) for tag in tags)
            body = f'<D:propfind xmlns:D="DAV:"><D:prop>{wanted}</D:prop></D:propfind>'.encode()
        return self("PROPFIND", path, body, Depth=depth)

    def lock(self, path: str, *, scope: str = "exclusive", depth: str = "infinity", **headers: str) -> Answer:
        body = (
            f'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/>'
            "</D:locktype><D:owner><D:href>mailto:tests</D:href></D:owner></D:lockinfo>"
        ).encode()
        return self("LOCK", path, body, Depth=depth, **headers)

    def close(self) -> None:
        self.connection.close()


def raw(address: tuple[str, int], request: bytes, *, finish: bool = True) -> bytes:
    """What a server answers to these bytes. ``finish``: tell it that no more will come."""
    with socket.create_connection(address, timeout=30) as sock:
        sock.sendall(request)
        if finish:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer
