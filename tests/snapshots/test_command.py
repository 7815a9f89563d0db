"""``graviton snapshot``: of a directory, a configuration, a mount, a daemon; and the APIs beneath."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.api import Api, address_in
from harness.programs import Graviton
from rpc.test_serve import address


def names(graviton: Graviton, source: str | Path, *more: str) -> list[str]:
    listed = json.loads(graviton.run("snapshot", "list", source, "--json", *more).stdout)
    return [one["name"] for one in listed]


class TestADirectory:
    def test_from_first_to_last(self, graviton: Graviton, scratch: Path) -> None:
        data = scratch / "data"
        graviton.run("init", data)
        assert b"there are no snapshots" in graviton.run("snapshot", "list", data).stderr
        (scratch / "file").write_bytes(b"12345")
        graviton.run("put", scratch / "file", f"{data}:/file")
        made = json.loads(graviton.run("snapshot", "create", data, "one", "--json").stdout)
        assert (made["name"], made["logical_bytes"], made["inodes"]) == ("one", 5, 2)
        graviton.run("snapshot", "create", data, "and two")
        assert names(graviton, data) == ["one", "and two"]
        shown = graviton.run("snapshot", "list", data).stdout.decode()
        assert "and two" in shown
        graviton.run("snapshot", "delete", data, "one")
        assert names(graviton, data) == ["and two"]

    def test_what_is_refused_and_what_to_do(self, graviton: Graviton, scratch: Path) -> None:
        data = scratch / "data"
        graviton.run("init", data)
        graviton.run("snapshot", "create", data, "s")
        refusals = {
            ("create", data, "s"): b"choose another name",
            ("create", data, "a/b"): b"letters, digits",
            ("delete", data, "t"): b"graviton snapshot list",
            ("create", data, "x", "--volume", "other"): b"there is no volume 'other'",
        }
        for arguments, told in refusals.items():
            assert told in graviton.run("snapshot", *arguments, status=1).stderr

    def test_a_configuration_file(self, graviton: Graviton, scratch: Path) -> None:
        file = scratch / "graviton.conf"
        file.write_text(f'graviton {{ data-dir = "{scratch / "data"}" }}')
        graviton.run("snapshot", "create", file, "s")
        assert names(graviton, file) == names(graviton, scratch / "data") == ["s"]

    @pytest.mark.mount
    def test_a_path_in_a_mount(self, graviton: Graviton, scratch: Path) -> None:
        data, point = scratch / "data", scratch / "mnt"
        graviton.run("init", data)
        graviton.mount(data, point)
        (point / "d").mkdir()
        (point / "d" / "f").write_bytes(b"123")
        made = json.loads(graviton.run("snapshot", "create", point / "d", "s", "--json").stdout)
        assert (made["logical_bytes"], made["inodes"]) == (3, 3)
        assert names(graviton, data) == names(graviton, point) == ["s"]


class Served:
    def __init__(self, graviton: Graviton, scratch: Path) -> None:
        self.data = scratch / "data"
        self.running = graviton.start(
            "serve", "--data", self.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        ready = self.running.ready_line()
        self.source = f"graviton://{address(ready, 'grpc')}/main"
        self.http = address_in(ready)


@pytest.fixture
def served(graviton: Graviton, scratch: Path) -> Iterator[Served]:
    made = Served(graviton, scratch)
    yield made
    assert made.running.stop() == 0


class TestADaemon:
    def test_over_grpc(self, graviton: Graviton, served: Served) -> None:
        graviton.run("snapshot", "create", served.source, "s")
        assert names(graviton, served.source) == names(graviton, served.data) == ["s"]
        assert b"already" in graviton.run("snapshot", "create", served.source, "s", status=1).stderr
        graviton.run("snapshot", "delete", served.source, "s")
        assert b"there is no" in graviton.run("snapshot", "delete", served.source, "s", status=1).stderr
        assert names(graviton, served.source) == []

    def test_over_http(self, served: Served) -> None:
        api = Api(served.http)
        base = "/api/v1/admin/volumes/main/snapshots"
        made = api("POST", base, json.dumps({"name": "before 5"}).encode())
        assert made.status == 201
        assert made.headers["location"] == f"{base}/before%205"
        listed: dict[str, Any] = api("GET", base).json
        assert [(one["name"], one["inodes"]) for one in listed["snapshots"]] == [("before 5", 1)]
        api("POST", base, json.dumps({"name": "before 5"}).encode()).problem(409, "exists")
        api("GET", "/api/v1/admin/volumes/none/snapshots").problem(404, "not-found")
        assert api("DELETE", f"{base}/before%205").status == 204
        api("DELETE", f"{base}/before%205").problem(404, "not-found")
        api.close()

    @pytest.mark.mount
    def test_a_mount_that_answers_from_memory_has_told_all(
        self, graviton: Graviton, served: Served, scratch: Path
    ) -> None:
        """What it has answered, and nobody else has seen yet, is in the snapshot."""
        point = scratch / "mnt"
        running = graviton.mount(served.source, point)  # type: ignore[arg-type]
        (point / "warm").mkdir()
        for round_ in range(3):
            for number in range(200):
                (point / "warm" / f"{round_}-{number}").mkdir()
            made = json.loads(
                graviton.run("snapshot", "create", point / "warm", f"s{round_}", "--json").stdout
            )
            assert made["inodes"] == 2 + 200 * (round_ + 1)
            os.stat(point / "warm")
        graviton.unmount(running, point)


class TestScopes:
    def test_reading_is_not_enough(self, graviton: Graviton, scratch: Path) -> None:
        data, file = scratch / "data", scratch / "graviton.conf"
        file.write_text("graviton { auth { enabled = true } }")
        running = graviton.start(
            "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        ready = running.ready_line()
        source = f"graviton://{address(ready, 'grpc')}/main"
        tokens = {
            scope: json.loads(
                graviton.run("token", "create", data, "--name", scope, "--scope", scope, "--json").stdout
            )["token"]
            for scope in ("read", "admin")
        }
        for scope, status in (("read", 1), ("admin", 0)):
            graviton.run("snapshot", "create", source, "s", status=status, GRAVITON_TOKEN=tokens[scope])
        listed = graviton.run("snapshot", "list", source, "--json", GRAVITON_TOKEN=tokens["read"])
        assert [one["name"] for one in json.loads(listed.stdout)] == ["s"]
        graviton.run("snapshot", "delete", source, "s", status=1, GRAVITON_TOKEN=tokens["read"])
        graviton.run("snapshot", "list", source, status=1)
        base = "/api/v1/admin/volumes/main/snapshots"
        for scope, status in (("read", 403), ("admin", 200)):
            api = Api(address_in(ready), token=tokens[scope])
            assert api("GET", base).status == status
            api.close()
        assert running.stop() == 0
