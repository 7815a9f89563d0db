"""URLs and names: bytes of any encoding go through, attacks do not."""

from __future__ import annotations

import string
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graviton_webdav.app import WebDavServer
from graviton_webdav.faults import Refused
from graviton_webdav.paths import href, parse_reference, parse_target
from gravitonfs.content.volume import Volume
from harness.dav import DAV, Client, raw

STRANGE = [
    "überraschung €.txt".encode(),
    b"caf\xe9.txt",
    b"\xff\xfe",
    b"a b+c%20d",
    b"100%",
    b"<&>\"'`",
    b"#hash?query;param=1",
    b"back\\slash",
    b"new\nline\ttab\x01\x7f",
    b"~",
    b"...",
    b"-rf",
    b"x" * 255,
    "\U0001f600".encode() * 60,
    b":colon:",
    b"[brackets]{braces}|pipe^",
]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_hrefs_come_back_as_the_names_they_were(names: list[bytes]) -> None:
    path = tuple(name.replace(b"/", b"_").replace(b"\0", b"_") for name in names if name not in (b".", b".."))
    for collection in (False, True):
        text = href(path, collection=collection)
        assert parse_target(text.encode("ascii")) == (path, collection or not path)
        assert set(text) <= set(string.ascii_letters + string.digits + "/%-._~!$'()*+,;=:@")


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_survives(dav: Client, home: str, name: bytes) -> None:
    url = home + quote_from_bytes(name)
    assert dav("PUT", url, b"bytes").status == 201
    assert dav("GET", url).body == b"bytes"
    (listed,) = set(dav.propfind(home, f"{DAV}displayname", depth="1").responses()) - {home}
    assert parse_target(listed.encode())[0][-1] == name
    assert dav("GET", listed).body == b"bytes"
    copy = home + quote_from_bytes(name[:-1] + b"2")
    assert dav("MOVE", url, Destination=dav.url(copy)).status == 201
    assert dav("GET", copy).body == b"bytes"
    assert dav("GET", home).status == 200
    lock = dav.lock(copy)
    assert dav("DELETE", copy, If=f"<{copy}> (<{lock.lock_token}>)").status == 204


@pytest.mark.parametrize(
    "target",
    [
        "/../etc/passwd",
        "/a/../../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/%2E%2e%2fetc/passwd",
        "/a%2fb",
        "/a%00b",
        "/%zz",
        "/100%",
        "/" + "x" * 256,
        "/a#b",
        "x",
        "//x/../y",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PROPFIND", "MKCOL"])
def test_attacks_are_refused(server: WebDavServer, volume: Volume, method: str, target: str) -> None:
    before = volume.namespace.usage().inodes
    request = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    answer = raw(server.address, request.encode())
    assert answer.split(b" ", 2)[1] in (b"400", b"404"), answer
    assert volume.namespace.usage().inodes == before


def test_a_path_of_absurd_depth_is_refused(server: WebDavServer) -> None:
    request = f"GET {'/a' * 2000} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert raw(server.address, request.encode()).startswith(b"HTTP/1.1 414 ")


def test_slashes_and_dots_that_mean_nothing(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"x")
    assert dav("GET", f"{home}//f").body == b"x"
    assert dav("GET", f"{home}./f").body == b"x"
    assert dav("GET", f"{home}f?query=1").body == b"x"


def test_a_request_may_name_a_whole_url(server: WebDavServer, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"bytes")
    request = f"GET {dav.url(home)}f?x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert raw(server.address, request.encode()).endswith(b"\r\n\r\nbytes")


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("http://host:8081/a/b", (b"a", b"b")),
        ("https://HOST:8081/a%20b", (b"a b",)),
        ("/a/b/", (b"a", b"b")),
        ("http://user@host:8081/caf%E9", (b"caf\xe9",)),
        ("/a b", (b"a b",)),
        ("http://host:8081", ()),
    ],
)
def test_references(reference: str, path: tuple[bytes, ...]) -> None:
    assert parse_reference(reference, ["host:8081"])[0] == path


def test_a_reference_to_another_server_is_refused() -> None:
    assert parse_reference("http://host/a", ["host:80"])[0] == (b"a",)
    assert parse_reference("https://proxy/a", ["host:1", "proxy"])[0] == (b"a",)
    for other in ("http://other/a", "http://host:8082/a", "file:///etc/passwd"):
        with pytest.raises(Refused) as refused:
            parse_reference(other, ["host:8081"])
        assert refused.value.status == 502
