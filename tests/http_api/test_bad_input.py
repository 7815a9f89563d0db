"""What bad input gets: for both protocols the documented status, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.failures import failure_of
from gravitonfs.core.hashing import content_hasher
from gravitonfs.errors import (
    FileTooLarge,
    GravitonError,
    Invalid,
    NameTooLong,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from gravitonfs.rpc.graviton.v1 import blobs_pb2, namespace_pb2
from harness.api import Api, blob_id
from harness.issuer import AUDIENCE, ISSUER, Issuer
from harness.waiting import wait_until

MIB = 1 << 20
BODY = os.urandom(2 * MIB)
OTHER = os.urandom(2 * MIB)
TOO_LARGE = os.urandom(4 * MIB + 1)


class Bad:
    """One daemon with small limits, and who asks it."""

    def __init__(self, daemon: Any, issuer: Issuer) -> None:
        self.daemon, self.issuer = daemon, issuer
        self.good = issuer.token("k", "graviton:read graviton:write graviton:admin")
        self.api: Api = daemon.client(self.good)
        self.grpc = next(w.partition("=")[2] for w in daemon.ready.split() if w.startswith("grpc="))
        self.admin = Client(f"graviton://{self.grpc}", token=self.good, timeout=10)

    def raw(self, head: str, body: bytes, *, finish: bool) -> bytes:
        """The answer to a request of which these are all bytes that come."""
        with self.api.raw() as sock:
            authorization = f"Authorization: Bearer {self.good}\r\n"
            sock.sendall(f"{head}\r\nHost: localhost\r\n{authorization}\r\n".encode() + body)
            if finish:
                sock.shutdown(socket.SHUT_WR)
            return sock.recv(65536)

    def upload(
        self, pieces: Iterator[bytes], *, volume: str = "main", token: str | None = None, **header: Any
    ) -> None:
        """By gRPC, as it comes: the client's own checks are left out."""

        def requests() -> Iterator[blobs_pb2.UploadRequest]:
            yield blobs_pb2.UploadRequest(header=blobs_pb2.UploadHeader(volume=volume, **header))
            for piece in pieces:
                yield blobs_pb2.UploadRequest(data=piece)

        connection = Connection(Endpoint((self.grpc,), token=self.good if token is None else token))
        try:
            connection.upload("/graviton.v1.BlobService/Upload", requests(), blobs_pb2.UploadReply)
        finally:
            connection.close()

    def bytes_call(self, method: str, data: bytes) -> None:
        """A unary call whose message is just these bytes."""
        with grpc.insecure_channel(self.grpc) as channel:
            try:
                channel.unary_unary(method)(
                    data, timeout=10, metadata=(("authorization", f"Bearer {self.good}"),)
                )
            except grpc.RpcError as error:
                raise failure_of(error) from error


@pytest.fixture
def bad(daemon: Callable[..., Any]) -> Iterator[Bad]:
    with Issuer() as issuer:
        issuer.rotate("k")
        made = Bad(
            daemon(
                f"""graviton {{
                  auth {{ enabled = true, jwt {{ issuer = "{ISSUER}", audience = "{AUDIENCE}",
                    jwks-url = "{issuer.url}" }} }}
                  constraints.max-blob-size = 4MiB
                  server.http {{ request-timeout = 1s, max-request-size = 1MiB }} }}"""
            ),
            issuer,
        )
        yield made
        made.admin.close()


def in_pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + MIB] for at in range(0, len(data), MIB))


def digest(data: bytes) -> bytes:
    hasher = content_hasher()
    hasher.update(data)
    return bytes(hasher.digest())


def nothing_is_left(bad: Bad) -> None:
    def clean() -> bool:
        [volume] = bad.api("GET", "/api/v1/admin/volumes").json["volumes"]
        return (volume["logical_bytes"], volume["inodes"]) == (0, 1)

    bad.api.close()
    wait_until(clean, "nothing to be left")
    assert bad.api("GET", "/api/v1/blobs").json["blobs"] == []
    assert bad.api("GET", "/api/v1/files").json["entries"] == []
    assert list(bad.admin.blobs.list()) == []


BLOBS, FILES, UPLOADS = "/api/v1/blobs", "/api/v1/files", "/api/v1/uploads"


