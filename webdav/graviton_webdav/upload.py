"""PUT: staged beside the tree and published whole, or not at all.

Order: preconditions and locks, the bytes into blocks, the declared lengths, then, while no lock can be
made, the locks again and the publication, which is durable when it returns. Only then the answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from graviton_webdav.conditions import Conditions
from graviton_webdav.dates import NANO, http_date
from graviton_webdav.faults import Refused
from graviton_webdav.locks import Locks
from graviton_webdav.messages import Request, Response
from graviton_webdav.resources import Place, Resources, is_collection, is_shown
from graviton_webdav.traffic import Traffic, Unhindered
from gravitonfs.content.stage import StagedFile
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Attr

_MTIME = re.compile(r"\s*(\d{1,11})(?:\.(\d{1,9})\d*)?\s*")
NANO_DIGITS = 9


class Owner(NamedTuple):
    """Whom files belong to that come in through the gateway, and their modes."""

    uid: int
    gid: int
    file_mode: int = 0o644
    directory_mode: int = 0o755


def parse_mtime(text: str | None) -> int | None:
    """``X-OC-Mtime`` (ownCloud, rclone): seconds since the epoch, as nanoseconds; None where useless."""
    match = _MTIME.fullmatch(text or "")
    if match is None:
        return None
    return int(match[1]) * NANO + int((match[2] or "").ljust(NANO_DIGITS, "0"))


class Upload:
    """The method PUT."""

    def __init__(
        self,
        resources: Resources,
        locks: Locks,
        conditions: Conditions,
        owner: Owner,
        limit: int | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """``limit``: bytes of a file, where that is less than what the volume's format allows."""
        most = resources.volume.namespace.format.max_file_size
        self._limit = most if limit is None else min(limit, most)
        self._traffic = traffic or Unhindered()
        self._resources = resources
        self._volume = resources.volume
        self._locks = locks
        self._conditions = conditions
        self._owner = owner

    def __call__(self, request: Request) -> Response:
        length = _expected_length(request)
        if length is not None and length > self._limit:
            raise Refused(413, f"files here have at most {self._limit} bytes")
        place, parent = self._target(request)
        tokens = self._permitted(request, place)
        mtime = parse_mtime(request.header(b"X-Oc-Mtime"))
        owner = self._owner
        with (
            self._traffic.slot(),
            self._volume.stage(mode=owner.file_mode, uid=owner.uid, gid=owner.gid) as staged,
        ):
            for piece in self._traffic.pieces(request.body, self._limit):
                staged.write(piece)
            if length is not None and staged.size != length:
                raise Refused(400, f"the body has {staged.size} bytes where {length} were announced")
            attr = self._publish(request, place, parent, staged, tokens, mtime)
        headers = [
            ("ETag", self._resources.etag(attr, staged.digest)),
            ("Last-Modified", http_date(attr.mtime_ns)),
        ]
        if mtime is not None:
            headers.append(("X-OC-MTime", "accepted"))
        return Response(201 if place.attr is None else 204, headers)

    def _target(self, request: Request) -> tuple[Place, Ino]:
        if b"Content-Range" in request.headers:
            raise Refused(400, "a part of a file cannot be PUT")
        if (request.header(b"Content-Encoding") or "identity").lower() != "identity":
            raise Refused(415, "content encodings are not decoded here")
        place = self._resources.find(request.path)
        if request.slash or (place.attr is not None and is_collection(place.attr)):
            raise Refused(405, "a collection cannot be PUT", headers=[("Allow", "PROPFIND, MKCOL, DELETE")])
        if place.parent is None:
            raise Refused(409, "the collection that would hold the file does not exist")
        if place.attr is not None and not is_shown(place.attr):
            raise Refused(403, "this name belongs to something that is no file")
        return place, place.parent

    def _permitted(self, request: Request, place: Place) -> frozenset[str]:
        tokens = self._conditions.tokens(request)
        self._conditions.check(request, place.attr)
        self._locks.check(request.path, tokens, request.principal, member=place.attr is None)
        return tokens

    def _publish(
        self,
        request: Request,
        place: Place,
        parent: Ino,
        staged: StagedFile,
        tokens: frozenset[str],
        mtime: int | None,
    ) -> Attr:
        expect: tuple[int, int] | None = None
        if b"If-Match" in request.headers and place.attr is not None:
            expect = (place.attr.content, place.attr.version)
        absent = place.attr is None and b"If-None-Match" in request.headers
        with self._locks.steady():
            self._locks.check(request.path, tokens, request.principal, member=place.attr is None)
            return staged.publish(
                parent, place.name, expect=expect, absent=absent, mtime_ns=mtime, new=place.attr is None
            )


def _expected_length(request: Request) -> int | None:
    """The file's length as the client told it: Content-Length, or Finder's header beside a chunked body."""
    told = request.header(b"X-Expected-Entity-Length")
    if told is None:
        return request.body.declared
    if not told.strip().isdigit() or len(told) > 18:
        raise Refused(400, "X-Expected-Entity-Length is no number")
    expected = int(told)
    if request.body.declared is not None and request.body.declared != expected:
        raise Refused(400, "Content-Length and X-Expected-Entity-Length differ")
    return expected
