"""MKCOL, DELETE, COPY, MOVE and the page for browsers."""

from __future__ import annotations

import os
import stat
import time

import pytest

from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Create, SetAttr
from harness.dav import Client

TAG = "{urn:test}colour"
COLOUR = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><c:colour xmlns:c="urn:test">blue</c:colour>'
    b"</D:prop></D:set></D:propertyupdate>"
)


def names(dav: Client, path: str) -> list[str]:
    """What a collection lists, without itself."""
    found = sorted(dav.propfind(path, "{DAV:}resourcetype", depth="1").responses())
    assert found.pop(0) == path
    return [href.removeprefix(path) for href in found]


def tree(dav: Client, home: str) -> None:
    assert dav("MKCOL", f"{home}a").status == 201
    assert dav("MKCOL", f"{home}a/b/").status == 201
    assert dav("PUT", f"{home}a/f", b"f").status == 201
    assert dav("PUT", f"{home}a/b/g", b"g").status == 201
    assert dav("PROPPATCH", f"{home}a/b/g", COLOUR).status == 207


def test_mkcol(dav: Client, home: str) -> None:
    assert dav("MKCOL", f"{home}c").status == 201
    assert dav("MKCOL", f"{home}c").status == 405
    assert dav("MKCOL", f"{home}c/").status == 405
    assert dav("MKCOL", f"{home}none/d").status == 409
    assert dav("MKCOL", f"{home}d", b"<what/>").status == 415
    dav("PUT", f"{home}f", b"")
    assert dav("MKCOL", f"{home}f/d").status == 409
    assert dav("MKCOL", "/").status == 405
    assert names(dav, home) == ["c/", "f"]


def test_delete(dav: Client, home: str) -> None:
    tree(dav, home)
    assert dav("DELETE", f"{home}a", Depth="0").status == 400
    assert dav("DELETE", f"{home}a/").status == 204
    assert dav("GET", f"{home}a/b/g").status == 404
    assert dav("DELETE", f"{home}a").status == 404
    assert dav("DELETE", "/").status == 403
    assert names(dav, home) == []


def test_copy_takes_bytes_and_properties_along(dav: Client, home: str) -> None:
    tree(dav, home)
    assert dav("COPY", f"{home}a/b/g", Destination=dav.url(f"{home}g2")).status == 201
    assert dav("GET", f"{home}g2").body == b"g"
    assert dav.propfind(f"{home}g2", TAG).text(f"{home}g2", TAG) == "blue"
    assert dav("COPY", f"{home}a", Destination=f"{home}copy/").status == 201
    assert names(dav, f"{home}copy/") == ["b/", "f"]
    assert dav.propfind(f"{home}copy/b/g", TAG).text(f"{home}copy/b/g", TAG) == "blue"
    assert dav("GET", f"{home}a/b/g").body == b"g"


def test_a_copy_and_its_source_go_their_own_ways(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"one")
    dav("COPY", f"{home}f", Destination=f"{home}g")
    dav("PUT", f"{home}f", b"two")
    assert (dav("GET", f"{home}f").body, dav("GET", f"{home}g").body) == (b"two", b"one")


def test_copy_of_a_collection_alone(dav: Client, home: str) -> None:
    tree(dav, home)
    assert dav("COPY", f"{home}a", Destination=f"{home}only", Depth="0").status == 201
    assert names(dav, f"{home}only/") == []
    assert dav("COPY", f"{home}a", Destination=f"{home}x", Depth="1").status == 400


def test_a_copy_costs_no_bytes_and_no_time(volume: Volume, dav: Client, home: str) -> None:
    dav("PUT", f"{home}big", os.urandom(32 << 20))
    stored = volume.store.counters().bytes_put
    start = time.perf_counter()
    assert dav("COPY", f"{home}big", Destination=f"{home}copy").status == 201
    assert time.perf_counter() - start < 2
    assert volume.store.counters().bytes_put == stored
    assert dav("HEAD", f"{home}copy").etag == dav("HEAD", f"{home}big").etag


def test_overwrite(dav: Client, home: str) -> None:
    tree(dav, home)
    dav("PUT", f"{home}x", b"x")
    dav("PROPPATCH", f"{home}x", COLOUR)
    for method in ("COPY", "MOVE"):
        assert dav(method, f"{home}a/f", Destination=f"{home}x", Overwrite="F").status == 412
        assert dav(method, f"{home}a/f", Destination=f"{home}x", Overwrite="maybe").status == 400
    assert dav("GET", f"{home}x").body == b"x"
    assert dav("COPY", f"{home}a/f", Destination=f"{home}x").status == 204
    assert dav("GET", f"{home}x").body == b"f"
    assert dav.propfind(f"{home}x", TAG).text(f"{home}x", TAG) is None
    assert dav("MOVE", f"{home}a", Destination=f"{home}x", Overwrite="T").status == 204
    assert names(dav, home) == ["x/"]
    dav("PUT", f"{home}y", b"y")
    assert dav("MOVE", f"{home}y", Destination=f"{home}x").status == 204
    assert dav("GET", f"{home}x").body == b"y"


