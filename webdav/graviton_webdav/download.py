"""GET and HEAD: whole files, ranges, and a page for browsers where the URL is a collection."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from typing_extensions import Buffer

from graviton_webdav.conditions import Conditions
from graviton_webdav.content_types import content_type
from graviton_webdav.dates import NANO, http_date, parse_http_date
from graviton_webdav.listing import listing
from graviton_webdav.messages import Request, Response
from graviton_webdav.ranges import parse_ranges
from graviton_webdav.resources import Resources, is_collection
from gravitonfs.content.reader import ContentReader
from gravitonfs.errors import Stale
from gravitonfs.ports.ops import Attr

SMALL = 64 << 10
"""A file up to this size is answered in one piece."""
_TRIES = 20
_ACTIVE = frozenset(("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"))


class Download:
    """The methods GET and HEAD."""

    def __init__(self, resources: Resources, conditions: Conditions) -> None:
        self._resources = resources
        self._conditions = conditions

    def __call__(self, request: Request) -> Response:
        """A file that is replaced between being found and being read is found once more."""
        for _ in range(_TRIES - 1):
            try:
                return self._answer(request)
            except Stale:
                pass
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        place, attr = self._resources.existing(request.path, slash=request.slash)
        if b"If" in request.headers:
            self._conditions.tokens(request)
        self._conditions.check(request, attr)
        if is_collection(attr):
            return listing(self._resources, place.path, attr)
        etag = self._resources.etag(attr)
        kind = content_type(request.path[-1])
        headers = [
            ("Content-Type", kind),
            ("Last-Modified", http_date(attr.mtime_ns)),
            ("ETag", etag),
            ("Accept-Ranges", "bytes"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if kind in _ACTIVE:
            # Files are their owners' data, not this server's pages: a browser must run nothing of them.
            headers.append(("Content-Security-Policy", "sandbox"))
        if request.method == "HEAD":
            return Response(200, headers, length=attr.size)
        ranges = self._ranges(request, attr, etag)
        reader = self._resources.volume.reader(attr)
        if ranges is None:
            return self._piece(reader, Response(200, headers, length=attr.size), 0, attr.size)
        if len(ranges) == 1:
            start, stop = ranges[0]
            return self._piece(reader, _partial(headers, attr.size, ranges[0]), start, stop)
        return _multipart(reader, headers, attr.size, ranges, kind)

    def _ranges(self, request: Request, attr: Attr, etag: str) -> list[tuple[int, int]] | None:
        value = request.header(b"Range")
        if value is None or (b"If-Range" in request.headers and not _still(request, attr, etag)):
            return None
        return parse_ranges(value, attr.size)

    def _piece(self, reader: ContentReader, response: Response, start: int, stop: int) -> Response:
        if stop - start <= SMALL:
            response.body = bytes(reader.read(start, stop - start))
        else:
            response.stream = _begun(reader.runs(start, stop))
        return response


def _begun(runs: Iterator[Sequence[Buffer]]) -> Iterator[Sequence[Buffer]]:
    """With the first of them read: what fails then can still be answered, or tried again."""
    first = next(runs, ())

    def all_of_them() -> Iterator[Sequence[Buffer]]:
        yield first
        yield from runs

    return all_of_them()


def _still(request: Request, attr: Attr, etag: str) -> bool:
    value = (request.header(b"If-Range") or "").strip()
    if value.startswith('"'):
        return value == etag
    since = parse_http_date(value)
    return since is not None and since == attr.mtime_ns // NANO


def _partial(headers: list[tuple[str, str]], size: int, piece: tuple[int, int]) -> Response:
    start, stop = piece
    told = ("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    return Response(206, [*headers, told], length=stop - start)


def _multipart(
    reader: ContentReader,
    headers: list[tuple[str, str]],
    size: int,
    ranges: list[tuple[int, int]],
    kind: str,
) -> Response:
    boundary = uuid.uuid4().hex
    heads = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n"
        ).encode()
        for start, stop in ranges
    ]
    end = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(end)

    def parts() -> Iterator[Sequence[Buffer]]:
        for head, (start, stop) in zip(heads, ranges, strict=True):
            yield (head,)
            yield from reader.runs(start, stop)
        yield (end,)

    told = [item for item in headers if item[0] != "Content-Type"]
    told.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Response(206, told, stream=parts(), length=length)
