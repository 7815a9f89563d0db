"""/api/v1/blobs: bytes under the name of their digest."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import falcon

from graviton_server.auth.identity import READ
from graviton_server.http_api.conditional import Validators, evaluate, wanted_range
from graviton_server.http_api.context import Api, answer, body_of, identity, number, text
from graviton_webdav.dates import http_date
from graviton_webdav.outgoing import Outgoing
from graviton_webdav.shelf import Shelf
from gravitonfs.content.blobs import BlobWriter, StoredBlob, open_blob
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.namespace import BlobRef
from gravitonfs.ports.ops import DropBlobRef

PAGE = 1000
OCTETS = "application/octet-stream"


class Blobs:
    """POST stores one, GET lists those of a volume."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        expected = _expected(req)
        digest, length = (expected.digest, expected.length) if expected is not None else (None, None)
        api = self._api
        body = body_of(req)
        if length is not None and body.declared is not None and body.declared != length:
            raise Invalid(f"the body has {body.declared} bytes, and {length} were announced")
        with (
            api.shelf(req) as shelf,
            api.transfers.slot(),
            BlobWriter(shelf.volume, length, digest) as writer,
        ):
            for piece in api.transfers.pieces(body, api.settings.max_blob_size):
                writer.write(piece)
            stored = writer.finish()
        api.transfers.tallies.uploaded(stored.id.length)
        answer(resp, told(stored), 201)
        resp.location = f"/api/v1/blobs/{stored.id}"
        resp.set_header("ETag", f'"{stored.id.digest.hex()}"')

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = number(req, "limit", 1, PAGE) or PAGE
        after = text(req, "after")
        start = None if after is None else BlobId.parse(after)
        with self._api.shelf(req) as shelf:
            found = shelf.volume.namespace.blobs(start, limit)
        refs = [
            {"id": str(BlobId(ref.digest, ref.length)), "length": ref.length, "created_ns": ref.created_ns}
            for ref in found
        ]
        answer(resp, {"blobs": refs, "next": refs[-1]["id"] if len(refs) == limit else None})


class Blob:
    """One of them, with ranges and conditions."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_head(self, req: falcon.Request, resp: falcon.Response, blob: str) -> None:
        with ExitStack() as held:
            ref, _, _ = self._find(req, blob, held)
            if self._headers(req, resp, ref) is None:
                resp.content_length = ref.length
                resp.status = falcon.HTTP_200

    def on_get(self, req: falcon.Request, resp: falcon.Response, blob: str) -> None:
        with ExitStack() as held:
            ref, wanted, shelf = self._find(req, blob, held)
            if self._headers(req, resp, ref) is not None:
                return
            start, stop, status = wanted_range(req, ref.length, _validators(ref))
            if status == 206:
                resp.set_header("Content-Range", f"bytes {start}-{stop - 1}/{ref.length}")
            resp.status = falcon.code_to_http_status(status)
            reader = open_blob(shelf.volume, wanted)
            stream = Outgoing(self._api.transfers.pace(reader.runs(start, stop)), held.pop_all())
            resp.set_stream(stream, stop - start)  # type: ignore[arg-type]  # any iterable will do
            self._api.transfers.tallies.downloaded(stop - start)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, blob: str) -> None:
        wanted = BlobId.parse(blob)
        with self._api.shelf(req) as shelf:
            ref = shelf.volume.namespace.blob(*wanted)
            if ref is None:
                raise _unknown(wanted)
            evaluate(req, _validators(ref))
            shelf.volume.submit(DropBlobRef(*wanted), durable=True)
        resp.status = falcon.HTTP_204

    def _headers(self, req: falcon.Request, resp: falcon.Response, ref: BlobRef) -> int | None:
        """What every answer tells; 304 where the client has the bytes already."""
        validators = _validators(ref)
        resp.set_header("ETag", validators.etag)
        resp.set_header("Last-Modified", http_date(ref.created_ns))
        resp.set_header("Cache-Control", "private, max-age=31536000, immutable")
        if evaluate(req, validators) == 304:
            resp.status = falcon.HTTP_304
            return 304
        resp.set_header("Accept-Ranges", "bytes")
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.content_type = OCTETS
        return None

    def _find(self, req: falcon.Request, blob: str, held: ExitStack) -> tuple[BlobRef, BlobId, Any]:
        """In the volume that is named, else in any that the caller may read."""
        wanted = BlobId.parse(blob)
        api = self._api
        if text(req, "volume") is not None:
            names = [api.volume_of(req)]
        else:
            who = identity(req)
            first = api.settings.default_volume
            others = [name for name in api.volume_names() if name != first]
            names = [name for name in (first, *others) if who.allows(READ, name)]
        for name in names:
            with ExitStack() as trying:
                shelf = trying.enter_context(api.pool.use(name)).part(Shelf)
                ref = shelf.volume.namespace.blob(*wanted)
                if ref is not None:
                    held.push(trying.pop_all())
                    return ref, wanted, shelf
        raise _unknown(wanted)


def told(stored: StoredBlob) -> dict[str, Any]:
    return {
        "id": str(stored.id),
        "length": stored.id.length,
        "new_bytes": stored.new_bytes,
        "existed": stored.existed,
    }


def _expected(req: falcon.Request) -> BlobId | None:
    value = text(req, "expected")
    return None if value is None else BlobId.parse(value)


def _validators(ref: BlobRef) -> Validators:
    return Validators(f'"{ref.digest.hex()}"', ref.created_ns)


def _unknown(blob: BlobId) -> NotFound:
    return NotFound(f"there is no blob {blob} that you may read")
