"""/api/v1/uploads: parts, interruptions, restarts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from harness.api import Api, blob_id
from harness.waiting import wait_until

UPLOADS = "/api/v1/uploads"
MB = 1_000_000


def begin(api: Api, **wanted: object) -> str:
    made = api("POST", UPLOADS, wanted)
    assert made.status == 201, made
    assert made.headers["upload-offset"] == "0"
    assert made.headers["location"] == f"{UPLOADS}/{made.json['id']}"
    return str(made.headers["location"])


def part(api: Api, where: str, data: bytes, offset: int) -> None:
    answer = api("PATCH", where, data, Upload_Offset=str(offset))
    assert answer.status == 204, answer
    assert answer.headers["upload-offset"] == str(offset + len(data))


def test_a_blob_in_parts(api: Api) -> None:
    data = os.urandom(5 * MB)
    where = begin(api, length=len(data), expected=blob_id(data))
    for start in range(0, len(data), MB):
        part(api, where, data[start : start + MB], start)
    assert api("HEAD", where).headers["upload-offset"] == str(len(data))
    done = api("POST", where)
    assert (done.status, done.json) == (201, {"id": blob_id(data), "length": len(data), "existed": False})
    assert api("GET", done.headers["location"]).body == data
    api("GET", where).problem(404, "not-found")
    assert api("GET", UPLOADS).json == {"uploads": []}


def test_a_file_in_parts(api: Api) -> None:
    data = os.urandom(100_000)
    where = begin(api, path="/new/file")
    part(api, where, data[:1], 0)
    part(api, where, data[1:], 1)
    api("GET", "/api/v1/files/new/file").problem(404, "not-found")
    done = api("POST", where)
    assert (done.status, done.json["blob"]) == (201, blob_id(data))
    assert api("GET", "/api/v1/files/new/file").body == data
    assert api("GET", done.headers["location"]).body == data


@pytest.mark.parametrize("kill", [False, True])
def test_it_goes_on_after_a_restart(daemon: Callable[..., Any], kill: bool) -> None:
    one = daemon()
    data = os.urandom(3 * MB)
    where = begin(one.api)
    part(one.api, where, data[:MB], 0)
    one.restart(kill=kill)
    assert one.api("HEAD", where).headers["upload-offset"] == str(MB)
    part(one.api, where, data[MB:], MB)
    assert one.api("POST", where).json["id"] == blob_id(data)
    assert one.api("GET", f"/api/v1/blobs/{blob_id(data)}").body == data


def test_parts_at_the_wrong_place(api: Api) -> None:
    where = begin(api)
    part(api, where, b"abc", 0)
    answer = api("PATCH", where, b"x", Upload_Offset="2")
    answer.problem(409, "conflict")
    assert answer.headers["upload-offset"] == "3"
    api("PATCH", where, b"x").problem(400, "invalid")
    api("PATCH", where, b"x", Upload_Offset="-1").problem(400, "invalid")
    assert api("POST", where).json["id"] == blob_id(b"abc")


def test_too_few_and_other_bytes(api: Api) -> None:
    where = begin(api, length=4, expected=blob_id(b"abcd"))
    part(api, where, b"abc", 0)
    api("POST", where).problem(409, "conflict")
    api("PATCH", where, b"de", Upload_Offset="3").problem(413, "file-too-large")
    part(api, where, b"X", 3)
    api("POST", where).problem(409, "conflict")
    assert api("DELETE", where).status == 204
    api("POST", where).problem(404, "not-found")
    assert api("GET", "/api/v1/blobs").json["blobs"] == []


def test_a_part_has_a_limit(daemon: Callable[..., Any]) -> None:
    api = daemon("graviton.server.http.max-request-size = 1MB").api
    where = begin(api)
    part(api, where, b"first", 0)
    api("PATCH", where, bytes(MB + 1), Upload_Offset="5").problem(413, "file-too-large")
    api("PATCH", where, iter([os.urandom(MB), b"1"]), Upload_Offset="5").problem(413, "file-too-large")
    assert api("HEAD", where).headers["upload-offset"] == "5"
    part(api, where, b", second", 5)
    assert api("POST", where).json["id"] == blob_id(b"first, second")


def test_what_came_before_a_cut_is_kept(daemon: Callable[..., Any]) -> None:
    one = daemon()
    data = os.urandom(2 * MB)
    where = begin(one.api)
    with one.api.raw() as sock:
        head = f"PATCH {where} HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\n"
        sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:MB])

    def told() -> int:
        return int(one.api("HEAD", where).headers["upload-offset"])

    offset = wait_until(told, "the part to be kept", 30) or 0
    part(one.api, where, data[offset:], offset)
    assert one.api("POST", where).json["id"] == blob_id(data)


def test_giving_up_leaves_nothing(daemon: Callable[..., Any]) -> None:
    one = daemon()
    before = one.api("GET", "/api/v1/admin/volumes").json
    where = begin(one.api)
    part(one.api, where, os.urandom(MB), 0)
    one.restart()
    assert one.api("DELETE", where).status == 204
    assert one.api("GET", "/api/v1/admin/volumes").json == before
    one.running.stop()


def test_bad_requests(api: Api) -> None:
    for wanted in (
        {"length": -1},
        {"length": 1.5},
        {"expected": "x"},
        {"path": "/"},
        {"path": "/a/../b"},
        {"else": 1},
        [],
    ):
        assert api("POST", UPLOADS, wanted).status in (400, 413), wanted
    assert api("POST", UPLOADS, b"{").status == 400
    api("GET", f"{UPLOADS}/none").problem(404, "not-found")
    api("GET", f"{UPLOADS}/%FF").problem(404, "not-found")
