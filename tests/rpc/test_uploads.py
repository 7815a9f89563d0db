"""Uploads of blobs over gRPC: where one ends, and that what is cut off never becomes a blob."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest

from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import GravitonError, Invalid
from gravitonfs.rpc.graviton.v1 import blobs_pb2 as pb
from harness.proxy import TcpProxy
from harness.waiting import wait_until
from rpc.running import Daemon, untroubled

UPLOAD = "/graviton.v1.BlobService/Upload"
DATA = bytes(range(256)) * 1000
HEADER = pb.UploadRequest(header=pb.UploadHeader(volume="main"))
END = pb.UploadRequest(end=True)


def digest(data: bytes) -> bytes:
    hasher = content_hasher()
    hasher.update(data)
    return hasher.digest()


def bytes_message(data: bytes, *, end: bool = False) -> pb.UploadRequest:
    return pb.UploadRequest(data=data, end=end)


@pytest.fixture
def served(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with untroubled(scratch / "data", folder) as running:
        yield running


@pytest.fixture
def client(served: Daemon) -> Iterator[Client]:
    with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as made:
        yield made


def upload(client: Client, messages: Iterable[pb.UploadRequest]) -> pb.UploadReply:
    connection = Connection(Endpoint(client.endpoint.addresses))
    try:
        return connection.upload(UPLOAD, iter(messages), pb.UploadReply)
    finally:
        connection.close()


def nothing_is_left(client: Client) -> None:
    assert list(client.blobs.list()) == []
    usage = client.volume.namespace.usage
    wait_until(lambda: usage().inodes == 1, "nothing to be left")


def test_an_end_is_all_that_is_needed(client: Client) -> None:
    blob = BlobId(digest(DATA), len(DATA))
    first, second = DATA[:100_000], DATA[100_000:]
    streams = (
        [HEADER, bytes_message(first), bytes_message(second), END],
        [HEADER, bytes_message(first), bytes_message(second, end=True)],
        [pb.UploadRequest(header=HEADER.header, data=DATA, end=True)],
    )
    for messages in streams:
        assert upload(client, messages).id == str(blob)
    assert upload(client, [pb.UploadRequest(header=HEADER.header, end=True)]).length == 0
    assert client.blobs.get(str(blob)) == DATA


def test_a_length_or_a_digest_will_do_instead(client: Client) -> None:
    for header in (
        pb.UploadHeader(length=len(DATA)),
        pb.UploadHeader(digest=digest(DATA)),
        pb.UploadHeader(length=len(DATA), digest=digest(DATA)),
    ):
        reply = upload(client, [pb.UploadRequest(header=header), bytes_message(DATA)])
        assert BlobId.parse(reply.id) == BlobId(digest(DATA), len(DATA))


def test_without_any_of_them_it_is_told_what_to_send(client: Client) -> None:
    for messages in (
        [HEADER, bytes_message(DATA)],
        [HEADER],
        [pb.UploadRequest(header=HEADER.header, data=b"x")],
    ):
        with pytest.raises(Invalid, match="set 'end' in the last message, or tell the length or the digest"):
            upload(client, messages)
    nothing_is_left(client)


def test_one_that_ends_early_is_told_so(client: Client) -> None:
    declared = pb.UploadRequest(header=pb.UploadHeader(length=len(DATA)))
    digested = pb.UploadRequest(header=pb.UploadHeader(digest=digest(DATA)))
    with pytest.raises(Invalid, match=r"1000 bytes came, and 256000 were announced"):
        upload(client, [declared, bytes_message(DATA[:1000], end=True)])
    with pytest.raises(Invalid, match="another digest was announced"):
        upload(client, [digested, bytes_message(DATA[:1000])])
    for more in (bytes_message(b"more"), END, HEADER):
        with pytest.raises(Invalid, match="nothing may follow the end"):
            upload(client, [HEADER, bytes_message(DATA, end=True), more])
    nothing_is_left(client)


@pytest.mark.parametrize(
    "header", [pb.UploadHeader(), pb.UploadHeader(digest=digest(DATA)), pb.UploadHeader(length=len(DATA))]
)
def test_a_call_that_is_cancelled_leaves_nothing(
    served: Daemon, client: Client, header: pb.UploadHeader
) -> None:
    """As often as it takes for the daemon to see an end of the stream before the end of the call."""
    first = pb.UploadRequest(header=header)
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        call = channel.stream_unary(
            UPLOAD, pb.UploadRequest.SerializeToString, pb.UploadReply.FromString
        )  # fmt: skip
        for turn in range(30):
            sent, gone = threading.Event(), threading.Event()

            def messages(
                turn: int = turn, sent: threading.Event = sent, gone: threading.Event = gone
            ) -> Iterator[pb.UploadRequest]:
                yield first
                yield bytes_message(b"%d" % turn + DATA[: 1000 * turn])
                sent.set()
                gone.wait(30)

            answer = call.future(messages())
            assert sent.wait(30)
            answer.cancel()
            gone.set()
    nothing_is_left(client)


def test_a_connection_that_is_cut_leaves_nothing(served: Daemon, client: Client) -> None:
    with TcpProxy("127.0.0.1", served.port) as proxy:
        with Client(f"graviton://127.0.0.1:{proxy.port}/main", timeout=1) as behind:
            for _ in range(3):
                sent = itertools.count()

                def pieces(sent: Iterator[int] = sent) -> Iterator[bytes]:
                    for number in sent:
                        if number == 3:
                            proxy.refusing = True
                            proxy.cut_all()
                        yield DATA
                        if number > 100:
                            return

                with pytest.raises(GravitonError):
                    behind.blobs.put(pieces())
                proxy.heal()
    nothing_is_left(client)


def test_the_client_sends_the_end(client: Client) -> None:
    for data in (b"", DATA, iter([DATA, DATA])):
        stored = client.blobs.put(data)
        assert client.blobs.stat(stored.id).length == stored.length
