"""Snapshots as users read them: in mounts, over WebDAV, over HTTP, and mounted by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.api import Api, address_in
from harness.programs import Graviton
from snapshots.trees import Served, build, change, seen


@pytest.mark.mount
class TestMounts:
    def test_the_past_stays_as_it_was(self, served: Served, graviton: Graviton) -> None:
        top = served.point
        build(top)
        before = seen(top)
        graviton.run("snapshot", "create", top, "one")
        past = top / ".snapshots" / "one"
        assert seen(past) == before
        change(top)
        middle = seen(top)
        graviton.run("snapshot", "create", top, "two")
        (top / "d" / "small").unlink()
        assert os.listdir(top / ".snapshots") == ["one", "two"]
        assert ".snapshots" not in os.listdir(top)
        assert seen(past) == before
        assert seen(top / ".snapshots" / "two") == middle
        inos = {(top / "d" / "large").stat().st_ino, (past / "d" / "large").stat().st_ino}
        assert len(inos) == 2
        graviton.run("snapshot", "delete", top, "one")
        assert os.listdir(top / ".snapshots") == ["two"]
        assert not past.exists()

    def test_nothing_in_it_can_be_changed(self, served: Served, graviton: Graviton) -> None:
        top = served.point
        build(top)
        graviton.run("snapshot", "create", top, "one")
        past = top / ".snapshots" / "one"
        seen(past)  # so that a mount which answers from memory knows it
        attempts: list[Callable[[], object]] = [
            lambda: (past / "new").write_bytes(b""),
            (past / "new").mkdir,
            (top / ".snapshots" / "new").mkdir,
            (past / "d" / "small").unlink,
            lambda: os.open(past / "d" / "small", os.O_WRONLY | os.O_APPEND),
            lambda: os.truncate(past / "d" / "small", 0),
            lambda: os.chmod(past / "d" / "small", 0o600),
            lambda: os.utime(past / "d" / "small"),
            lambda: os.setxattr(past / "d" / "small", "user.a", b"x"),
            lambda: os.removexattr(past / "d" / "small", "user.a"),
            lambda: os.rename(past / "d" / "small", top / "small"),
            lambda: os.rename(top / "d" / "small", past / "small"),
            lambda: os.link(past / "d" / "small", top / "small"),
            lambda: os.rmdir(past),
            lambda: os.rmdir(top / ".snapshots"),
        ]
        before = seen(top)
        for attempt in attempts:
            with pytest.raises(OSError, match="Read-only file system"):
                attempt()
        with pytest.raises(FileExistsError):
            (top / ".snapshots").mkdir()
        assert seen(top) == seen(past) == before

    def test_mounted_by_itself(self, served: Served, graviton: Graviton, scratch: Path) -> None:
        build(served.point)
        before = seen(served.point)
        graviton.run("snapshot", "create", served.point, "one")
        change(served.point)
        if served.source.startswith("graviton://"):
            other = scratch / "other"
            other.mkdir()
            served.mount(other, "snapshot=one")
            assert seen(other) == before
            with pytest.raises(OSError, match="Read-only"):
                (other / "new").write_bytes(b"")
            inner = scratch / "inner"
            inner.mkdir()
            served.mount(inner, "snapshot=one,subdir=d")
            assert (inner / "small").read_bytes() == b"small"
            third = scratch / "third"
            third.mkdir()
            told = graviton.run("mount", served.source, third, "-o", "snapshot=no", status=1)
            assert b"there is no snapshot 'no'" in told.stderr
        told = graviton.run("mount", served.source, scratch / "x", "-o", "snapshot=one,rw", status=2)
        assert b"only be read" in told.stderr


SNAPSHOTS = "/api/v1/admin/volumes/main/snapshots"


@pytest.fixture
def everything(graviton: Graviton, scratch: Path) -> Iterator[tuple[Api, Api]]:
    """A daemon's API and gateway, with a file that a snapshot has otherwise."""
    file = scratch / "graviton.conf"
    file.write_text("graviton { webdav { enabled = true, port = 0 } }")
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    running = graviton.start("serve", "--config", file, "--data", scratch / "data", *addresses)
    ready = running.ready_line()
    api, dav = Api(address_in(ready)), Api(address_in(ready, "webdav"))
    assert dav("MKCOL", "/d").status == 201
    assert api("PUT", "/api/v1/files/d/f", b"before").status == 201
    assert api("POST", SNAPSHOTS, {"name": "s"}).status == 201
    assert api("PUT", "/api/v1/files/d/f", b"after it").status in (200, 204)
    yield api, dav
    api.close()
    dav.close()
    assert running.stop() == 0


class TestServers:
    def test_over_http(self, everything: tuple[Api, Api]) -> None:
        api, _ = everything
        files = "/api/v1/files"
        assert api("GET", f"{files}/.snapshots/s/d/f").body == b"before"
        assert api("GET", f"{files}/d/f").body == b"after it"
        listed = api("GET", f"{files}/.snapshots/").json
        assert [one["name"] for one in listed["entries"]] == ["s"]
        assert [one["name"] for one in api("GET", files).json["entries"]] == ["d"]
        api("PUT", f"{files}/.snapshots/s/d/f", b"x").problem(403, "read-only")
        api("DELETE", f"{files}/.snapshots/s/d/f").problem(403, "read-only")
        api("GET", f"{files}/.snapshots/t/d/f").problem(404, "not-found")
        assert api("GET", f"{files}/.snapshots/s/d/f").body == b"before"

    def test_over_webdav(self, everything: tuple[Api, Api]) -> None:
        _, dav = everything
        assert dav("GET", "/.snapshots/s/d/f").body == b"before"
        assert dav("GET", "/d/f").body == b"after it"
        assert b"/.snapshots/s/" in dav("PROPFIND", "/.snapshots/", depth="1").body
        assert b".snapshots" not in dav("PROPFIND", "/", depth="1").body
        for method, path in (("PUT", "s/d/f"), ("DELETE", "s/d/f"), ("MKCOL", "n")):
            assert dav(method, f"/.snapshots/{path}").status == 403, method
        assert dav("GET", "/.snapshots/s/d/f").body == b"before"