def test_http(bad: Bad) -> None:
    api = bad.api
    post = "POST /api/v1/blobs HTTP/1.1"
    put = "PUT /api/v1/files/f HTTP/1.1"
    # malformed
    assert bad.raw("POST /api/v1/blobs", b"", finish=True).startswith(b"HTTP/1.1 400 ")
    api("POST", UPLOADS, b"{not json", Content_Type="application/json").problem(400, "invalid")
    api("POST", UPLOADS, b"[1, 2]", Content_Type="application/json").problem(400, "invalid")
    api("POST", f"{BLOBS}?expected=sha256:00", BODY).problem(400, "invalid")
    assert bad.raw(f"{post}\r\nContent-Length: abc", b"", finish=True).startswith(b"HTTP/1.1 400 ")
    assert bad.raw(f"{post}\r\nTransfer-Encoding: chunked", b"zz\r\nabc", finish=True).startswith(
        b"HTTP/1.1 400 "
    )
    for where in (BLOBS, f"{FILES}/f"):
        method = "POST" if where == BLOBS else "PUT"
        # another digest, another length
        api(method, f"{where}?expected={blob_id(OTHER)}", BODY).problem(400, "invalid")
        shorter = blob_id(BODY).rpartition(":")[0] + f":{len(BODY) - 1}"
        api(method, f"{where}?expected={shorter}", BODY).problem(400, "invalid")
        # too large, announced or not
        api(method, where, TOO_LARGE).problem(413, "file-too-large")
        api(method, where, in_pieces(TOO_LARGE)).problem(413, "file-too-large")
        # tokens
        expired = bad.issuer.token("k", exp=int(time.time()) - 60)
        with Issuer() as another:
            another.rotate("k")
            foreign = another.token("k")
        for token in (expired, foreign, "nonsense"):
            headers = {"Authorization": f"Bearer {token}"}
            api(method, where, BODY, **headers).problem(401, "unauthenticated")
        api(method, f"{where}?volume=none", BODY).problem(404, "not-found")
    for path in ("/../f", "/a/../../f", "/a%2Fb", "/%2e%2e/f", "/a%00b", "/" + "n" * 256):
        assert api("PUT", FILES + path, BODY).status == 400, path
    # cut short
    for head in (post, put):
        for kind in ("Content-Length: 3000000", "Transfer-Encoding: chunked"):
            body = BODY if "Length" in kind else b"%x\r\n" % len(BODY) + BODY + b"\r\n"
            assert bad.raw(f"{head}\r\n{kind}", body, finish=True).startswith(b"HTTP/1.1 400 "), (head, kind)
    # slow
    for head in (post, put):
        answer = bad.raw(f"{head}\r\nContent-Length: 3000000", BODY, finish=False)
        assert answer.startswith(b"HTTP/1.1 408 "), answer
    api.close()  # the server has closed the connection that was idle for so long
    # parts of resumable uploads
    begun = api("POST", UPLOADS, {"expected": blob_id(OTHER)}, Content_Type="application/json")
    assert begun.status == 201, begun
    where = begun.headers["location"]
    api("PATCH", where, bytes(MIB + 1), Upload_Offset="0").problem(413, "file-too-large")
    assert api("DELETE", where).status == 204
    api("PATCH", where, b"x", Upload_Offset="0").problem(404, "not-found")
    nothing_is_left(bad)


def refused(kind: type[GravitonError], call: Callable[..., object], *args: Any, **options: Any) -> None:
    with pytest.raises(kind) as caught:
        call(*args, **options)
    assert type(caught.value) is kind, repr(caught.value)


def test_grpc(bad: Bad) -> None:
    namespace = bad.admin.volume.namespace  # a session, to send batches with
    # malformed
    for method in ("BlobService/Stat", "NamespaceService/Apply", "BlockService/Put"):
        with pytest.raises(Invalid):
            bad.bytes_call(f"/graviton.v1.{method}", b"\xff" * 40)
    request = namespace_pb2.ApplyRequest(session=namespace.attachment.handle, batches=b"\xc1\xc1")
    refused(Invalid, bad.bytes_call, "/graviton.v1.NamespaceService/Apply", request.SerializeToString())
    # another digest, another length
    refused(Invalid, bad.upload, in_pieces(BODY), digest=digest(OTHER))
    for length in (len(BODY) - 1, len(BODY) + 1):
        refused(Invalid, bad.upload, in_pieces(BODY), length=length)
    # too large, announced or not
    refused(FileTooLarge, bad.upload, in_pieces(TOO_LARGE))
    refused(FileTooLarge, bad.upload, in_pieces(TOO_LARGE), length=len(TOO_LARGE))
    # tokens
    expired = bad.issuer.token("k", exp=int(time.time()) - 60)
    with Issuer() as another:
        another.rotate("k")
        foreign = another.token("k")
    for token in (expired, foreign, "nonsense"):
        refused(Unauthenticated, bad.upload, in_pieces(BODY), token=token)
    refused(NotFound, bad.upload, in_pieces(BODY), volume="none")
    # paths
    for name in ("..", ".", "a/b", "a\0b", ""):
        with pytest.raises(GravitonError):
            bad.admin.write_bytes(f"d/{name}/f" if name else "", BODY)
    refused(NameTooLong, bad.admin.write_bytes, "n" * 256, BODY)

    nothing_is_left(bad)

    # cut short: the client goes away in the middle
    class Gone(Exception):
        pass

    def cut() -> Iterator[bytes]:
        yield BODY[:MIB]
        raise Gone

    with pytest.raises((GravitonError, Gone)):
        bad.upload(cut())
    # slow
    go_on = []

    def slow() -> Iterator[bytes]:
        yield BODY[:MIB]
        wait_until(lambda: go_on, "the end", 60)

    try:
        refused(Unavailable, bad.upload, slow())
    finally:
        go_on.append(1)
    nothing_is_left(bad)
