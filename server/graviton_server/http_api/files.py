"""/api/v1/files/{path}: the files of a volume by their paths.

Reading is the gateway's own code (ranges, conditions, links). Writing is staged and published whole, respects
WebDAV locks, and makes the directories above where they are missing.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote

import falcon

from graviton_server.http_api.bridge import REQUEST
from graviton_server.http_api.context import Api, answer, body_of, flag, gateway_request, number, text
from graviton_server.http_api.listing import Listing, described, name_at
from graviton_webdav.faults import Refused
from graviton_webdav.messages import Request, Response
from graviton_webdav.outgoing import Outgoing
from graviton_webdav.paths import Path, href, parse_target
from graviton_webdav.resources import Place, is_collection, is_shown
from graviton_webdav.shelf import Shelf
from gravitonfs.content.stage import StagedFile
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import BlobId, Ino
from gravitonfs.errors import Exists, Invalid, IsADirectory, NotADirectory, NotFound, NotPermitted, ReadOnly
from gravitonfs.ports.ops import Attr, Create, RemoveTree, Rmdir, Unlink

PREFIX: Final = b"/api/v1/files"
_PAGE: Final = 10_000
"""Entries of a directory that are asked for at once, at most."""
_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o755


class Root:
    """The root directory of a volume, which is only read."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_head(self, req: falcon.Request, resp: falcon.Response, path: str = "") -> None:
        self._read(req, resp)

    def on_get(self, req: falcon.Request, resp: falcon.Response, path: str = "") -> None:
        self._read(req, resp)

    def _read(self, req: falcon.Request, resp: falcon.Response) -> None:
        names, slash = target(req)
        limit, after = number(req, "limit", 1, _PAGE), text(req, "after")
        start = None if after is None else name_at(after)
        api = self._api
        with ExitStack() as held:
            shelf = held.enter_context(api.shelf(req))
            place, attr = shelf.resources.existing(names, slash=slash)
            if is_collection(attr):
                resp.content_type = "application/json"
                listing = Listing(shelf.volume.namespace, place.path, attr)
                if req.method == "GET" and (limit is not None or start is not None):
                    resp.data = listing.page(start, limit or _PAGE)
                elif req.method == "GET":
                    resp.stream = Outgoing(((piece,) for piece in listing.pieces()), held.pop_all())  # type: ignore[assignment]
                return
            response = shelf.download(gateway_request(req, names, slash=slash))
            relay(resp, response)
            if flag(req, "download"):
                resp.set_header("Content-Disposition", _attachment(names[-1] if names else b""))
            if req.method == "GET":
                length = response.length if response.length is not None else len(response.body)
                api.transfers.tallies.downloaded(length)
                if response.stream is not None:
                    stream = Outgoing(api.transfers.pace(response.stream), held.pop_all())
                    resp.set_stream(stream, length)  # type: ignore[arg-type]
                else:
                    api.transfers.sent(length)


class Files(Root):
    """``path`` in the responders is falcon's, decoded; names are taken from the request as it was sent."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, path: str = "") -> None:
        names, slash = target(req)
        with self._api.shelf(req) as shelf:
            if shelf.volume.namespace.read_only:
                raise ReadOnly("the volume is read-only")
            request = gateway_request(req, names, slash=slash)
            if slash or not names:
                self._make_directory(request, shelf, resp)
            else:
                self._store(req, request, shelf, resp)

    def _store(self, req: falcon.Request, request: Request, shelf: Shelf, resp: falcon.Response) -> None:
        if b"Content-Range" in request.headers:
            raise Invalid("a part of a file cannot be PUT: use /api/v1/uploads")
        api = self._api
        place = _writable(shelf, request)
        wanted = text(req, "expected")
        expected = None if wanted is None else BlobId.parse(wanted)
        hasher = content_hasher() if expected is not None else None
        with (
            api.transfers.slot(),
            shelf.volume.stage(mode=_FILE_MODE, uid=os.getuid(), gid=os.getgid()) as staged,
        ):
            for piece in api.transfers.pieces(body_of(req), api.settings.max_blob_size):
                if hasher is not None:
                    hasher.update(piece)
                staged.write(piece)
            if hasher is not None and BlobId(hasher.digest(), staged.size) != expected:
                raise Invalid(f"the bytes are {BlobId(hasher.digest(), staged.size)}, not {expected}")
            attr = publish(shelf, request, place, staged)
        api.transfers.tallies.uploaded(attr.size)
        digest = staged.digest or shelf.resources.digest(attr)
        resp.set_header("ETag", shelf.resources.etag(attr, digest))
        if place.attr is None:
            resp.location = _location(request.path)
        told = described(request.path[-1], attr, digest) | {"new_bytes": staged.new_bytes}
        answer(resp, told, 201 if place.attr is None else 200)

    def _make_directory(self, request: Request, shelf: Shelf, resp: falcon.Response) -> None:
        if request.body.read_all(1):
            raise Invalid("a directory takes no body: the path of a file does not end with a slash")
        place = shelf.resources.find(request.path)
        if place.attr is not None:
            if not is_collection(place.attr):
                raise NotADirectory("a file has this name")
            attr, status = place.attr, 200
        else:
            shelf.locks.check(request.path, (), request.principal, member=True)
            shelf.conditions.check(request, None)
            make_parents(shelf, request.path, request.principal)
            place = shelf.resources.find(request.path)
            if place.parent is None:
                raise NotADirectory("a link that leads nowhere has this name")
            status = 201 if make_directory(shelf, place.parent, place.name) else 200
            attr = shelf.resources.existing(request.path, slash=True)[1]
            shelf.volume.commit()
            if status == 201:
                resp.location = _location(request.path, slash=True)
        name = request.path[-1] if request.path else b""
        answer(resp, described(name, attr, None), status)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, path: str = "") -> None:
        names, slash = target(req)
        recursive = flag(req, "recursive")
        with self._api.shelf(req) as shelf:
            request = gateway_request(req, names, slash=slash)
            place = shelf.resources.find(names, follow=False)
            attr = place.attr
            if attr is None or (slash and not is_collection(attr)):
                raise NotFound("there is no such file or directory")
            if place.parent is None:
                raise NotPermitted("the root of a volume cannot be deleted; delete what is in it")
            shelf.conditions.check(request, attr)
            with shelf.locks.steady():
                shelf.locks.check(names, (), request.principal, deep=True, member=True)
                shelf.volume.submit(
                    _removal(place.parent, place.name, attr, recursive=recursive),
                    *shelf.locks.removal(names),
                    durable=True,
                )
        resp.status = falcon.HTTP_204


def target(req: falcon.Request) -> tuple[Path, bool]:
    """The names in the request's path, as bytes, and whether it ends with a slash."""
    raw: bytes = req.env[REQUEST].uri.partition(b"?")[0]
    start = raw.find(PREFIX)
    if start < 0:
        raise NotFound("there is nothing at this path")
    return parse_target(raw[start + len(PREFIX) :] or b"/")


