"""WebDAV locks are in the namespace: the gateways and the APIs of all daemons keep them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from coherence.conftest import Stores
from coherence.sides import DavSide, HttpSide
from coherence.stores import MAIN
from coherence.test_pairs import at_once


@pytest.fixture
def gateways(all_stores: Stores) -> Iterator[tuple[DavSide, DavSide, HttpSide]]:
    one, other = all_stores.directory.daemons
    made = DavSide(one.address.dav), DavSide(other.address.dav), HttpSide(other.address.http, MAIN)
    yield made
    for side in made:
        side.close()


def test_a_lock_of_one_binds_the_other(gateways: tuple[DavSide, DavSide, HttpSide]) -> None:
    one, other, http = gateways
    for turn in range(5):
        name = f"locked{turn}"
        one.put(name, b"before")
        token = one.client.lock(f"/{name}").lock_token
        assert other.client("PUT", f"/{name}", b"x").status == 423
        assert other.client("DELETE", f"/{name}").status == 423
        assert other.client("MOVE", f"/{name}", Destination=other.client.url("/moved")).status == 423
        assert http.api("PUT", f"/api/v1/files/{name}", b"x").status == 423
        assert other.client.lock(f"/{name}").status == 423
        held = {"If": f"(<{token}>)"}
        assert other.client("PUT", f"/{name}", b"with the token", **held).status == 204
        assert one.get(name) == b"with the token"
        assert other.client("UNLOCK", f"/{name}", Lock_Token=f"<{token}>").status == 204
        one.put(name, b"after")
        assert http.get(name) == b"after"
        assert one.remove(name)


def test_a_tree_that_is_locked_at_one_is_locked_at_the_other(
    gateways: tuple[DavSide, DavSide, HttpSide],
) -> None:
    one, other, http = gateways
    assert one.mkdir("tree")
    assert one.mkdir("tree/d")
    token = one.client.lock("/tree").lock_token
    assert other.client("PUT", "/tree/d/f", b"x").status == 423
    assert other.client("MKCOL", "/tree/e").status == 423
    assert http.api("PUT", "/api/v1/files/tree/d/f", b"x").status == 423
    assert other.get("tree/d/f") is None
    assert one.client("UNLOCK", "/tree", Lock_Token=f"<{token}>").status == 204
    other.put("tree/d/f", b"x")
    assert one.remove("tree")


def test_one_of_two_gets_an_exclusive_lock(gateways: tuple[DavSide, DavSide, HttpSide]) -> None:
    one, other, _ = gateways
    for turn in range(15):
        name = f"raced{turn}"
        one.put(name, b"")
        answers = at_once(*(partial(side.client.lock, f"/{name}") for side in (one, other)))
        assert sorted(answer.status for answer in answers) == [200, 423]
        [token] = [answer.lock_token for answer in answers if answer.status == 200]
        assert one.client("UNLOCK", f"/{name}", Lock_Token=f"<{token}>").status == 204
