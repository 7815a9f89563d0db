"""The HTTP server: start and stop, limits, many clients, faults of the store."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import Buffer

from graviton_server.wiring import Engine
from graviton_webdav.app import WebDavServer
from gravitonfs.content.reader import ContentReader
from gravitonfs.content.volume import Volume
from gravitonfs.errors import Busy, Damaged, Invalid, NoSpace
from gravitonfs.ports.blocks import Block
from harness.dav import Client, raw
from harness.waiting import wait_until


def test_a_port_in_use_is_told(server: WebDavServer, volume: Volume) -> None:
    with pytest.raises(Busy, match="in use by another program"):
        WebDavServer(volume, port=server.address[1]).start()
    with pytest.raises(Invalid):
        WebDavServer(volume, port=70000)


def test_start_and_stop(volume: Volume) -> None:
    server = WebDavServer(volume, port=0)
    with pytest.raises(Invalid):
        _ = server.address
    server.start()
    address = server.address
    assert server.url == f"http://127.0.0.1:{address[1]}/"
    client = Client(address)
    assert client("OPTIONS", "/").status == 200
    with pytest.raises(Invalid):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, timeout=5)
    client.close()
    server.start()
    server.stop()


def test_stopping_lets_a_request_finish(volume: Volume) -> None:
    server = WebDavServer(volume, port=0)
    server.start()
    begun = threading.Event()
    go_on = threading.Event()

    first = b"first" * 40_000  # so much that the server begins to store it

    def body() -> Iterator[bytes]:
        yield first
        begun.set()
        assert go_on.wait(30)
        yield b"second"

    before = volume.namespace.usage().inodes
    client = Client(server.address)
    statuses: list[int] = []
    writer = threading.Thread(target=lambda: statuses.append(client("PUT", "/drained", body()).status))
    writer.start()
    assert begun.wait(30)
    wait_until(lambda: volume.namespace.usage().inodes > before, "a worker has the request")
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    wait_until(lambda: not _accepts(server), "no more connections are taken")
    go_on.set()
    writer.join(30)
    stopper.join(30)
    assert statuses == [201]
    found = volume.namespace.resolve([b"drained"])
    assert found[0].size == len(first) + len(b"second")
    client.close()


def _accepts(server: WebDavServer) -> bool:
    try:
        socket.create_connection(server.address, timeout=1).close()
    except (OSError, Invalid):
        return False
    return True


def test_stopping_cuts_off_who_does_not_finish(volume: Volume) -> None:
    server = WebDavServer(volume, port=0)
    server.start()
    with socket.create_connection(server.address) as sock:
        sock.sendall(b"PUT /stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
        wait_until(lambda: server.busy == 1, "the request is being worked at")
        start = time.perf_counter()
        server.stop(timeout=1)
        assert time.perf_counter() - start < 10
    assert volume.namespace.resolve([b"stuck"]) == []


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        ("get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 70000 + "\r\n\r\n", 413),
        ("GET /" + "x" * 70000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        ("PUT /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_malformed_requests(server: WebDavServer, request_text: str, status: int) -> None:
    assert raw(server.address, request_text.encode()).split(b" ")[1] == str(status).encode()


def test_http_1_0(server: WebDavServer, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"bytes")
    answer = raw(server.address, f"GET {home}f HTTP/1.0\r\n\r\n".encode(), finish=False)
    assert answer.endswith(b"\r\n\r\nbytes")
    listing = raw(server.address, f"GET {home} HTTP/1.0\r\n\r\n".encode(), finish=False)
    assert listing.rstrip().endswith(b"</html>")
    assert b"chunked" not in listing


def test_requests_sent_at_once_are_answered_in_order(server: WebDavServer, dav: Client, home: str) -> None:
    """Their bodies are no hexadecimal digits, which entity tags and request ids are made of."""
    for name in "xyz":
        dav("PUT", f"{home}{name}", name.encode() * 3)
    requests = "".join(f"GET {home}{name} HTTP/1.1\r\nHost: localhost\r\n\r\n" for name in "xyz")
    answer = raw(server.address, requests.encode())
    assert [answer.find(body) > 0 for body in (b"xxx", b"yyy", b"zzz")] == [True] * 3
    assert answer.find(b"xxx") < answer.find(b"yyy") < answer.find(b"zzz")


def test_a_refused_upload_is_told_although_its_body_is_not_read(server: WebDavServer, home: str) -> None:
    """The answer arrives; the connection is not just reset."""
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    body = bytes(40 << 20)
    try:
        connection.request("PUT", f"{home}none/f", body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server stops reading; its answer is there all the same
    assert connection.getresponse().status == 409
    connection.close()


def test_many_clients_at_once(server: WebDavServer, dav: Client, home: str) -> None:
    problems: list[str] = []

    def work(number: int) -> None:
        client = Client(server.address)
        data = os.urandom(200_000)
        for round_ in range(5):
            if client("PUT", f"{home}{number}", data).status not in (201, 204):
                problems.append(f"put {number} {round_}")
            if client("GET", f"{home}{number}").body != data:
                problems.append(f"get {number} {round_}")
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert len(dav.propfind(home, depth="1").responses()) == 41


def test_idle_and_slow_clients_do_not_hold_up_others(server: WebDavServer) -> None:
    idle = [Client(server.address) for _ in range(100)]
    for client in idle:
        assert client("OPTIONS", "/").status == 200
    slow = [socket.create_connection(server.address) for _ in range(60)]
    for sock in slow:
        sock.sendall(b"GET / HTTP/1.1\r\nHo")
    fresh = Client(server.address)
    assert fresh("OPTIONS", "/").status == 200
    for sock in slow:
        sock.close()
    for client in (*idle, fresh):
        client.close()


def test_a_full_disk_is_told_and_leaves_the_old_file(
    engine: Engine, server: WebDavServer, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(server.address)
    client("PUT", f"{home}f", b"old")

    def full(blocks: list[Block]) -> list[int]:
        raise NoSpace("the disk is full: free some space")

    with monkeypatch.context() as patch:
        patch.setattr(engine.store, "put", full)
        answer = client("PUT", f"{home}f", os.urandom(20 << 20))
    assert answer.status == 507
    assert b"free some space" in answer.body
    assert client("GET", f"{home}f").body == b"old"
    data = os.urandom(3 << 20)
    assert client("PUT", f"{home}f", data).status == 204
    assert client("GET", f"{home}f").body == data
    client.close()


def test_damaged_bytes_are_an_error_never_a_whole_answer(
    server: WebDavServer,
    dav: Client,
    home: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dav("PUT", f"{home}small", b"x" * 1000)
    dav("PUT", f"{home}big", os.urandom(3 << 20))
    client = Client(server.address)
    real = ContentReader.read

    def broken(self: ContentReader, offset: int, length: int) -> Buffer:
        if self.size == 1000 or offset > 1 << 20:
            raise Damaged("block 00 is not what it was")
        return real(self, offset, length)

    with monkeypatch.context() as patch:
        patch.setattr(ContentReader, "read", broken)
        assert client("GET", f"{home}small").status == 500
        with pytest.raises(http.client.IncompleteRead):
            client("GET", f"{home}big")
        client.close()
        assert client("GET", f"{home}big", Range="bytes=2000000-").status == 500
    messages = [record.getMessage() for record in caplog.records]
    assert any("block 00 is not what it was" in message for message in messages)
    caplog.clear()
    client.close()


def test_a_read_only_volume(engine: Engine, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"x")
    attached = engine.volume("reader", read_only=True)
    with WebDavServer(attached, port=0) as server:
        client = Client(server.address)
        assert client("GET", f"{home}f").body == b"x"
        assert client("OPTIONS", "/").headers["DAV"] == "1"
        for method in ("PUT", "DELETE", "MKCOL", "LOCK", "PROPPATCH"):
            assert client(method, f"{home}f").status == 403
        client.close()
    attached.close()


def test_free_space_is_told_where_it_is_known(volume: Volume) -> None:
    with WebDavServer(volume, port=0, space=lambda: 12345) as server:
        client = Client(server.address)
        found = client.propfind("/", "{DAV:}quota-available-bytes")
        assert found.text("/", "{DAV:}quota-available-bytes") == "12345"
        client.close()


def _leaves_in_the_middle(address: tuple[str, int], context: ssl.SSLContext) -> None:
    """Without a word of TLS, as balancers and phones do."""
    plain = socket.create_connection(("localhost", address[1]), timeout=30)
    with context.wrap_socket(plain, server_hostname="localhost") as gone:
        gone.sendall(b"GET /tls HTTP/1.1\r\nHost: localhost\r\n\r\n")
        gone.recv(1000)


def test_tls(volume: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run(
        [*command, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    with WebDavServer(volume, port=0, certificate=certificate, private_key=key) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("localhost", server.address[1], context=context, timeout=30)
        data = os.urandom(3 << 20)
        for _ in range(2):
            connection.request("PUT", "/tls", data)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (201, 204)
            connection.request("GET", "/tls")
            assert connection.getresponse().read() == data
        _leaves_in_the_middle(server.address, context)
        connection.request("COPY", "/tls", headers={"Destination": "https://localhost:1/x"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 502
        connection.close()
    with pytest.raises(Invalid, match="certificate"):
        WebDavServer(volume, port=0, certificate=key, private_key=certificate).start()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_was_done_is_counted(volume: Volume) -> None:
    with WebDavServer(volume, port=0) as server:
        client = Client(server.address)
        for _ in range(3):
            client("GET", "/none")
        counters = server.counters()
        assert (counters["GET"].requests, counters["GET"].errors) == (3, 0)
        assert 0 < counters["GET"].slowest <= counters["GET"].seconds
        assert counters["PUT"].requests == 0
        client.close()
        client = Client(server.address)
        client("PUT", "/counted", b"x")
        client("GET", "/counted")
        assert server.transfers() == {"uploads": 1, "downloads": 1}
        assert server.errors() == {}
        assert sum(server.latencies()["GET"]) == 4
        client.close()