def test_a_collection_replaces_a_full_one(dav: Client, home: str) -> None:
    tree(dav, home)
    dav("MKCOL", f"{home}z")
    dav("PUT", f"{home}z/old", b"")
    assert dav("COPY", f"{home}a", Destination=f"{home}z").status == 204
    assert names(dav, f"{home}z/") == ["b/", "f"]


def test_move(dav: Client, home: str) -> None:
    tree(dav, home)
    etag = dav("HEAD", f"{home}a/f").etag
    assert dav("MOVE", f"{home}a/", Destination=dav.url(f"{home}moved/")).status == 201
    assert names(dav, home) == ["moved/"]
    assert dav("HEAD", f"{home}moved/f").etag == etag
    assert dav.propfind(f"{home}moved/b/g", TAG).text(f"{home}moved/b/g", TAG) == "blue"


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_what_cannot_be_copied_or_moved(dav: Client, home: str, method: str) -> None:
    tree(dav, home)
    there = {"Destination": f"{home}x"}
    assert dav(method, f"{home}none", **there).status == 404
    assert dav(method, "/", **there).status == 403
    assert dav(method, f"{home}a").status == 400
    assert dav(method, f"{home}a", Destination=f"{home}a").status == 403
    assert dav(method, f"{home}a", Destination=f"{home}a/b/c").status == 403
    assert dav(method, f"{home}a/b", Destination=f"{home}a").status == 409
    assert dav(method, f"{home}a", Destination=f"{home}none/x").status == 409
    assert dav(method, f"{home}a", Destination="http://elsewhere.example/x").status == 502
    assert dav(method, f"{home}a", Destination="ftp://elsewhere.example/x").status == 502
    assert dav(method, f"{home}a", Destination="/../x").status == 400
    assert dav(method, f"{home}a", Destination="/").status == 403
    assert names(dav, f"{home}a/") == ["b/", "f"]


def test_a_page_for_browsers(dav: Client, home: str) -> None:
    dav("PUT", f"{home}%3Cb%3E%26.txt", b"12345")
    dav("MKCOL", f"{home}sub")
    page = dav("GET", home)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"<b>" not in page.body
    assert b"&lt;b&gt;&amp;.txt" in page.body
    assert f'href="{home}sub/"'.encode() in page.body
    assert b"5 B" in page.body
    assert b"<script" not in page.body
    assert dav("HEAD", home).body == b""


def inode(volume: Volume, path: str) -> Ino:
    return volume.namespace.resolve([part.encode() for part in path.strip("/").split("/")])[-1].ino


def test_links_are_what_they_point_to_and_other_things_are_not_shown(
    volume: Volume, dav: Client, home: str
) -> None:
    tree(dav, home)
    here = inode(volume, home)

    def make(name: bytes, kind: int, target: bytes = b"") -> None:
        volume.submit(Create(here, name, volume.new_ino(), kind | 0o777, 0, 0, 0, target))

    make(b"file", stat.S_IFLNK, b"a/f")
    make(b"folder", stat.S_IFLNK, b"./a/../a/b")
    make(b"outside", stat.S_IFLNK, b"../../../../etc/passwd")
    make(b"absolute", stat.S_IFLNK, b"/etc/passwd")
    make(b"dangling", stat.S_IFLNK, b"nothing")
    make(b"loop", stat.S_IFLNK, b"loop")
    make(b"pipe", stat.S_IFIFO)
    assert names(dav, home) == ["a/", "file", "folder/"]
    assert dav("GET", f"{home}file").body == b"f"
    assert dav("GET", f"{home}folder/g").body == b"g"
    assert names(dav, f"{home}folder/") == ["g"]
    for name in ("outside", "absolute", "dangling", "loop", "pipe"):
        assert dav("GET", f"{home}{name}").status == 404
    assert dav("PUT", f"{home}file", b"through").status == 204
    assert dav("GET", f"{home}a/f").body == b"through"
    assert dav("PUT", f"{home}pipe", b"x").status == 403
    assert dav("DELETE", f"{home}folder").status == 204
    assert dav("GET", f"{home}a/b/g").body == b"g"
    assert dav("MOVE", f"{home}file", Destination=f"{home}renamed").status == 201
    assert dav("GET", f"{home}renamed").body == b"through"
    assert b"outside" not in dav("GET", home).body


def test_putting_keeps_the_mode_of_what_is_there(volume: Volume, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"1")
    ino = inode(volume, f"{home}f")
    volume.submit(SetAttr(ino, mode=0o755))
    dav("PUT", f"{home}f", b"2")
    after = volume.namespace.attr(inode(volume, f"{home}f"))
    assert (after.ino, stat.S_IMODE(after.mode)) == (ino, 0o755)


def test_what_is_not_known(dav: Client, home: str) -> None:
    answer = dav("POST", home, b"x")
    assert answer.status == 405
    assert "PROPFIND" in answer.headers["Allow"]
    assert dav("BREW", home).status == 405


def test_options_tell_the_classes(dav: Client, home: str) -> None:
    for path in (home, f"{home}none", "*"):
        answer = dav("OPTIONS", path)
        assert answer.status == 200
        assert answer.headers["DAV"] == "1, 2"
        assert answer.headers["MS-Author-Via"] == "DAV"
        assert "LOCK" in answer.headers["Allow"]
