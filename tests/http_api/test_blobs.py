"""/api/v1/blobs."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from harness.api import Answer, Api, blob_id
from harness.waiting import wait_until

BLOBS = "/api/v1/blobs"


@pytest.mark.parametrize("size", [0, 1, 65_537, 9_000_000])
def test_a_blob_comes_back(api: Api, size: int) -> None:
    data = os.urandom(size)
    stored = api("POST", BLOBS, data)
    assert stored.status == 201
    assert stored.json == {"id": blob_id(data), "length": size, "new_bytes": size, "existed": False}
    assert stored.headers["location"] == f"{BLOBS}/{blob_id(data)}"
    found = api("GET", stored.headers["location"])
    assert (found.status, found.body) == (200, data)
    head = api("HEAD", stored.headers["location"])
    assert (head.status, head.headers["content-length"], head.body) == (200, str(size), b"")
    again = api("POST", BLOBS, data)
    assert again.json == {"id": blob_id(data), "length": size, "new_bytes": 0, "existed": True}


def test_chunked_bodies(api: Api) -> None:
    data = os.urandom(300_000)
    pieces = iter([data[:7], data[7:200_000], data[200_000:]])
    assert api("POST", BLOBS, pieces).json["id"] == blob_id(data)
    assert api("GET", f"{BLOBS}/{blob_id(data)}").body == data


def test_ranges_and_conditions(api: Api) -> None:
    data = os.urandom(2_000_000)
    where = api("POST", BLOBS, data).headers["location"]
    part = api("GET", where, Range="bytes=1000000-1000009")
    assert (part.status, part.body) == (206, data[1_000_000:1_000_010])
    assert part.headers["content-range"] == "bytes 1000000-1000009/2000000"
    assert api("GET", where, Range="bytes=-5").body == data[-5:]
    assert api("GET", where, Range="bytes=5-6,8-9").status == 200
    refused = api("GET", where, Range="bytes=2000000-")
    refused.problem(416, "range")
    assert refused.headers["content-range"] == "bytes */2000000"
    etag = part.headers["etag"]
    same = api("GET", where, If_None_Match=etag)
    assert (same.status, same.body) == (304, b"")
    api("GET", where, If_Match='"else"').problem(412, "conflict")
    assert api("GET", where, Range="bytes=0-1", If_Range='"else"').status == 200
    assert api("GET", where, Range="bytes=0-1", If_Range=etag).status == 206


def test_expected_digest_and_length(api: Api) -> None:
    right, wrong = b"the right bytes", b"the wrong bytes"
    assert api("POST", f"{BLOBS}?expected={blob_id(right)}", right).status == 201
    detail = api("POST", f"{BLOBS}?expected={blob_id(right)}", wrong).problem(400, "invalid")
    assert blob_id(wrong) in detail
    api("POST", f"{BLOBS}?expected={blob_id(right)}", right + b"!").problem(400, "invalid")
    api("POST", f"{BLOBS}?expected={blob_id(b'x' * 99)}", iter([right])).problem(400, "invalid")
    api("POST", f"{BLOBS}?expected=nonsense", right).problem(400, "invalid")
    api("GET", f"{BLOBS}/{blob_id(wrong)}").problem(404, "not-found")
    assert [blob["id"] for blob in api("GET", BLOBS).json["blobs"]] == [blob_id(right)]


def test_deleting_drops_the_reference_alone(api: Api) -> None:
    data = os.urandom(100_000)
    assert api("PUT", "/api/v1/files/kept", data).status == 201
    stored = api("POST", BLOBS, data)
    assert stored.json["new_bytes"] == 0
    where = stored.headers["location"]
    assert api("DELETE", where).status == 204
    api("GET", where).problem(404, "not-found")
    api("DELETE", where).problem(404, "not-found")
    assert api("GET", "/api/v1/files/kept").body == data


def test_listing_in_pages(api: Api) -> None:
    wanted = sorted(api("POST", BLOBS, b"%d" % number).json["id"] for number in range(7))
    found: list[str] = []
    page = api("GET", f"{BLOBS}?limit=3").json
    while True:
        found += [blob["id"] for blob in page["blobs"]]
        if page["next"] is None:
            break
        page = api("GET", f"{BLOBS}?limit=3&after={page['next']}").json
    assert found == wanted


def test_bad_requests(api: Api) -> None:
    api("GET", f"{BLOBS}/sha256:00").problem(400, "invalid")
    api("GET", f"{BLOBS}?limit=0").problem(400, "invalid")
    api("GET", f"{BLOBS}?volume=none").problem(404, "not-found")
    refused = api("PUT", BLOBS, b"")
    refused.problem(405, "method-not-allowed")
    assert "POST" in refused.headers["allow"]
    api("GET", "/api/v2/blobs").problem(404, "not-found")


def test_a_body_that_is_cut_short_leaves_nothing(daemon: Callable[..., Any]) -> None:
    one = daemon()
    before = one.api("GET", "/api/v1/admin/volumes").json
    for head in (b"Content-Length: 5000000\r\n", b"Transfer-Encoding: chunked\r\n"):
        with one.api.raw() as sock:
            sock.sendall(b"POST /api/v1/blobs HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
            chunk = os.urandom(1_000_000)
            sock.sendall(b"f4240\r\n" + chunk if b"chunked" in head else chunk)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 400 "), answer
            assert b"problem+json" in answer
    assert one.api("GET", BLOBS).json["blobs"] == []
    assert one.api("GET", "/api/v1/admin/volumes").json == before


def test_a_slow_client_is_let_go(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.server.http.request-timeout = 1s")
    before = one.api("GET", "/api/v1/admin/volumes").json
    started = time.monotonic()
    with one.api.raw() as sock:
        sock.sendall(b"POST /api/v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert 0.9 < time.monotonic() - started < 20
    assert one.api("GET", "/api/v1/admin/volumes").json == before


def test_too_large(daemon: Callable[..., Any]) -> None:
    api = daemon("graviton.constraints.max-blob-size = 1MB").api
    assert api("POST", BLOBS, bytes(1_000_000)).status == 201
    api("POST", BLOBS, bytes(1_000_001)).problem(413, "file-too-large")
    api("POST", BLOBS, iter([os.urandom(999_999), b"12"])).problem(413, "file-too-large")
    api("PUT", "/api/v1/files/f", bytes(1_000_001)).problem(413, "file-too-large")
    api("GET", "/api/v1/files/f").problem(404, "not-found")


def test_concurrent_uploads_are_bounded(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.constraints.max-concurrent-uploads = 1")
    with ExitStack() as stack:

        def begin() -> socket.socket:
            sock = stack.enter_context(one.api.raw())
            sock.sendall(b"POST /api/v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab")
            return sock

        sock = begin()

        def refused() -> bool:
            nonlocal sock
            if select.select([sock], [], [], 0)[0]:  # it came while another upload was ending
                sock = begin()
                return False  # it has until the next try to be first
            answer = one.api("POST", BLOBS, os.urandom(8))
            if answer.status == 201:
                return False
            answer.problem(429, "throttled")
            return int(answer.headers["retry-after"]) >= 1

        wait_until(refused, "the second upload to be refused", 20)
        sock.sendall(b"cde")
        assert sock.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert one.api("POST", BLOBS, b"later").status == 201


def test_the_byte_rate_paces_and_refuses(daemon: Callable[..., Any]) -> None:
    api = daemon(
        """graviton { server.http.request-timeout = 2s
        constraints.rate-limit { bytes-per-second = 2MB, burst-size = 1MB } }"""
    ).api
    started = time.monotonic()
    assert api("POST", BLOBS, os.urandom(4_000_000)).status == 201
    took = time.monotonic() - started
    assert 1.2 < took < 15
    started = time.monotonic()
    blobs = api("GET", BLOBS).json["blobs"]
    assert len(api("GET", f"{BLOBS}/{blobs[0]['id']}").body) == 4_000_000
    assert time.monotonic() - started > 1.2


def test_where_the_rate_is_used_up_others_are_refused(daemon: Callable[..., Any]) -> None:
    one = daemon(
        """graviton { server.http.request-timeout = 1s
        constraints.rate-limit { bytes-per-second = 20KB, burst-size = 1KB } }"""
    )

    def post(_: int) -> Answer:
        return one.client()("POST", BLOBS, os.urandom(60_000))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status for answer in answers} == {201, 429}
    for answer in answers:
        if answer.status == 429:
            answer.problem(429, "throttled")
            assert int(answer.headers["retry-after"]) >= 1
    stored = [answer.json["id"] for answer in answers if answer.status == 201]
    assert sorted(blob["id"] for blob in one.api("GET", BLOBS).json["blobs"]) == sorted(stored)


def test_deleted_while_it_is_read(daemon: Callable[..., Any]) -> None:
    """Whoever reads it gets the bytes or an early end, never others."""
    one = daemon()
    data = os.urandom(64 << 20)
    where = one.api("POST", BLOBS, data).headers["location"]
    with one.api.raw() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(f"GET {where} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = sock.recv(65536)
        assert one.api("DELETE", where).status == 204
        job = one.api("POST", "/api/v1/admin/gc", {}).json["id"]
        wait_until(
            lambda: one.api("GET", f"/api/v1/admin/jobs/{job}").json["state"] == "done", "the collection", 60
        )
        while piece := sock.recv(1 << 20):
            got += piece
            if len(got) >= len(data) + 200 and got.endswith(data[-100:]):
                break
    body = got.partition(b"\r\n\r\n")[2]
    assert data.startswith(body)
