"""/api/v1/uploads: uploads in parts, which may be interrupted and go on, also after a restart.

An upload is an inode without a name that the volume retains, and a record beside it. Parts are appended, each
durable when it is answered. In the end the bytes become a blob, or a file under a path.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import falcon
import msgspec

from graviton_server.http_api.blobs import told
from graviton_server.http_api.context import (
    Api,
    answer,
    body_of,
    document,
    gateway_request,
    identity,
    whole,
)
from graviton_server.http_api.files import PREFIX, make_parents
from graviton_server.http_api.listing import described
from graviton_webdav.faults import Refused
from graviton_webdav.paths import Path, check_names, href
from graviton_webdav.resources import is_collection
from graviton_webdav.shelf import Shelf
from gravitonfs.content.blobs import StoredBlob
from gravitonfs.core.hashing import EMPTY_DIGEST, ContentHasher, content_hasher
from gravitonfs.core.ids import NO_INO, BlobId, Ino
from gravitonfs.errors import Busy, FileTooLarge, GravitonError, Invalid, IsADirectory, NotFound, Stale
from gravitonfs.ports.ops import (
    AddBlobRef,
    Attr,
    Create,
    Disclaim,
    Op,
    Publish,
    Retain,
    Seal,
    SetRecord,
    Truncate,
)

SPACE: Final = "uploads"
KEPT: Final = 7 * 24 * 3600
"""Seconds after its last part an upload is given up."""
_SWEEP: Final = 3600.0
_ACTIVE_MAX: Final = 4096
_WAIT: Final = 60.0
_STAGED: Final = 0o100644
OFFSET: Final = "Upload-Offset"


class Row(msgspec.Struct, frozen=True):
    """As it is kept; times in seconds since the epoch."""

    ino: int
    created: float
    owner: str
    length: int | None = None
    expected: str | None = None
    path: str | None = None
    names: list[bytes] | None = None
    """Of the path, where that is no text."""


class New(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks for. ``path``: a file instead of a blob; ``path_base64``: where it is no text."""

    length: int | float | None = None
    expected: str | None = None
    path: str | None = None
    path_base64: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode


class _Active:
    """What memory knows of an upload: who is at it, and the running digest up to ``hashed``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.hasher: ContentHasher = content_hasher()
        self.hashed = 0
        self.new_bytes = 0


class Running:
    """Uploads of this process by id. ``_lock`` guards the table; each upload's own lock its fields."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: OrderedDict[str, _Active] = OrderedDict()
        self._swept = -_SWEEP

    @contextmanager
    def one(self, number: str) -> Iterator[_Active]:
        """Alone at an upload; Busy where somebody is."""
        with self._lock:
            found = self._active.setdefault(number, _Active())
            self._active.move_to_end(number)
            while len(self._active) > _ACTIVE_MAX:
                self._active.popitem(last=False)  # its digest is computed from its bytes in the end
        if not found.lock.acquire(blocking=False):
            raise Busy("another request is at this upload")
        try:
            yield found
        finally:
            found.lock.release()

    def forget(self, number: str) -> None:
        with self._lock:
            self._active.pop(number, None)

    def sweep_due(self) -> bool:
        with self._lock:
            now = time.monotonic()
            due = now - self._swept >= _SWEEP
            if due:
                self._swept = now
            return due


class Uploads:
    """POST begins one, GET lists those under way."""

    def __init__(self, api: Api, running: Running) -> None:
        self._api = api
        self._running = running

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        new = document(req, self._api, New)
        length = whole(new.length, "length", 1 << 62)
        names = _check_new(new, length, self._api.settings.max_blob_size)
        path = new.path if new.path_base64 is None else "/" + b"/".join(names or ()).decode(errors="replace")
        exact = None if new.path_base64 is None else list(names or ())
        number = uuid.uuid4().hex
        with self._api.shelf(req) as shelf:
            if self._running.sweep_due():
                sweep(shelf)
            ino = shelf.volume.new_ino()
            row = Row(ino, time.time(), identity(req).name, length, new.expected, path, exact)
            shelf.volume.submit(
                Create(NO_INO, b"", ino, _STAGED, os.getuid(), os.getgid()),
                Retain(ino),
                SetRecord(SPACE, number.encode(), _encode(row), b""),
                durable=True,
            )
        answer(resp, self._told(number, row, 0), 201)
        resp.location = f"/api/v1/uploads/{number}"
        resp.set_header(OFFSET, "0")

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        found = []
        with self._api.shelf(req) as shelf:
            for key, value in shelf.volume.namespace.records(SPACE):
                row = _decode(value)
                try:
                    size = shelf.volume.namespace.attr(Ino(row.ino)).size
                except Stale:
                    continue
                found.append(self._told(key.decode(), row, size))
        answer(resp, {"uploads": found})

    def _told(self, number: str, row: Row, offset: int) -> dict[str, Any]:
        return told_of(number, row, offset, self._api.settings.max_request_size)


