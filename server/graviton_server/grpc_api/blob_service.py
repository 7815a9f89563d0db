"""BlobService: whole blobs in and out, through the one content pipeline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from graviton_server.control.tallies import Tallies
from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.calls import Call
from graviton_server.grpc_api.rates import Rates
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.grpc_api.uploads import Patient
from graviton_server.limits import UploadSlots
from gravitonfs.content.blobs import BlobWriter, open_blob
from gravitonfs.content.pool import VolumePool
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import FileTooLarge, Invalid, NotFound, OutOfRange, Unavailable
from gravitonfs.ports.ops import DropBlobRef
from gravitonfs.rpc.graviton.v1 import blobs_pb2 as pb

MESSAGE: Final = 1 << 20
PAGE_MAX: Final = 1_000
_CUT: Final = 0.1
"""Seconds until a client that has gone is known to have."""


def _not_cut(call: Call) -> None:
    """A stream that a client has left looks as if it had ended until the call itself is seen to be over, a
    moment later. Nothing else tells where neither a digest nor a length was declared."""
    over = threading.Event()
    if not call.when_over(over.set) or over.wait(_CUT):
        raise Unavailable("the upload was cut off")


class BlobService:
    def __init__(
        self,
        backend: Backend,
        pool: VolumePool,
        settings: GrpcSettings,
        tallies: Tallies,
        rates: Rates,
        slots: UploadSlots,
    ) -> None:
        self._backend = backend
        self._pool = pool
        self._settings = settings
        self._tallies = tallies
        self._rates = rates
        self._slots = slots

    def upload(self, requests: Iterator[pb.UploadRequest], call: Call) -> pb.UploadReply:
        messages = Patient(requests, self._settings.request_timeout)
        try:
            with self._slots.one():
                return self._upload(iter(messages), call)
        finally:
            messages.close()

    def _upload(self, messages: Iterator[pb.UploadRequest], call: Call) -> pb.UploadReply:
        first = next(messages, None)
        if first is None or not first.HasField("header"):
            raise Invalid("an upload begins with a header")
        header = first.header
        volume = header.volume or "main"
        call.may_write(volume)
        if len(header.digest) not in (0, 32):
            raise Invalid("a digest has 32 bytes")
        length = header.length if header.HasField("length") else None
        self._bounded(length or 0)
        with (
            self._pool.volume(volume) as attached,
            BlobWriter(attached, length, header.digest or None) as writer,
        ):
            for data in _bytes_of(first, messages):
                self._bounded(writer.size + len(data))
                self._rates.received(len(data))
                writer.write(data)
            if length is None and not header.digest:
                _not_cut(call)
            stored = writer.finish()
        self._tallies.uploaded(stored.id.length)
        return pb.UploadReply(
            id=str(stored.id), length=stored.id.length, new_bytes=stored.new_bytes, existed=stored.existed
        )

    def _bounded(self, size: int) -> None:
        if size > self._settings.max_blob_size:
            raise FileTooLarge(f"blobs have at most {self._settings.max_blob_size} bytes here")

    def download(self, request: pb.DownloadRequest, call: Call) -> Iterator[pb.DownloadReply]:
        volume = request.volume or "main"
        call.may_read(volume)
        blob = BlobId.parse(request.id)
        if request.offset > blob.length:
            raise OutOfRange(f"the blob has {blob.length} bytes")
        end = blob.length
        if request.HasField("length"):
            end = min(end, request.offset + request.length)
        with self._pool.volume(volume) as attached:
            reader = open_blob(attached, blob)
            for piece in reader.stream(request.offset, end):
                view = memoryview(piece)
                for at in range(0, view.nbytes, MESSAGE):
                    part = view[at : at + MESSAGE]
                    self._rates.sent(part.nbytes)
                    yield pb.DownloadReply(data=bytes(part))
                if not call.active:
                    return
        self._tallies.downloaded(end - request.offset)

    def stat(self, request: pb.StatBlobRequest, call: Call) -> pb.BlobInfo:
        volume = request.volume or "main"
        call.may_read(volume)
        blob = BlobId.parse(request.id)
        with self._pool.volume(volume) as attached:
            found = attached.namespace.blob(*blob)
        if found is None:
            raise NotFound(f"there is no blob {blob} in volume {volume!r}")
        return pb.BlobInfo(id=str(blob), length=blob.length, created_ns=found.created_ns)

    def list(self, request: pb.ListBlobsRequest, call: Call) -> pb.ListBlobsReply:
        volume = request.volume or "main"
        call.may_read(volume)
        after = BlobId.parse(request.after) if request.after else None
        limit = min(request.limit or PAGE_MAX, PAGE_MAX)
        with self._pool.volume(volume) as attached:
            found = attached.namespace.blobs(after, limit + 1)
        shown = [
            pb.BlobInfo(id=str(BlobId(ref.digest, ref.length)), length=ref.length, created_ns=ref.created_ns)
            for ref in found[:limit]
        ]
        return pb.ListBlobsReply(blobs=shown, more=len(found) > limit)

    def delete(self, request: pb.DeleteBlobRequest, call: Call) -> pb.DeleteBlobReply:
        volume = request.volume or "main"
        call.may_write(volume)
        with self._pool.volume(volume) as attached:
            attached.submit(DropBlobRef(*BlobId.parse(request.id)), durable=True)
        return pb.DeleteBlobReply()


def _bytes_of(first: pb.UploadRequest, messages: Iterator[pb.UploadRequest]) -> Iterator[bytes]:
    """What the messages carry, while the messages themselves go: writing may wait."""
    data = first.data
    del first
    yield data
    for message in messages:
        if message.HasField("header"):
            raise Invalid("an upload has one header, in its first message")
        data = message.data
        del message
        yield data
