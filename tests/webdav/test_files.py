"""GET, HEAD and PUT: bytes, entity tags, conditions, ranges."""

from __future__ import annotations

import os
import socket
from email.utils import formatdate

import pytest
from blake3 import blake3

from graviton_webdav.app import WebDavServer
from harness.dav import Client, raw

BIG = os.urandom(5_000_000)


def test_what_was_put_is_got(dav: Client, home: str) -> None:
    for size in (0, 1, 4096, 65537, len(BIG)):
        assert dav("PUT", f"{home}f", BIG[:size]).status in (201, 204)
        answer = dav("GET", f"{home}f")
        assert (answer.status, answer.body) == (200, BIG[:size])
        assert answer.headers["Content-Length"] == str(size)


def test_put_answers_created_then_no_content(dav: Client, home: str) -> None:
    first = dav("PUT", f"{home}f", b"one")
    second = dav("PUT", f"{home}f", b"two")
    assert (first.status, second.status) == (201, 204)
    assert first.etag != second.etag


def test_entity_tag_is_the_digest_of_the_bytes(dav: Client, home: str) -> None:
    put = dav("PUT", f"{home}f", b"bytes")
    assert put.etag == f'"{blake3(b"bytes").hexdigest()}"'
    assert dav("HEAD", f"{home}f").etag == put.etag
    assert dav.propfind(f"{home}f").text(f"{home}f", "{DAV:}getetag") == put.etag


def test_head_tells_length_and_type_without_a_body(dav: Client, home: str) -> None:
    dav("PUT", f"{home}page.html", b"<p>")
    answer = dav("HEAD", f"{home}page.html")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "3"
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert dav("HEAD", f"{home}page.html", Range="bytes=0-0").status == 200, "ranges are for GET"
    assert dav("GET", f"{home}page.html").body == b"<p>"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("bytes=4999990-", (4999990, 5_000_000)),
        ("bytes=-7", (4_999_993, 5_000_000)),
        ("bytes=-99999999", (0, 5_000_000)),
        ("bytes=300000-4000000", (300_000, 4_000_001)),
        ("bytes=4999999-9999999999", (4_999_999, 5_000_000)),
        ("bytes=5-9,10-14", (5, 15)),
    ],
)
def test_a_range_is_answered_alone(dav: Client, home: str, header: str, expected: tuple[int, int]) -> None:
    dav("PUT", f"{home}f", BIG)
    answer = dav("GET", f"{home}f", Range=header)
    start, stop = expected
    assert answer.status == 206
    assert answer.body == BIG[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BIG)}"


