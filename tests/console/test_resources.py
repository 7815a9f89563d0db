"""The page's files, and what was added to the API for it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from harness.api import Api, blob_id
from harness.waiting import wait_until

FILES = "/api/v1/files"


def test_the_files_of_the_page(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.auth.enabled = true")
    page = one.api("GET", "/console/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    again = one.api("GET", "/console/", If_None_Match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert one.api("HEAD", "/console/").status == 200
    assert one.api("GET", "/console").headers["location"].endswith("/console/")
    assert one.api("GET", "/", Accept="text/html").headers["location"].endswith("/console/")
    one.api("GET", "/").problem(404, "not-found")
    for path in (
        "../console.py",
        "..%2fconsole.py",
        "%2e%2e/gate.py",
        "%00",
        "a/b",
        "index.html%00",
        "nothing.js",
    ):
        assert one.api("GET", f"/console/{path}").status in (400, 401, 404), path


def test_what_was_stored_never_runs(daemon: Callable[..., Any]) -> None:
    one = daemon()
    for name in ("page.html", "image.svg"):
        one.api("PUT", f"{FILES}/{name}", b"<script>alert(1)</script>")
        found = one.api("GET", f"{FILES}/{name}")
        assert found.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert found.headers["x-content-type-options"] == "nosniff"
        stored = one.api("GET", f"{FILES}/{name}?download=true")
        assert stored.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    one.api("PUT", f"{FILES}/a%22%0d%0ab", b"x")
    odd = one.api("GET", f"{FILES}/a%22%0d%0ab?download=true")
    assert odd.headers["content-disposition"] == "attachment; filename*=UTF-8''a%22%0D%0Ab"


def test_directories_in_pages(daemon: Callable[..., Any]) -> None:
    api = daemon().api
    names = [b"%02d" % n for n in range(7)] + [b"\xff\xfe"]
    for name in names:
        api("PUT", f"{FILES}/d/{name.decode('latin-1') if name < b'9' else '%FF%FE'}", name)
    found: list[str] = []
    after = ""
    while True:
        page = api("GET", f"{FILES}/d/?limit=3{after}").json
        assert len(page["entries"]) <= 3
        found += [entry.get("name_base64") or entry["name"] for entry in page["entries"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [name.decode() for name in names[:-1]] + [base64.b64encode(b"\xff\xfe").decode()]
    assert "next" not in api("GET", f"{FILES}/d/").json
    api("GET", f"{FILES}/d/?after=%21").problem(400, "invalid")
    api("GET", f"{FILES}/d/?limit=0").problem(400, "invalid")


def test_an_upload_to_a_name_that_is_no_text(daemon: Callable[..., Any]) -> None:
    api = daemon().api
    path = base64.b64encode(b"/d\xff/f\xfe").decode()
    begun = api("POST", "/api/v1/uploads", {"length": 3, "path_base64": path})
    assert begun.status == 201
    where = f"/api/v1/uploads/{begun.json['id']}"
    assert api("PATCH", where, b"abc", Upload_Offset="0").status == 204
    assert api("POST", where).json["blob"] == blob_id(b"abc")
    assert api("GET", f"{FILES}/d%FF/f%FE").body == b"abc"
    api("POST", "/api/v1/uploads", {"path_base64": "!"}).problem(400, "invalid")
    for bad in (b"/a/../b", b"/", b"/a\0"):
        wanted = {"path_base64": base64.b64encode(bad).decode()}
        api("POST", "/api/v1/uploads", wanted).problem(404, "not-found")


def finished(api: Api, begun: Any) -> Any:
    assert begun.status == 202, begun
    where = begun.headers["location"]

    def ended() -> Any:
        job = api("GET", where).json
        return job if job["state"] != "running" else None

    return wait_until(ended, "the job to end")


def test_what_was_removed_comes_back(daemon: Callable[..., Any]) -> None:
    api = daemon("graviton.trash { days = 1, min-age = 0s }").api
    api("PUT", f"{FILES}/d/kept", b"kept")
    api("PUT", f"{FILES}/d/lost", b"lost")
    assert api("DELETE", f"{FILES}/d/lost").status == 204
    (found,) = api("GET", "/api/v1/trash?path=/d").json["removed"]
    assert (found["path"], found["kind"], found["bytes"]) == ("/d/lost", "file", 4)
    job = finished(api, api("POST", "/api/v1/restores", {"path": found["trash"]}))
    assert job["state"] == "done", job
    assert api("GET", f"{FILES}/d/lost").body == b"lost"
    assert api("GET", "/api/v1/trash").json == {"removed": [], "more": False}
    failed = finished(api, api("POST", "/api/v1/restores", {"path": "/nothing"}))
    assert failed["state"] == "failed"
    assert "/nothing" in failed["error"]
    for bad in ({}, {"path": "relative"}, {"path": "/a", "path_base64": "?"}):
        api("POST", "/api/v1/restores", bad).problem(400, "invalid")
    api("POST", "/api/v1/restores", {"path": "/a/../b"}).problem(404, "not-found")


def test_a_snapshot_gives_back_what_it_holds(daemon: Callable[..., Any]) -> None:
    api = daemon().api
    api("PUT", f"{FILES}/d/f", b"before")
    assert api("POST", "/api/v1/admin/volumes/main/snapshots", {"name": "s1"}).status == 201
    api("PUT", f"{FILES}/d/f", b"after")
    assert [one["name"] for one in api("GET", "/api/v1/snapshots").json["snapshots"]] == ["s1"]
    assert api("GET", f"{FILES}/.snapshots/s1/d/f").body == b"before"
    taken = finished(api, api("POST", "/api/v1/restores", {"path": "/d/f", "snapshot": "s1"}))
    assert taken["state"] == "failed"
    wanted = {"path": "/d/f", "snapshot": "s1", "to": "/d/f-old"}
    assert finished(api, api("POST", "/api/v1/restores", wanted))["result"]["files"] == 1
    assert api("GET", f"{FILES}/d/f-old").body == b"before"
    forced = {"path": "/d/f", "snapshot": "s1", "force": True}
    assert finished(api, api("POST", "/api/v1/restores", forced))["state"] == "done"
    assert api("GET", f"{FILES}/d/f").body == b"before"
    job = finished(api, api("POST", "/api/v1/admin/fsck"))
    api("GET", f"/api/v1/restores/{job['id']}").problem(404, "not-found")


def test_work_is_told_without_reading_the_store(daemon: Callable[..., Any]) -> None:
    told = daemon().api("GET", "/api/v1/admin/work").json
    assert {task["name"] for task in told["upkeep"]} >= {"collect", "history"}
    assert told["role"] == "serve"


def test_usage_is_noted(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.console.history-interval = 1s")
    assert_usage_grows(one.api)
    before = one.api("GET", "/api/v1/admin/usage").json["samples"]
    assert one.running.stop() == 0
    one.start()
    after = one.api("GET", "/api/v1/admin/usage").json["samples"]
    assert after[: len(before)] == before
    last = before[-1]["time"]
    some = one.api("GET", f"/api/v1/admin/usage?since={last}&until={last}").json["samples"]
    assert [sample["time"] for sample in some] == [last]


def assert_usage_grows(api: Api) -> None:
    def sample(**wanted: int) -> bool:
        samples = api("GET", "/api/v1/admin/usage").json["samples"]
        return bool(samples) and all(samples[-1][key] == value for key, value in wanted.items())

    wait_until(lambda: sample(logical_bytes=0), "the empty store to be noted", 60)
    data = bytes(range(256)) * 400
    assert api("PUT", f"{FILES}/one", data).status == 201
    assert api("PUT", f"{FILES}/two", data).status == 201
    size = len(data)
    wait_until(lambda: sample(logical_bytes=2 * size, unique_bytes=size), "two files to be noted", 60)
    newest = api("GET", "/api/v1/admin/usage").json["samples"][-1]
    assert 0 < newest["stored_bytes"] < size
    assert newest["volumes"]["main"]["logical_bytes"] == 2 * size
    assert abs(newest["time"] - time.time()) < 120


@pytest.mark.parametrize("days", [0, 1, 40, 400, 3000])
def test_old_notes_are_thinned(days: int) -> None:
    from graviton_server.maintenance.history import outdated

    now = 1_800_000_000
    times = list(range(now - days * 86400, now + 1, 600))
    gone = set(outdated(times, now))
    left = [at for at in times if at not in gone]
    assert left[-1] == now
    assert len(left) <= 146 + 24 * 31 + 5 * 366
    for older, newer in pairwise(left):
        age = now - newer
        assert newer - older <= (600 if age < 86400 - 600 else 7200 if age < 30 * 86400 else 2 * 86400)
    assert not outdated(left, now)
