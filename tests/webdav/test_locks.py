"""LOCK, UNLOCK, the If header, and locks against every method that writes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator

import pytest

from graviton_server.wiring import open_embedded
from graviton_webdav.app import WebDavServer
from graviton_webdav.conditions import Condition, ConditionList, parse_if
from graviton_webdav.faults import Refused
from graviton_webdav.passwords import set_password
from gravitonfs.content.volume import Volume
from harness.dav import DAV, Client
from harness.places import make_scratch
from harness.waiting import wait_until


def test_a_locked_file_is_changed_with_the_token_alone(dav: Client, home: str) -> None:
    path = f"{home}f"
    dav("PUT", path, b"1")
    lock = dav.lock(path)
    assert lock.status == 200
    token = {"If": f"(<{lock.lock_token}>)"}
    for method, headers in (
        ("PUT", {}),
        ("DELETE", {}),
        ("PROPPATCH", {}),
        ("MOVE", {"Destination": f"{home}g"}),
    ):
        body = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x/></D:prop></D:set></D:propertyupdate>'
        refused = dav(method, path, body if method == "PROPPATCH" else None, **headers)
        assert refused.status == 423, method
        assert refused.xml.findtext(f"{DAV}lock-token-submitted/{DAV}href") == path
    assert dav("GET", path).body == b"1"
    assert dav("COPY", path, Destination=f"{home}copy").status == 201
    assert dav("PUT", path, b"2", **token).status == 204
    assert dav("UNLOCK", path, Lock_Token=f"<{lock.lock_token}>").status == 204
    assert dav("PUT", path, b"3").status == 204


def test_locks_are_discovered(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"1")
    lock = dav.lock(f"{home}f", Timeout="Second-100")
    for answer, where in (
        (dav.propfind(f"{home}f", f"{DAV}lockdiscovery"), f"{home}f"),
        (dav.propfind(home, f"{DAV}lockdiscovery", depth="1"), f"{home}f"),
    ):
        found = answer.found(where, f"{DAV}lockdiscovery")
        assert found is not None
        active = found.find(f"{DAV}activelock")
        assert active is not None
        assert active.findtext(f"{DAV}locktoken/{DAV}href") == lock.lock_token
        assert active.findtext(f"{DAV}lockroot/{DAV}href") == f"{home}f"
        assert active.findtext(f"{DAV}owner/{DAV}href") == "mailto:tests"
        assert 90 <= int((active.findtext(f"{DAV}timeout") or "").removeprefix("Second-")) <= 100
    assert dav.propfind(home, f"{DAV}lockdiscovery").found(home, f"{DAV}lockdiscovery/*") is None


def test_an_infinite_lock_covers_the_tree(dav: Client, home: str) -> None:
    dav("MKCOL", f"{home}c")
    dav("PUT", f"{home}c/f", b"1")
    lock = dav.lock(f"{home}c/")
    token = {"If": f"<{dav.url(f'{home}c/')}> (<{lock.lock_token}>)"}
    assert dav("PUT", f"{home}c/f", b"2").status == 423
    assert dav("PUT", f"{home}c/new", b"2").status == 423
    assert dav("MKCOL", f"{home}c/d").status == 423
    assert dav("MOVE", f"{home}c", Destination=f"{home}d").status == 423
    assert dav("COPY", f"{home}c/f", Destination=f"{home}c/g").status == 423
    assert dav.lock(f"{home}c/f").status == 423
    assert dav("PUT", f"{home}c/new", b"2", **token).status == 201
    assert dav("DELETE", f"{home}c", **token).status == 204
    assert dav("MKCOL", f"{home}c").status == 201, "the lock went with the tree"


def test_a_lock_of_a_collection_alone_guards_its_names(dav: Client, home: str) -> None:
    dav("MKCOL", f"{home}c")
    dav("PUT", f"{home}c/f", b"1")
    lock = dav.lock(f"{home}c", depth="0")
    assert dav("PUT", f"{home}c/f", b"2").status == 204
    assert dav("PUT", f"{home}c/new", b"").status == 423
    assert dav("DELETE", f"{home}c/f").status == 423
    dav("UNLOCK", f"{home}c", Lock_Token=f"<{lock.lock_token}>")
    assert dav("DELETE", f"{home}c/f").status == 204


def test_a_lock_deep_in_a_tree_holds_the_tree(dav: Client, home: str) -> None:
    dav("MKCOL", f"{home}c")
    dav("PUT", f"{home}c/f", b"1")
    lock = dav.lock(f"{home}c/f")
    assert dav("DELETE", f"{home}c").status == 423
    assert dav("MOVE", f"{home}c", Destination=f"{home}d").status == 423
    conflict = dav.lock(f"{home}c")
    assert conflict.status == 423
    assert conflict.xml.findtext(f"{DAV}no-conflicting-lock/{DAV}href") == f"{home}c/f"
    token = {"If": f"<{home}c/f> (<{lock.lock_token}>)"}
    assert dav("MOVE", f"{home}c", Destination=f"{home}d", **token).status == 201
    assert dav("PUT", f"{home}d/f", b"2").status == 204, "a lock does not move"


def test_shared_locks(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"1")
    one, two = (dav.lock(f"{home}f", scope="shared") for _ in range(2))
    assert (one.status, two.status) == (200, 200)
    assert one.lock_token != two.lock_token
    assert dav.lock(f"{home}f").status == 423
    assert dav("PUT", f"{home}f", b"2").status == 423
    assert dav("PUT", f"{home}f", b"2", If=f"(<{one.lock_token}>)").status == 204
    dav("UNLOCK", f"{home}f", Lock_Token=f"<{one.lock_token}>")
    assert dav("PUT", f"{home}f", b"3").status == 423
    dav("UNLOCK", f"{home}f", Lock_Token=f"<{two.lock_token}>")
    assert dav("PUT", f"{home}f", b"3").status == 204


def test_a_lock_of_nothing_makes_an_empty_file(dav: Client, home: str) -> None:
    lock = dav.lock(f"{home}new")
    assert lock.status == 201
    assert dav("GET", f"{home}new").body == b""
    assert dav("PUT", f"{home}new", b"x").status == 423
    assert dav("PUT", f"{home}new", b"x", If=f"(<{lock.lock_token}>)").status == 204
    assert dav.lock(f"{home}none/f").status == 409


def test_refresh(dav: Client, home: str) -> None:
    dav("MKCOL", f"{home}c")
    dav("PUT", f"{home}c/f", b"")
    lock = dav.lock(f"{home}c", Timeout="Second-10")
    token = {"If": f"(<{lock.lock_token}>)"}
    for path in (f"{home}c", f"{home}c/f"):
        again = dav("LOCK", path, Timeout="Infinite, Second-4100000000", **token)
        assert again.status == 200
        left = again.xml.findtext(f".//{DAV}timeout") or ""
        assert int(left.removeprefix("Second-")) > 10_000
    assert dav("LOCK", f"{home}c").status == 400
    assert dav("LOCK", home, **token).status == 412


def test_unlock_wants_the_right_token(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"")
    lock = dav.lock(f"{home}f")
    assert dav("UNLOCK", f"{home}f").status == 400
    wrong = dav("UNLOCK", f"{home}f", Lock_Token="<graviton:none>")
    assert wrong.status == 409
    assert wrong.xml.find(f"{DAV}lock-token-matches-request-uri") is not None
    assert dav("UNLOCK", f"{home}f", Lock_Token=f"<{lock.lock_token}>").status == 204


def test_locks_run_out(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"1")
    dav.lock(f"{home}f", Timeout="Second-1")
    assert dav("PUT", f"{home}f", b"2").status == 423
    wait_until(lambda: dav("PUT", f"{home}f", b"2").status == 204, "the lock has run out")
    assert dav.lock(f"{home}f").status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<x/>", 400),
        (b'<lockinfo xmlns="DAV:"/>', 400),
        (b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope></lockinfo>', 422),
        (b"<lockinfo", 400),
    ],
)
def test_a_malformed_lock_is_refused(dav: Client, home: str, body: bytes, status: int) -> None:
    dav("PUT", f"{home}f", b"")
    assert dav("LOCK", f"{home}f", body).status == status
    assert dav.lock(f"{home}f", depth="1").status == 400


def test_if_with_entity_tags(dav: Client, home: str) -> None:
    path = f"{home}f"
    etag = dav("PUT", path, b"1").etag
    assert dav("PUT", path, b"1", If=f"([{etag}])").status == 204
    assert dav("PUT", path, b"1", If='(["other"])').status == 412
    assert dav("PUT", path, b"1", If=f'(["other"]) ([{etag}])').status == 204
    assert dav("PUT", path, b"1", If='(Not ["other"])').status == 204
    assert dav("PUT", path, b"1", If="(<DAV:no-lock>)").status == 412
    assert dav("PUT", path, b"1", If="(Not <DAV:no-lock>)").status == 204
    assert dav("PUT", f"{home}g", b"1", If=f"<{path}> ([{etag}])").status == 201
    assert dav("PUT", path, b"1", If=f"<http://elsewhere.example{path}> ([{etag}])").status == 412
    assert dav("PUT", path, b"1", If="nonsense").status == 400


def test_the_if_header_is_parsed() -> None:
    token = Condition(False, "urn:a", None)
    assert parse_if("(<urn:a>)") == [ConditionList(None, (token,))]
    assert parse_if('(<urn:a> ["e t"])(Not <urn:b>)') == [
        ConditionList(None, (token, Condition(False, None, '"e t"'))),
        ConditionList(None, (Condition(True, "urn:b", None),)),
    ]
    assert parse_if('</x> (<urn:a>) ([W/"w"]) </y> (Not ["z"])') == [
        ConditionList("/x", (token,)),
        ConditionList("/x", (Condition(False, None, 'W/"w"'),)),
        ConditionList("/y", (Condition(True, None, '"z"'),)),
    ]
    for bad in ("", "()", "(", "<urn:a>", "(<urn:a>", "(Not)", "([unquoted])", "x", "(<urn:a>))"):
        with pytest.raises(Refused):
            parse_if(bad)


def test_a_lock_waits_for_a_put_that_is_being_published(dav: Client, server: WebDavServer, home: str) -> None:
    """A lock made while a body is on its way wins: the PUT without its token is refused at the end."""
    started = threading.Event()
    locked = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"first"
        started.set()
        assert locked.wait(30)
        yield b"second"

    dav("PUT", f"{home}f", b"old")
    other = Client(server.address)
    statuses: list[int] = []
    writer = threading.Thread(target=lambda: statuses.append(other("PUT", f"{home}f", body()).status))
    writer.start()
    assert started.wait(30)
    assert dav.lock(f"{home}f").status == 200
    locked.set()
    writer.join(30)
    other.close()
    assert statuses == [423]
    assert dav("GET", f"{home}f").body == b"old"


def test_one_of_many_gets_an_exclusive_lock(server: WebDavServer, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"")
    statuses: list[int] = []

    def compete() -> None:
        client = Client(server.address)
        statuses.append(client.lock(f"{home}f").status)
        client.close()

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200, *[423] * 7]


def test_gateways_share_locks(volume: Volume, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"")
    lock = dav.lock(f"{home}f")
    with WebDavServer(volume, port=0) as second:
        other = Client(second.address)
        assert other("PUT", f"{home}f", b"x").status == 423
        assert other("UNLOCK", f"{home}f", Lock_Token=f"<{lock.lock_token}>").status == 204
        assert dav("PUT", f"{home}f", b"x").status == 204
        other.lock(f"{home}f")
        other.close()
    assert dav("PUT", f"{home}f", b"y").status == 423


def test_locks_outlive_a_restart() -> None:
    place = make_scratch()
    try:
        with (
            open_embedded(place / "v", create=True) as engine,
            WebDavServer(engine.volume("one"), port=0) as server,
        ):
            client = Client(server.address)
            client("PUT", "/f", b"1")
            token = client.lock("/f").lock_token
            client.close()
        with open_embedded(place / "v") as engine, WebDavServer(engine.volume("two"), port=0) as server:
            client = Client(server.address)
            assert client("PUT", "/f", b"2").status == 423
            assert client("PUT", "/f", b"2", If=f"(<{token}>)").status == 204
            client.close()
    finally:
        shutil.rmtree(place)


def test_a_lock_belongs_to_its_user(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> None:
    users = tmp_path_factory.mktemp("users") / "users"
    for name in ("ann", "bob"):
        set_password(users, name, "secret")
    with WebDavServer(volume, port=0, users_file=users) as server:
        ann, bob = (Client(server.address, name, "secret") for name in ("ann", "bob"))
        ann("PUT", "/theirs", b"")
        token = ann.lock("/theirs").lock_token
        assert bob("PUT", "/theirs", b"x", If=f"(<{token}>)").status == 423
        assert bob("UNLOCK", "/theirs", Lock_Token=f"<{token}>").status == 403
        assert ann("PUT", "/theirs", b"x", If=f"(<{token}>)").status == 204
        ann.close()
        bob.close()
