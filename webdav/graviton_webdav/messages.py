"""A request and a response, as the methods see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from typing_extensions import Buffer

from graviton_webdav.faults import Refused
from graviton_webdav.paths import Path
from graviton_webdav.xml_input import parse_xml

if TYPE_CHECKING:
    from graviton_webdav.bodies import Body

XML_LIMIT = 1 << 20
"""Bytes of an XML body; a PROPFIND or PROPPATCH of a real client has a few hundred."""
XML_TYPE = ("Content-Type", 'application/xml; charset="utf-8"')


@dataclass(slots=True)
class Request:
    """One request. Header names are as cheroot gives them: title-case bytes."""

    method: str
    path: Path
    slash: bool
    headers: dict[bytes, bytes]
    body: Body
    scheme: str
    principal: str = ""

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def depth(self, default: str) -> str:
        """The Depth header: ``0``, ``1`` or ``infinity``; anything else is refused."""
        value = self.headers.get(b"Depth")
        if value is None:
            return default
        depth = value.decode("latin-1").strip().lower()
        if depth not in ("0", "1", "infinity"):
            raise Refused(400, "Depth must be 0, 1 or infinity")
        return depth

    def authorities(self) -> list[str]:
        """Names under which the client may know this server."""
        values = (self.header(b"Host"), self.header(b"X-Forwarded-Host"))
        return [value.strip() for value in values if value]

    def xml(self) -> Element | None:
        """The parsed body; None when there is none. No entities, no DTD, no unbounded size."""
        data = self.body.read_all(XML_LIMIT)
        if not data.strip():
            return None
        root = parse_xml(data)
        if root is None:
            raise Refused(400, "the body is not well-formed XML, or not acceptable")
        return root


@dataclass(slots=True)
class Response:
    """``body`` is sent with a Content-Length; ``stream`` too when ``length`` is known, else chunked.

    What ``stream`` gives at a time goes out together.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    stream: Iterator[Sequence[Buffer]] | None = None
    length: int | None = None


def refused_response(refused: Refused) -> Response:
    """The answer that tells a client why, as a WebDAV condition where there is one."""
    headers = list(refused.headers)
    if refused.condition is not None:
        hrefs = "".join(f"<D:href>{href}</D:href>" for href in refused.hrefs)
        text = (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            f'<D:error xmlns:D="DAV:"><D:{refused.condition}>{hrefs}</D:{refused.condition}></D:error>'
        )
        return Response(refused.status, [*headers, XML_TYPE], text.encode())
    if refused.status == 304:
        return Response(304, headers)
    headers.append(("Content-Type", "text/plain; charset=utf-8"))
    return Response(refused.status, headers, f"{refused}\n".encode())
