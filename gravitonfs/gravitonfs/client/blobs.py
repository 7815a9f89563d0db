"""Blobs of a daemon: up and down in streams, verified at both ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from google.protobuf.message import Message
from typing_extensions import Buffer

from gravitonfs.client.connection import Connection
from gravitonfs.client.failures import Pauses
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import Damaged, Unavailable
from gravitonfs.rpc.graviton.v1 import blobs_pb2 as pb

_SERVICE: Final = "/graviton.v1.BlobService/"
_CALL: Final = 60.0
MESSAGE: Final = 256 << 10
"""The daemon holds a message or two of every upload beyond its budget."""


class Uploaded(NamedTuple):
    """``new_bytes``: those that the store did not have yet; ``existed``: the volume had this blob."""

    id: str
    length: int
    new_bytes: int
    existed: bool


class BlobStat(NamedTuple):
    id: str
    length: int
    created_ns: int


class Blobs:
    """The blobs of one volume."""

    def __init__(self, connection: Connection, volume: str, timeout: float = 60.0) -> None:
        """``timeout``: how long a download waits for a daemon that is away, to go on where it was."""
        self._connection = connection
        self._volume = volume
        self._timeout = timeout

    def put(self, data: Buffer | Iterable[Buffer], *, id: str | None = None) -> Uploaded:
        """Store bytes, or pieces of them as they come. ``id``: what they are known to be; else Invalid.

        What arrived at the daemon is compared with what was sent.
        """
        pieces = [data] if isinstance(data, (bytes, bytearray, memoryview)) else data
        expected = None if id is None else BlobId.parse(id)
        hasher = content_hasher()
        sent = 0

        def requests() -> Iterator[Message]:
            nonlocal sent
            header = pb.UploadHeader(volume=self._volume)
            if expected is not None:
                header.length, header.digest = expected.length, expected.digest
            yield pb.UploadRequest(header=header)
            for part in _parts(pieces):  # type: ignore[arg-type]
                hasher.update(part)
                sent += len(part)
                yield pb.UploadRequest(data=part)
            yield pb.UploadRequest(end=True)

        reply = self._connection.upload(_SERVICE + "Upload", requests(), pb.UploadReply)
        if BlobId.parse(reply.id) != BlobId(hasher.digest(), sent):
            raise Damaged(f"the daemon stored {reply.id}, which is not what was sent")
        return Uploaded(reply.id, reply.length, reply.new_bytes, reply.existed)

    def get(self, id: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes, or a range of them. A whole blob is compared with its digest."""
        return b"".join(self.stream(id, offset, length))

    def stream(self, id: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        blob = BlobId.parse(id)
        expected = max(0, min(blob.length - offset, blob.length if length is None else length))
        whole = expected == blob.length
        hasher = content_hasher()
        got = 0
        deadline, pauses = time.monotonic() + self._timeout, Pauses()
        while True:
            request = pb.DownloadRequest(
                volume=self._volume, id=id, offset=offset + got, length=expected - got
            )
            calls = self._connection.stream(_SERVICE + "Download", request, pb.DownloadReply, bulk=True)
            try:
                for message in calls:
                    got += len(message.data)
                    if whole:
                        hasher.update(message.data)
                    yield message.data
                    deadline, pauses = time.monotonic() + self._timeout, Pauses()
                break
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                pauses.wait()
            finally:
                calls.cancel()
        if got != expected or (whole and hasher.digest() != blob.digest):
            raise Damaged(f"{id} came with other bytes than its id says")

    def stat(self, id: str) -> BlobStat:
        request = pb.StatBlobRequest(volume=self._volume, id=id)
        found = self._connection.call(_SERVICE + "Stat", request, pb.BlobInfo, timeout=_CALL)
        return BlobStat(found.id, found.length, found.created_ns)

    def list(self) -> Iterator[BlobStat]:
        after = ""
        while True:
            request = pb.ListBlobsRequest(volume=self._volume, after=after)
            page = self._connection.call(_SERVICE + "List", request, pb.ListBlobsReply, timeout=_CALL)
            for found in page.blobs:
                yield BlobStat(found.id, found.length, found.created_ns)
                after = found.id
            if not page.more:
                return

    def delete(self, id: str) -> None:
        """Drop the volume's reference; files that have these bytes keep them."""
        request = pb.DeleteBlobRequest(volume=self._volume, id=id)
        self._connection.call(_SERVICE + "Delete", request, pb.DeleteBlobReply, timeout=_CALL)


def _parts(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """Messages of a quarter of a megabyte: small pieces are gathered, large ones cut."""
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        for at in range(0, view.nbytes, MESSAGE):
            part = bytes(view[at : at + MESSAGE])
            if size + len(part) > MESSAGE:
                yield b"".join(gathered)
                gathered, size = [], 0
            gathered.append(part)
            size += len(part)
    if gathered:
        yield b"".join(gathered)
