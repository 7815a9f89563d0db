"""`graviton up`: the gateway and the mount show one volume, at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.dav import DAV, Client
from harness.programs import Graviton

pytestmark = pytest.mark.mount


class Up(NamedTuple):
    mount: Path
    dav: Client


@pytest.fixture
def up(graviton: Graviton, scratch: Path) -> Iterator[Up]:
    mount = scratch / "mnt"
    running = graviton.start("up", "--data", "data", "--mount", mount, "--webdav", "127.0.0.1:0")
    match = re.search(r"http://([0-9.]+):(\d+)/", running.ready_line())
    assert match is not None
    client = Client((match[1], int(match[2])))
    yield Up(mount, client)
    client.close()
    assert running.stop() == 0


def test_each_side_sees_the_other_at_once(up: Up) -> None:
    data = os.urandom(3_000_000)
    assert up.dav("PUT", "/from-dav", data).status == 201
    assert (up.mount / "from-dav").read_bytes() == data
    for round_ in range(20):
        text = f"version {round_}".encode()
        up.dav("PUT", "/shared", text)
        assert (up.mount / "shared").read_bytes() == text
        (up.mount / "shared").write_bytes(text * 2)
        assert up.dav("GET", "/shared").body == text * 2
    (up.mount / "made" / "deep").mkdir(parents=True)
    (up.mount / "made" / "deep" / "f").write_bytes(b"x")
    assert sorted(up.dav.propfind("/made/", depth="infinity").responses()) == [
        "/made/",
        "/made/deep/",
        "/made/deep/f",
    ]
    assert up.dav("MOVE", "/made", Destination="/moved").status == 201
    assert not (up.mount / "made").exists()
    assert (up.mount / "moved" / "deep" / "f").read_bytes() == b"x"
    assert up.dav("COPY", "/moved", Destination="/copied").status == 201
    assert (up.mount / "copied" / "deep" / "f").read_bytes() == b"x"
    assert up.dav("DELETE", "/copied").status == 204
    assert sorted(os.listdir(up.mount)) == ["from-dav", "moved", "shared"]


def test_who_has_a_file_open_keeps_what_a_put_replaces(up: Up) -> None:
    (up.mount / "f").write_bytes(b"first")
    with (up.mount / "f").open("rb") as reader:
        assert reader.read(2) == b"fi"
        up.dav("DELETE", "/f")
        assert reader.read() == b"rst"


def test_dead_properties_are_extended_attributes(up: Up) -> None:
    up.dav("PUT", "/f", b"x")
    body = (
        b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><c xmlns="urn:t">blue</c></D:prop></D:set>'
        b"</D:propertyupdate>"
    )
    assert up.dav("PROPPATCH", "/f", body).status == 207
    name = "user.webdav.{urn:t}c"
    assert os.listxattr(up.mount / "f").count(name) == 1
    assert b"blue" in os.getxattr(up.mount / "f", name)
    os.removexattr(up.mount / "f", name)
    assert up.dav.propfind("/f", "{urn:t}c").found("/f", "{urn:t}c") is None
    assert up.dav.propfind("/f", f"{DAV}getcontentlength").text("/f", f"{DAV}getcontentlength") == "1"


def test_symlinks_made_on_the_mount(up: Up) -> None:
    (up.mount / "d").mkdir()
    (up.mount / "d" / "f").write_bytes(b"target")
    (up.mount / "link").symlink_to("d/f")
    (up.mount / "out").symlink_to("/etc/passwd")
    assert up.dav("GET", "/link").body == b"target"
    assert up.dav("GET", "/out").status == 404
    assert sorted(up.dav.propfind("/", depth="1").responses()) == ["/", "/d/", "/link"]
