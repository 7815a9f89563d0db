"""The trash over HTTP and WebDAV, and after a kill -9."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.api import Api, address_in
from harness.programs import Graviton, Running
from harness.waiting import wait_until

FILES = "/api/v1/files"
Start = Callable[[], tuple[Running, Api, Api]]


@pytest.fixture
def start(graviton: Graviton, scratch: Path) -> Start:
    file = scratch / "graviton.conf"
    file.write_text("graviton { trash { min-age = 0 }, webdav { enabled = true, port = 0 } }")

    def started() -> tuple[Running, Api, Api]:
        addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        running = graviton.start("serve", "--config", file, "--data", scratch / "data", *addresses)
        ready = running.ready_line()
        return running, Api(address_in(ready)), Api(address_in(ready, "webdav"))

    return started


@pytest.fixture
def both(start: Start) -> Iterator[tuple[Api, Api]]:
    running, api, dav = start()
    assert dav("MKCOL", "/d").status == 201
    for name in ("f", "g"):
        assert api("PUT", f"{FILES}/d/{name}", b"bytes of %s" % name.encode()).status == 201
    yield api, dav
    api.close()
    dav.close()
    assert running.stop() == 0


def day(api: Api) -> str:
    (found,) = api("GET", f"{FILES}/.trash/").json["entries"]
    return str(found["name"])


def test_over_http(both: tuple[Api, Api]) -> None:
    api, _ = both
    assert api("DELETE", f"{FILES}/d/f").status == 204
    lost = f"{FILES}/.trash/{day(api)}/d"
    assert api("GET", f"{lost}/f").body == b"bytes of f"
    assert [one["name"] for one in api("GET", FILES).json["entries"]] == ["d"]
    api("PUT", f"{lost}/f", b"x").problem(403, "read-only")
    api("PUT", f"{lost}/n", b"x").problem(403, "read-only")
    assert api("DELETE", f"{lost}/f").status == 204
    api("GET", f"{lost}/f").problem(404, "not-found")
    assert api("GET", f"{FILES}/.trash/").json["entries"] == []


def test_it_is_emptied_by_a_collection(both: tuple[Api, Api]) -> None:
    """By HTTP; ``test_limits`` by gRPC."""
    api, _ = both

    def collect(**wanted: bool) -> int:
        where = api("POST", "/api/v1/admin/gc", wanted).headers["location"]

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = api("GET", where).json
            return job if job["state"] != "running" else None

        job = wait_until(ended, "the collection", 60)
        assert job is not None
        assert (job["state"], job["error"]) == ("done", None)
        return int(job["result"]["erased"])

    assert api("DELETE", f"{FILES}/d/f").status == 204
    lost = f"{FILES}/.trash/{day(api)}/d/f"
    assert collect() == 0
    assert collect(dry_run=True, empty_trash=True) == 1
    assert api("GET", lost).status == 200
    assert collect(empty_trash=True) == 1
    api("GET", lost).problem(404, "not-found")


def test_over_webdav(both: tuple[Api, Api]) -> None:
    api, dav = both
    assert dav("DELETE", "/d").status == 204
    assert dav("GET", "/d/f").status == 404
    lost = f"/.trash/{day(api)}"
    assert dav("GET", f"{lost}/d/f").body == b"bytes of f"
    assert f"{lost}/d/".encode() in dav("PROPFIND", lost, depth="1").body
    assert b".trash" not in dav("PROPFIND", "/", depth="1").body
    for method, path in (("PUT", f"{lost}/d/f"), ("MKCOL", f"{lost}/n"), ("DELETE", lost)):
        assert dav(method, path).status == 403, method
    assert dav("MOVE", f"{lost}/d/g", destination="/g").status == 201
    assert dav("GET", "/g").body == b"bytes of g"
    assert dav("MOVE", f"{lost}/d", destination="/d").status == 201
    assert dav("GET", "/d/f").body == b"bytes of f"
    assert dav("DELETE", "/d").status == 204
    assert dav("DELETE", f"{lost}/d").status == 204
    assert api("GET", f"{FILES}/.trash/").json["entries"] == []


def test_the_configuration_turns_it_off(graviton: Graviton, scratch: Path) -> None:
    file = scratch / "graviton.conf"
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    for days, left in ((1, True), (0, False)):
        file.write_text(f"graviton {{ trash {{ days = {days}, min-age = 0 }} }}")
        running = graviton.start("serve", "--config", file, "--data", scratch / "data", *addresses)
        api = Api(address_in(running.ready_line()))
        assert api("PUT", f"{FILES}/f", b"x").status == 201
        assert api("DELETE", f"{FILES}/f").status == 204

        def found(api: Api = api) -> bool:
            return bool(api("GET", f"{FILES}/.trash/").json["entries"])

        # What was in it when it was turned off goes as well.
        wait_until(lambda left=left: found() == left, "what is in the trash")  # type: ignore[misc]
        api.close()
        assert running.stop() == 0


def test_what_was_answered_is_there_after_a_kill(start: Start, graviton: Graviton, scratch: Path) -> None:
    running, api, dav = start()
    for round_ in range(3):
        for number in range(10):
            body = b"%d in round %d" % (number, round_)
            assert api("PUT", f"{FILES}/r{round_}-{number}", body).status == 201
        for number in range(0, 10, 2):
            assert api("DELETE", f"{FILES}/r{round_}-{number}").status == 204
        running.kill()
        api.close()
        dav.close()
        running, api, dav = start()
    lost = f"{FILES}/.trash/{day(api)}"
    for round_ in range(3):
        for number in range(10):
            place = lost if number % 2 == 0 else FILES
            assert api("GET", f"{place}/r{round_}-{number}").body == b"%d in round %d" % (number, round_)
    metrics = api("GET", "/metrics").body
    assert b"graviton_trash_inodes 15.0" in metrics
    api.close()
    dav.close()
    assert running.stop() == 0
    graviton.run("fsck", scratch / "data", "--read-data")
    told = json.loads(graviton.run("info", scratch / "data", "--json").stdout)
    assert (told["trash_inodes"], told["trash_bytes"]) == (15, 15 * len("0 in round 0"))
    graviton.run("restore", f"{scratch / 'data'}:/r0-0")
    assert graviton.run("cat", f"{scratch / 'data'}:/r0-0").stdout == b"0 in round 0"
    done = json.loads(graviton.run("gc", "--empty-trash", scratch / "data", "--json").stdout)
    assert done["erased"] == 14
    assert json.loads(graviton.run("info", scratch / "data", "--json").stdout)["trash_inodes"] == 0
    graviton.run("fsck", scratch / "data", "--read-data")