def told_of(number: str, row: Row, offset: int, part_limit: int) -> dict[str, Any]:
    return {
        "id": number, "offset": offset, "length": row.length, "expected": row.expected, "path": row.path,
        "part_limit": part_limit, "created": row.created,
    }  # fmt: skip


class Upload:
    """One: HEAD tells how far it is, PATCH adds a part, POST completes it, DELETE gives it up."""

    def __init__(self, api: Api, running: Running) -> None:
        self._api = api
        self._running = running

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        self._tell(req, resp, upload)

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        self._tell(req, resp, upload)

    def _tell(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        with self._api.shelf(req) as shelf:
            row, attr = find(shelf, upload)
        told = told_of(upload, row, attr.size, self._api.settings.max_request_size)
        answer(resp, told)
        resp.set_header(OFFSET, str(attr.size))
        resp.set_header("Cache-Control", "no-store")

    def on_patch(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        offset = _offset(req)
        with self._api.shelf(req) as shelf, self._running.one(upload) as active:
            row, attr = find(shelf, upload)
            if offset != attr.size:
                resp.set_header(OFFSET, str(attr.size))
                raise Refused(409, f"the upload stands at {attr.size}, not at {offset}")
            with self._api.transfers.slot():
                size = self._append(req, shelf, attr, row, active)
        resp.status = falcon.HTTP_204
        resp.set_header(OFFSET, str(size))

    def _append(self, req: falcon.Request, shelf: Shelf, attr: Attr, row: Row, active: _Active) -> int:
        """The part at the end of what is there. What came before a cut connection is kept; a part that is
        refused is taken back."""
        settings = self._api.settings
        most = settings.max_blob_size if row.length is None else row.length
        if body_of(req).declared is not None and attr.size + (body_of(req).declared or 0) > most:
            raise FileTooLarge(f"the upload would have more than {most} bytes")
        writer = shelf.volume.writer(attr)
        budget = shelf.volume.shared.dirty
        offset = attr.size
        if active.hashed != offset:
            active.hasher, active.hashed = content_hasher(), -1 if offset else 0
        try:
            for piece in self._api.transfers.pieces(body_of(req), settings.max_request_size):
                if offset + len(piece) > most:
                    raise FileTooLarge(f"the upload would have more than {most} bytes")
                writer.write(offset, piece)
                offset += len(piece)
                if active.hashed >= 0:
                    active.hasher.update(piece)
                    active.hashed = offset
                if budget.exceeded():
                    writer.push()
                    if not budget.wait(_WAIT):
                        writer.flush()
        except (Refused, OSError):
            writer.flush(durable=True)
            raise
        except GravitonError:
            active.hashed = -1
            writer.discard()
            shelf.volume.submit(Truncate(attr.ino, attr.size), durable=True)
            raise
        writer.flush(durable=True)
        return offset

    def on_delete(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        with self._api.shelf(req) as shelf, self._running.one(upload):
            row, _ = find(shelf, upload)
            shelf.volume.submit(*_gone(upload, row), durable=True)
            self._running.forget(upload)
        resp.status = falcon.HTTP_204

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload: str) -> None:
        """Complete it."""
        with self._api.shelf(req) as shelf, self._running.one(upload) as active:
            row, attr = find(shelf, upload)
            if row.length is not None and attr.size != row.length:
                raise Refused(409, f"{attr.size} of {row.length} bytes are here: send the rest first")
            blob = BlobId(self._digest(shelf, attr, active), attr.size)
            if row.expected is not None and BlobId.parse(row.expected) != blob:
                raise Refused(409, f"the bytes are {blob}, not {row.expected} as was announced")
            if row.path is None:
                value, where = self._keep(shelf, upload, row, attr, blob)
            else:
                value, where = self._publish(req, shelf, upload, row, attr, blob)
            self._running.forget(upload)
        self._api.transfers.tallies.uploaded(attr.size)
        answer(resp, value, 201)
        resp.location = where

    def _digest(self, shelf: Shelf, attr: Attr, active: _Active) -> bytes:
        """Streamed with the parts where this process has seen them all, else of the stored bytes."""
        if not attr.content:
            return EMPTY_DIGEST if not attr.size else _hash_all(shelf, attr)
        known = shelf.volume.namespace.content(attr.content)
        if known.digest is not None:
            return known.digest
        if active.hashed == attr.size and not self._api.settings.shared:
            return active.hasher.digest()
        return _hash_all(shelf, attr)

    def _keep(
        self, shelf: Shelf, upload: str, row: Row, attr: Attr, blob: BlobId
    ) -> tuple[dict[str, Any], str]:
        existed = shelf.volume.namespace.blob(*blob) is not None
        ops = (*_sealing(shelf, attr, blob), AddBlobRef(attr.ino, *blob), *_gone(upload, row))
        shelf.volume.submit(*ops, durable=True)
        value = told(StoredBlob(blob, 0, existed))
        del value["new_bytes"]  # parts may have come through other daemons
        return value, f"/api/v1/blobs/{blob}"

    def _publish(
        self, req: falcon.Request, shelf: Shelf, upload: str, row: Row, attr: Attr, blob: BlobId
    ) -> tuple[dict[str, Any], str]:
        path = tuple(row.names) if row.names is not None else _path(row.path or "")
        request = gateway_request(req, path)
        there = shelf.resources.find(path)
        if there.attr is not None and is_collection(there.attr):
            raise IsADirectory("a directory has this name")
        parent = there.parent if there.parent is not None else make_parents(shelf, path, request.principal)
        name = there.name if there.parent is not None else path[-1]
        with shelf.locks.steady():
            shelf.locks.check(path, (), request.principal, member=there.attr is None)
            results = shelf.volume.submit(
                *_sealing(shelf, attr, blob),
                Publish(attr.ino, parent, name),
                SetRecord(SPACE, upload.encode(), None),
                durable=True,
            )
        published = next(result for result in results if isinstance(result, Attr))
        return described(path[-1], published, blob.digest), PREFIX.decode() + href(path)


def find(shelf: Shelf, number: str) -> tuple[Row, Attr]:
    """Raises NotFound."""
    key = number.encode("utf-8", "surrogateescape")
    for found, value in shelf.volume.namespace.records(SPACE, key):
        if found == key:
            row = _decode(value)
            try:
                return row, shelf.volume.namespace.attr(Ino(row.ino))
            except Stale:
                break
    raise NotFound("there is no such upload: it has been completed, given up, or was never begun")


def sweep(shelf: Shelf) -> None:
    """Give up what nobody has continued for long."""
    limit = time.time() - KEPT
    for key, value in shelf.volume.namespace.records(SPACE):
        row = _decode(value)
        try:
            if shelf.volume.namespace.attr(Ino(row.ino)).mtime_ns / 1e9 >= limit:
                continue
            ops = _gone(key.decode(), row)
        except Stale:
            ops = (SetRecord(SPACE, key, None),)
        shelf.volume.submit(*ops)


def _gone(number: str, row: Row) -> tuple[Op, ...]:
    """Let go of the upload's inode, and of its record."""
    ino = Ino(row.ino)
    return Disclaim((ino,)), Retain(ino, False), SetRecord(SPACE, number.encode(), None)


def _sealing(shelf: Shelf, attr: Attr, blob: BlobId) -> tuple[Op, ...]:
    if not attr.content or shelf.volume.namespace.content(attr.content).digest is not None:
        return ()
    return (Seal(attr.content, attr.version, blob.digest),)


def _hash_all(shelf: Shelf, attr: Attr) -> bytes:
    hasher = content_hasher()
    for piece in shelf.volume.reader(attr).stream(0, attr.size):
        hasher.update(piece)
    return hasher.digest()


def _offset(req: falcon.Request) -> int:
    value = req.get_header(OFFSET)
    if value is None or not value.isascii() or not value.isdecimal() or len(value) > 18:
        raise Invalid(f"{OFFSET} is missing or no number: it tells where the part belongs")
    return int(value)


def _check_new(new: New, length: int | None, limit: int) -> Path | None:
    """The names of the path, if one is given."""
    if length is not None and length > limit:
        raise FileTooLarge(f"an upload has at most {limit} bytes, not {length}")
    if new.expected is not None:
        blob = BlobId.parse(new.expected)
        if length is not None and blob.length != length:
            raise Refused(409, "length and expected differ")
    names = None if new.path is None else _path(new.path)
    return names if new.path_base64 is None else _exact(new.path_base64)


def _exact(text: str) -> Path:
    try:
        path = base64.b64decode(text, validate=True)
    except ValueError:
        raise Invalid("path_base64 is Base64") from None
    try:
        return _names(path)
    except (Invalid, Refused) as wrong:
        raise NotFound(f"no file can have this path: {wrong}") from None


def _path(text: str) -> Path:
    """A path in a volume, as JSON has it: not escaped."""
    return _names(text.encode("utf-8", "surrogatepass"))


def _names(path: bytes) -> Path:
    if b"\0" in path or path.endswith(b"/"):
        raise Invalid("path is that of a file: it has no NUL and does not end with a slash")
    names = tuple(part for part in path.split(b"/") if part)
    if not names:
        raise Invalid("path is that of a file, not of the root")
    check_names(names)
    return names