def relay(resp: falcon.Response, response: Response) -> None:
    """The gateway's answer as falcon's, but for its stream."""
    resp.status = falcon.code_to_http_status(response.status)
    for name, value in response.headers:
        resp.set_header(name, value)
    if response.stream is None and response.body:
        resp.data = response.body
    elif response.length is not None:
        resp.content_length = response.length


def publish(shelf: Shelf, request: Request, place: Place, staged: StagedFile) -> Attr:
    """Under its name, durable, unless a condition of the request no longer holds."""
    parent = place.parent
    name = place.name
    if parent is None:
        parent = make_parents(shelf, request.path, request.principal)
        name = request.path[-1]
    there = place.attr
    expect = None
    if b"If-Match" in request.headers and there is not None:
        expect = (there.content, there.version)
    absent = there is None and b"If-None-Match" in request.headers
    with shelf.locks.steady():
        shelf.locks.check(request.path, (), request.principal, member=there is None)
        return staged.publish(parent, name, expect=expect, absent=absent, new=there is None)


def make_parents(shelf: Shelf, path: Path, principal: str) -> Ino:
    """The directory that holds the last name of ``path``, made with those above it where they are missing."""
    found = shelf.volume.namespace.root
    for depth in range(1, len(path)):
        above = path[:depth]
        place = shelf.resources.find(above)
        if place.attr is None and place.parent is not None:
            shelf.locks.check(above, (), principal, member=True)
            make_directory(shelf, place.parent, place.name)
            place = shelf.resources.find(above)
        if place.attr is None or not is_collection(place.attr):
            raise NotADirectory(f"{href(above)} is there already, and no directory")
        found = place.attr.ino
    return found


def make_directory(shelf: Shelf, parent: Ino, name: bytes) -> bool:
    """False: somebody else was faster."""
    create = Create(parent, name, shelf.volume.new_ino(), _DIRECTORY_MODE, os.getuid(), os.getgid())
    try:
        shelf.volume.submit(create)
    except Exists:
        return False
    return True


def _writable(shelf: Shelf, request: Request) -> Place:
    place = shelf.resources.find(request.path)
    if place.attr is not None and is_collection(place.attr):
        raise IsADirectory("a directory has this name")
    if place.attr is not None and not is_shown(place.attr):
        raise Refused(403, "this name belongs to something that is no file")
    shelf.conditions.check(request, place.attr)
    shelf.locks.check(request.path, (), request.principal, member=place.attr is None)
    return place


def _removal(parent: Ino, name: bytes, attr: Attr, *, recursive: bool) -> Any:
    if not is_collection(attr):
        return Unlink(parent, name)
    return RemoveTree(parent, name) if recursive else Rmdir(parent, name)


def _attachment(name: bytes) -> str:
    """To be stored and not shown, under its name as far as that is text (RFC 6266, RFC 8187)."""
    return f"attachment; filename*=UTF-8''{quote(name.decode(errors='replace'), safe='')}"


def _location(path: Path, *, slash: bool = False) -> str:
    return PREFIX.decode() + href(path, collection=slash)
