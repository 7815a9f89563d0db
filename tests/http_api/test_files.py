"""/api/v1/files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from harness.api import Api, blob_id

FILES = "/api/v1/files"


@pytest.mark.parametrize("size", [0, 3, 5_000_000])
def test_put_and_get(api: Api, size: int) -> None:
    data = os.urandom(size)
    made = api("PUT", f"{FILES}/a/b/c.bin", data)
    assert made.status == 201
    assert (made.json["name"], made.json["size"], made.json["new_bytes"]) == ("c.bin", size, size)
    if size:
        assert made.json["blob"] == blob_id(data)
        assert made.headers["etag"] == f'"{blob_id(data).split(":")[1]}"'
    found = api("GET", f"{FILES}/a/b/c.bin")
    assert (found.status, found.body) == (200, data)
    head = api("HEAD", f"{FILES}/a/b/c.bin")
    assert (head.status, head.headers["content-length"]) == (200, str(size))
    assert api("PUT", f"{FILES}/a/b/c.bin", b"other").status == 200
    assert api("GET", f"{FILES}/a/b/c.bin").body == b"other"


def test_ranges(api: Api) -> None:
    data = os.urandom(300_000)
    api("PUT", f"{FILES}/f", data)
    part = api("GET", f"{FILES}/f", Range="bytes=100-299")
    assert (part.status, part.body) == (206, data[100:300])
    api("GET", f"{FILES}/f", Range="bytes=300000-").problem(416, "range")


def test_conditions(api: Api) -> None:
    etag = api("PUT", f"{FILES}/f", b"one", If_None_Match="*").headers["etag"]
    api("PUT", f"{FILES}/f", b"two", If_None_Match="*").problem(412, "precondition-failed")
    api("PUT", f"{FILES}/f", b"two", If_Match='"else"').problem(412, "precondition-failed")
    assert api("GET", f"{FILES}/f", If_None_Match=etag).status == 304
    assert api("PUT", f"{FILES}/f", b"two", If_Match=etag).status == 200
    api("DELETE", f"{FILES}/f", If_Match=etag).problem(412, "precondition-failed")
    assert api("GET", f"{FILES}/f").body == b"two"


def test_expected_bytes(api: Api) -> None:
    assert api("PUT", f"{FILES}/f?expected={blob_id(b'one')}", b"one").status == 201
    api("PUT", f"{FILES}/f?expected={blob_id(b'one')}", b"two").problem(400, "invalid")
    assert api("GET", f"{FILES}/f").body == b"one"


def test_directories(api: Api) -> None:
    assert api("PUT", f"{FILES}/d/sub/").status == 201
    assert api("PUT", f"{FILES}/d/sub/").status == 200
    api("PUT", f"{FILES}/d/file", b"12345")
    listed = api("GET", f"{FILES}/d")
    assert listed.headers["content-type"] == "application/json"
    assert (listed.json["path"], listed.json["type"], listed.json["volume"]) == ("/d", "directory", "main")
    entries = {entry["name"]: entry for entry in listed.json["entries"]}
    assert {name: entry["type"] for name, entry in entries.items()} == {"file": "file", "sub": "directory"}
    assert (entries["file"]["size"], entries["file"]["blob"]) == (5, blob_id(b"12345"))
    assert [entry["name"] for entry in api("GET", f"{FILES}/").json["entries"]] == ["d"]
    assert [entry["name"] for entry in api("GET", FILES).json["entries"]] == ["d"]
    api("PUT", f"{FILES}/d", b"x").problem(409, "is-a-directory")
    api("PUT", f"{FILES}/d/file/below", b"x").problem(409, "not-a-directory")
    api("DELETE", f"{FILES}/d").problem(409, "not-empty")
    assert api("DELETE", f"{FILES}/d/sub").status == 204
    assert api("DELETE", f"{FILES}/d?recursive=true").status == 204
    api("GET", f"{FILES}/d").problem(404, "not-found")
    api("DELETE", f"{FILES}/").problem(403, "not-permitted")


def test_a_large_directory_is_streamed(api: Api) -> None:
    for number in range(1201):
        assert api("PUT", f"{FILES}/many/{number:04}", b"").status == 201
    names = [entry["name"] for entry in api("GET", f"{FILES}/many").json["entries"]]
    assert names == [f"{number:04}" for number in range(1201)]


def test_names(api: Api) -> None:
    for name in ("a b", "ä", "a%b", "?#&", "+", "..."):
        assert api("PUT", f"{FILES}/{quote(name)}", name.encode()).status == 201
        assert api("GET", f"{FILES}/{quote(name)}").body == name.encode()
    assert api("PUT", f"{FILES}/%FF%FE", b"raw").status == 201
    entries = api("GET", FILES).json["entries"]
    assert {entry.get("name_base64") for entry in entries} == {None, "//4="}
    assert api("GET", f"{FILES}/%FF%FE").body == b"raw"


@pytest.mark.parametrize(
    "path", ["/../f", "/a/../../f", "/a%2Fb", "/a%00b", "/%2e%2e/f", "/" + "n" * 256, "/a%zz"]
)
def test_paths_that_lead_nowhere(api: Api, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert api(method, FILES + path, b"" if method == "PUT" else None).status == 400
    assert api("GET", FILES).json["entries"] == []


def test_bodies_that_are_refused(api: Api) -> None:
    api("PUT", f"{FILES}/f", b"x", Content_Range="bytes 0-0/5").problem(400, "invalid")
    api("PUT", f"{FILES}/d/", b"x").problem(400, "invalid")
    assert api("GET", FILES).json["entries"] == []


def test_a_webdav_lock_holds_here_too(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.webdav { enabled = true, port = 0 }")
    from harness.api import address_in

    dav = Api(address_in(one.ready, "webdav"))
    assert dav("PUT", "/f", b"locked").status == 201
    body = (
        '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
        "<D:locktype><D:write/></D:locktype></D:lockinfo>"
    )
    assert dav("LOCK", "/f", body.encode()).status == 200
    assert one.api("PUT", f"{FILES}/f", b"x").status == 423
    assert one.api("DELETE", f"{FILES}/f").status == 423
    assert one.api("GET", f"{FILES}/f").body == b"locked"
    dav.close()


def test_what_webdav_and_the_api_write_is_one_tree(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.webdav { enabled = true, port = 0 }")
    from harness.api import address_in

    dav = Api(address_in(one.ready, "webdav"))
    one.api("PUT", f"{FILES}/x/from-api", b"api")
    assert dav("GET", "/x/from-api").body == b"api"
    dav("PUT", "/x/from-dav", b"dav")
    assert one.api("GET", f"{FILES}/x/from-dav").body == b"dav"
    assert dav("GET", "/x/from-api", X_Request_ID="abc-1").headers["x-request-id"] == "abc-1"
    dav.close()