def test_several_ranges_are_a_multipart(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", BIG)
    answer = dav("GET", f"{home}f", Range="bytes=0-9,100-109,-5")
    assert answer.status == 206
    kind, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.body.split(f"--{boundary}".encode())[1:-1]
    assert [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts] == [BIG[:10], BIG[100:110], BIG[-5:]]
    assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("header", ["bytes=x-y", "lines=1-2", "bytes=5-2", "bytes", "bytes=-"])
def test_a_range_that_means_nothing_is_ignored(dav: Client, home: str, header: str) -> None:
    dav("PUT", f"{home}f", b"0123456789")
    answer = dav("GET", f"{home}f", Range=header)
    assert (answer.status, answer.body) == (200, b"0123456789")


def test_a_range_beyond_the_end_is_refused_with_the_size(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"0123456789")
    answer = dav("GET", f"{home}f", Range="bytes=10-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */10"


def test_if_range_resumes_only_the_same_bytes(dav: Client, home: str) -> None:
    etag = dav("PUT", f"{home}f", b"0123456789").etag
    assert dav("GET", f"{home}f", Range="bytes=5-", If_Range=etag).body == b"56789"
    dav("PUT", f"{home}f", b"abcdefghij")
    assert dav("GET", f"{home}f", Range="bytes=5-", If_Range=etag).body == b"abcdefghij"


def test_conditions_on_reading(dav: Client, home: str) -> None:
    put = dav("PUT", f"{home}f", b"x")
    path = f"{home}f"
    assert dav("GET", path, If_None_Match=put.etag).status == 304
    assert dav("GET", path, If_None_Match=f'"other", W/{put.etag}').status == 304
    assert dav("GET", path, If_None_Match='"other"').status == 200
    assert dav("GET", path, If_Match='"other"').status == 412
    assert dav("GET", path, If_Match=put.etag).status == 200
    modified = dav("HEAD", path).headers["Last-Modified"]
    assert dav("GET", path, If_Modified_Since=modified).status == 304
    assert dav("GET", path, If_Modified_Since=formatdate(0, usegmt=True)).status == 200
    assert dav("GET", path, If_Unmodified_Since=formatdate(0, usegmt=True)).status == 412
    assert dav("GET", path, If_Modified_Since="no date").status == 200


def test_conditions_on_writing(dav: Client, home: str) -> None:
    path = f"{home}f"
    assert dav("PUT", path, b"x", If_Match="*").status == 412
    assert dav("PUT", path, b"x", If_None_Match="*").status == 201
    assert dav("PUT", path, b"y", If_None_Match="*").status == 412
    etag = dav("HEAD", path).etag
    assert dav("PUT", path, b"y", If_Match='"other"').status == 412
    assert dav("PUT", path, b"y", If_Match=etag).status == 204
    assert dav("DELETE", path, If_Match=etag).status == 412
    assert dav("GET", path).body == b"y"
    assert dav("DELETE", path, If_Match=dav("HEAD", path).etag).status == 204


def test_a_chunked_body_is_put_whole(dav: Client, home: str) -> None:
    pieces = [BIG[i : i + 100_001] for i in range(0, len(BIG), 100_001)]
    assert dav("PUT", f"{home}f", iter(pieces)).status == 201
    assert dav("GET", f"{home}f").body == BIG


def test_one_huge_chunk_is_put_in_bounded_pieces(dav: Client, home: str) -> None:
    assert dav("PUT", f"{home}f", iter([BIG])).status == 201
    assert dav("GET", f"{home}f").body == BIG


@pytest.mark.parametrize(
    "request_text",
    [
        "Content-Length: 100\r\n\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\n64\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nshortXX0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-5\r\nshort\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nX-Expected-Entity-Length: 9\r\n\r\n5\r\nshort\r\n0\r\n\r\n",
        "Content-Length: 5\r\nX-Expected-Entity-Length: 9\r\n\r\nshort",
        "Content-Length: -5\r\n\r\nshort",
        "Content-Length: five\r\n\r\nshort",
    ],
)
def test_a_body_that_is_not_what_was_announced_leaves_the_old_file(
    server: WebDavServer, dav: Client, home: str, request_text: str
) -> None:
    dav("PUT", f"{home}f", b"old")
    for name, expected in (("f", b"old"), ("new", None)):
        head = f"PUT {home}{name} HTTP/1.1\r\nHost: localhost\r\n"
        answer = raw(server.address, (head + request_text).encode())
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        got = dav("GET", f"{home}{name}")
        assert (got.status, got.body if expected else None) == ((200, expected) if expected else (404, None))
    assert list(dav.propfind(home, "{DAV:}getetag", depth="1").responses()) == [home, f"{home}f"]


def test_finder_announces_the_length_of_a_chunked_body(dav: Client, home: str) -> None:
    answer = dav("PUT", f"{home}f", iter([b"12345"]), X_Expected_Entity_Length="5")
    assert answer.status == 201
    assert dav("GET", f"{home}f").body == b"12345"


def test_a_file_over_the_volumes_limit_is_refused_before_its_body(server: WebDavServer, home: str) -> None:
    head = (
        f"PUT {home}f HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Length: {1 << 50}\r\n\r\n"
    )
    assert raw(server.address, head.encode()).startswith(b"HTTP/1.1 413 ")


def test_continue_is_sent_when_the_body_is_wanted(server: WebDavServer, dav: Client, home: str) -> None:
    with socket.create_connection(server.address, timeout=30) as sock:
        head = f"PUT {home}f HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"12345")
        assert sock.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert dav("GET", f"{home}f").body == b"12345"


def test_no_continue_for_what_is_refused(server: WebDavServer, home: str) -> None:
    head = f"PUT {home}no/f HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    assert raw(server.address, head.encode()).startswith(b"HTTP/1.1 409 ")


def test_put_to_collections_and_below_nothing(dav: Client, home: str) -> None:
    assert dav("PUT", home, b"x").status == 405
    assert dav("PUT", f"{home}new/", b"x").status == 405
    assert dav("PUT", f"{home}none/f", b"x").status == 409
    dav("PUT", f"{home}f", b"x")
    assert dav("PUT", f"{home}f/g", b"x").status == 409
    assert dav("GET", f"{home}f/").status == 404
    assert dav("PUT", f"{home}f", b"x", Content_Range="bytes 0-0/1").status == 400
    assert dav("PUT", f"{home}f", b"x", Content_Encoding="gzip").status == 415


def test_the_time_a_client_tells_is_kept(dav: Client, home: str) -> None:
    answer = dav("PUT", f"{home}f", b"x", X_OC_Mtime="1000000000.5")
    assert answer.headers["X-OC-MTime"] == "accepted"
    assert dav("HEAD", f"{home}f").headers["Last-Modified"] == formatdate(1_000_000_000, usegmt=True)
    plain = dav("PUT", f"{home}f", b"x", X_OC_Mtime="nonsense")
    assert plain.headers["X-OC-MTime"] is None


def test_a_reader_keeps_the_version_it_began_with(server: WebDavServer, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", BIG)
    other = Client(server.address)
    other.connection.request("GET", f"{home}f")
    answer = other.connection.getresponse()
    first = answer.read(100_000)
    dav("PUT", f"{home}f", b"replaced")
    assert first + answer.read() == BIG
    other.close()


def test_many_requests_on_one_connection(dav: Client, home: str) -> None:
    for index in range(100):
        assert dav("PUT", f"{home}{index}", b"%d" % index).status == 201
    sock = dav.connection.sock
    for index in range(100):
        assert dav("GET", f"{home}{index}").body == b"%d" % index
    assert dav.connection.sock is sock


def test_errors_keep_the_connection(dav: Client, home: str) -> None:
    assert dav("GET", f"{home}none").status == 404
    sock = dav.connection.sock
    assert dav("PUT", f"{home}none/f", b"unread body").status == 409
    assert dav("GET", f"{home}none").status == 404
    assert dav.connection.sock is sock
