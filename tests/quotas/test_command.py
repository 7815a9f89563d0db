"""``graviton quota``: of a directory, a mount, a daemon; and the APIs beneath."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Api
from harness.dav import DAV
from harness.programs import Graviton
from quotas.sources import Daemon
from webdav.test_sources import client_of


def listed(graviton: Graviton, source: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(graviton.run("quota", "list", source, "--json").stdout)  # type: ignore[arg-type]
    return found


class TestADirectory:
    def test_from_first_to_last(self, graviton: Graviton, scratch: Path) -> None:
        data = scratch / "data"
        graviton.run("init", data)
        graviton.run("mkdir", f"{data}:/d")
        assert b"there are no quotas" in graviton.run("quota", "list", data).stderr
        (scratch / "file").write_bytes(bytes(5000))
        graviton.run("put", scratch / "file", f"{data}:/d/file")
        told = json.loads(graviton.run("quota", "set", f"{data}:/d", "--bytes", "10KB", "--json").stdout)
        assert told == {
            "path": "/d", "max_bytes": 10_000, "max_inodes": None, "bytes": 5000, "inodes": 1,
            "counting": False,
        }  # fmt: skip
        graviton.run("quota", "set", data, "--inodes", "3")
        assert json.loads(graviton.run("quota", "get", f"{data}:/d/", "--json").stdout) == told
        assert [one["path"] for one in listed(graviton, data)] == ["/", "/d"]
        (scratch / "large").write_bytes(bytes(5001))
        refused = graviton.run("put", scratch / "large", f"{data}:/d/large", status=1)
        assert b"quota" in refused.stderr
        graviton.run("put", scratch / "file", f"{data}:/d/other")
        assert b"inodes" in graviton.run("mkdir", f"{data}:/e", status=1).stderr
        checked = json.loads(graviton.run("quota", "check", data, "--json").stdout)
        assert [(one["quota"]["path"], one["counted_bytes"], one["right"]) for one in checked] == [
            ("/", 10_000, True),
            ("/d", 10_000, True),
        ]
        shown = graviton.run("quota", "list", data).stdout.decode()
        assert "9.8 KiB" in shown
        graviton.run("quota", "delete", f"{data}:/d")
        assert [one["path"] for one in listed(graviton, data)] == ["/"]

    def test_what_is_refused_and_what_to_do(self, graviton: Graviton, scratch: Path) -> None:
        data = scratch / "data"
        graviton.run("init", data)
        assert b"--bytes" in graviton.run("quota", "set", data, status=2).stderr
        assert b"quota list" in graviton.run("quota", "get", data, status=1).stderr
        assert (
            b"does not exist" in graviton.run("quota", "set", f"{data}:/x", "--inodes", "1", status=1).stderr
        )

    @pytest.mark.mount
    def test_a_path_in_a_mount(self, graviton: Graviton, scratch: Path) -> None:
        data, point = scratch / "data", scratch / "mnt"
        graviton.run("init", data)
        running = graviton.mount(data, point)
        (point / "d").mkdir()
        (point / "d" / "f").write_bytes(b"123")
        graviton.run("quota", "set", point / "d", "--inodes", "7")
        assert [(one["path"], one["bytes"]) for one in listed(graviton, data)] == [("/d", 3)]
        assert listed(graviton, point) == listed(graviton, data)
        graviton.unmount(running, point)


class TestADaemon:
    def test_over_grpc(self, graviton: Graviton, daemon: Daemon) -> None:
        graviton.run("mkdir", f"{daemon.data}:/d")
        graviton.run("quota", "set", f"{daemon.source}:/d", "--bytes", "1GiB", "--inodes", "10")
        assert listed(graviton, daemon.source) == listed(graviton, daemon.data) != []
        got = json.loads(graviton.run("quota", "get", f"{daemon.source}/d", "--json").stdout)
        assert (got["path"], got["max_bytes"], got["max_inodes"]) == ("/d", 1 << 30, 10)
        checked = json.loads(graviton.run("quota", "check", daemon.source, "--repair", "--json").stdout)
        assert [one["right"] for one in checked] == [True]
        graviton.run("quota", "delete", f"{daemon.source}:/d")
        assert b"has no quota" in graviton.run("quota", "delete", f"{daemon.source}:/d", status=1).stderr
        assert listed(graviton, daemon.source) == []

    def test_over_http(self, daemon: Daemon) -> None:
        api = Api(daemon.http)
        base = "/api/v1/admin/volumes/main/quotas"
        assert api("PUT", "/api/v1/files/d/file", b"12345").status == 201
        made = api("PUT", base, json.dumps({"path": "/d", "max_bytes": 10}).encode())
        assert (made.status, made.json["bytes"], made.json["inodes"]) == (200, 5, 1)
        api("PUT", "/api/v1/files/d/other", b"123456").problem(507, "quota")
        assert api("GET", "/api/v1/files/d/other").status == 404
        assert api("PUT", "/api/v1/files/d/other", b"12345").status == 201
        assert [one["bytes"] for one in api("GET", base).json["quotas"]] == [10]
        checked = api("POST", f"{base}/check", b"{}").json["quotas"]
        assert [(one["counted_bytes"], one["right"]) for one in checked] == [(10, True)]
        api("PUT", base, json.dumps({"path": "/none", "max_bytes": 10}).encode()).problem(404, "not-found")
        api("PUT", base, json.dumps({"path": "/d/file", "max_bytes": 1}).encode()).problem(
            409, "not-a-directory"
        )
        assert api("DELETE", f"{base}?path=/d").status == 204
        api("DELETE", f"{base}?path=/d").problem(404, "not-found")
        api.close()


class TestWebDav:
    def test_what_is_left_and_what_is_refused(self, graviton: Graviton, scratch: Path) -> None:
        """RFC 4331: of each collection, what its quotas leave; 507 where that is not enough."""
        data = scratch / "data"
        graviton.run("init", data)
        running = graviton.start("webdav", data, "--listen", "127.0.0.1:0")
        dav = client_of(running)
        assert dav("MKCOL", "/d").status == 201
        graviton.run("quota", "set", f"{data}:/d", "--bytes", "1000")
        graviton.run("quota", "set", data, "--bytes", "1500")
        assert dav("PUT", "/d/a", bytes(600)).status == 201
        assert dav("PUT", "/d/b", bytes(401)).status == 507
        assert dav("PUT", "/e", bytes(900)).status == 201
        assert dav("COPY", "/d/a", Destination="/d/c").status == 507
        left, used = f"{DAV}quota-available-bytes", f"{DAV}quota-used-bytes"
        for path in ("/", "/d/"):  # of the quota that leaves least
            found = dav.propfind(path, left, used)
            assert (found.text(path, left), found.text(path, used)) == ("0", "1500")
        assert dav("DELETE", "/e").status == 204
        found = dav.propfind("/d/", left, used)
        assert (found.text("/d/", left), found.text("/d/", used)) == ("400", "600")
        dav.close()
        assert running.stop() == 0
