"""BlobService: whole blobs in and out, through the one content pipeline."""

from __future__ import annotations

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
from gravitonfs.errors import FileTooLarge, Invalid, NotFound, OutOfRange
from gravitonfs.ports.ops import DropBlobRef
from gravitonfs.rpc.graviton.v1 import blobs_pb2 as pb

MESSAGE: Final = 1 << 20
PAGE_MAX: Final = 1_000


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
            incoming = _Incoming(first, messages)
            for data in incoming:
                self._bounded(writer.size + len(data))
                self._rates.received(len(data))
                writer.write(data)
            if not incoming.ended and length is None and not header.digest:
                raise Invalid(
                    f"the upload stopped after {writer.size} bytes without an end, as if it were cut off:"
                    " set 'end' in the last message, or tell the length or the digest in the header"
                )
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


class _Incoming:
    """What the messages carry, while the messages themselves go: writing may wait."""

    def __init__(self, first: pb.UploadRequest, messages: Iterator[pb.UploadRequest]) -> None:
        self._first: pb.UploadRequest | None = first
        self._messages = messages
        self.ended = False
        """By its own word, not by a call that may have been cut off."""

    def __iter__(self) -> Iterator[bytes]:
        message, self._first = self._first, None
        while message is not None:
            data, self.ended = message.data, message.end
            del message
            yield data
            message = next(self._messages, None)
            if message is not None and self.ended:
                raise Invalid("nothing may follow the end of an upload")
            if message is not None and message.HasField("header"):
                raise Invalid("an upload has one header, in its first message")
