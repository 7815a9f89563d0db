"""Users files, passwords, and who is let in."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import bcrypt
import pytest

from graviton_webdav.app import WebDavServer
from graviton_webdav.passwords import (
    hash_password,
    parse_users,
    read_users,
    remove_user,
    set_password,
    verify_password,
)
from gravitonfs.content.volume import Volume
from gravitonfs.errors import Invalid, NotFound
from harness.dav import Client, raw


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    set_password(path, "ann", "pässword: with a colon")
    return path


def test_hashes() -> None:
    stored = hash_password("secret")
    assert stored.startswith("$argon2id$")
    assert verify_password(stored, "secret")
    assert not verify_password(stored, "Secret")
    old = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    assert verify_password(old, "secret")
    assert verify_password(old.replace("$2b$", "$2y$"), "secret")
    assert not verify_password(old, "other")
    assert not verify_password(old, "x" * 100)
    assert not verify_password("$argon2id$broken", "secret")
    assert not verify_password("$2b$broken", "secret")


def test_a_users_file_is_edited_in_place(users: Path) -> None:
    users.write_text("# our people\n" + users.read_text())
    assert set_password(users, "bob", "b1")
    assert not set_password(users, "ann", "a2")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    found = read_users(users)
    assert sorted(found) == ["ann", "bob"]
    assert verify_password(found["ann"], "a2")
    assert users.read_text().startswith("# our people\n")
    remove_user(users, "bob")
    assert sorted(read_users(users)) == ["ann"]
    with pytest.raises(NotFound):
        remove_user(users, "bob")
    assert os.listdir(users.parent) == ["users"]


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "x" * 256])
def test_a_name_that_cannot_be(users: Path, name: str) -> None:
    with pytest.raises(Invalid):
        set_password(users, name, "secret")


@pytest.mark.parametrize("text", ["ann", "ann:plain", "ann:$1$md5", "a:$2b$x\na:$2b$x", ":$2b$x"])
def test_a_broken_users_file_is_told_with_its_line(text: str) -> None:
    with pytest.raises(Invalid, match=r"users, line \d"):
        parse_users(text, "users")


def test_only_those_in_the_file_come_in(volume: Volume, users: Path) -> None:
    with WebDavServer(volume, port=0, users_file=users, realm='My "files"') as server:
        nobody = Client(server.address)
        answer = nobody("PROPFIND", "/", Depth="0")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="My \'files\'", charset="UTF-8"'
        assert nobody("OPTIONS", "/").status == 401
        nobody.close()
        for user, password in (("ann", "wrong"), ("eve", "pässword: with a colon"), ("", "")):
            wrong = Client(server.address, user, password)
            assert wrong("GET", "/").status == 401
            wrong.close()
        right = Client(server.address, "ann", "pässword: with a colon")
        assert right("GET", "/").status == 200
        right.close()


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic YW5u", "Bearer x", "Basic " + "QQ" * 5000, "Basic /w=="]
)
def test_a_broken_authorization_is_unauthorized(volume: Volume, users: Path, header: str) -> None:
    with WebDavServer(volume, port=0, users_file=users) as server:
        request = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\nConnection: close\r\n\r\n"
        assert raw(server.address, request.encode()).startswith(b"HTTP/1.1 401 ")


def test_a_verified_password_is_remembered_until_the_file_changes(volume: Volume, users: Path) -> None:
    with WebDavServer(volume, port=0, users_file=users) as server:
        ann = Client(server.address, "ann", "pässword: with a colon")
        assert ann("GET", "/").status == 200
        start = time.perf_counter()
        for _ in range(50):
            assert ann("OPTIONS", "/").status == 200
        assert time.perf_counter() - start < 50 * 0.04, "each request has checked the hash again"
        set_password(users, "ann", "new")
        assert ann("OPTIONS", "/").status == 401
        again = Client(server.address, "ann", "new")
        assert again("OPTIONS", "/").status == 200
        remove_user(users, "ann")
        assert again("OPTIONS", "/").status == 401
        ann.close()
        again.close()


def test_a_users_file_that_breaks_lets_nobody_in_until_it_is_mended(volume: Volume, users: Path) -> None:
    good = users.read_text()
    with WebDavServer(volume, port=0, users_file=users) as server:
        ann = Client(server.address, "ann", "pässword: with a colon")
        assert ann("OPTIONS", "/").status == 200
        users.write_text("rubbish")
        assert ann("OPTIONS", "/").status == 401
        users.write_text(good)
        assert ann("OPTIONS", "/").status == 200
        ann.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_other_machines_need_a_users_file(volume: Volume, host: str) -> None:
    with pytest.raises(Invalid, match="graviton passwd"):
        WebDavServer(volume, host=host, port=0)


def test_with_users_every_address_may_be_served(volume: Volume, users: Path) -> None:
    with WebDavServer(volume, host="0.0.0.0", port=0, users_file=users) as server:
        client = Client(("127.0.0.1", server.address[1]), "ann", "pässword: with a colon")
        assert client("OPTIONS", "/").status == 200
        client.close()


def test_a_missing_or_empty_users_file_is_told(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="graviton passwd"):
        WebDavServer(volume, port=0, users_file=tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(Invalid, match="no users"):
        WebDavServer(volume, port=0, users_file=tmp_path / "empty")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8081", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8081", 200),
        ("files.localhost", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
def test_without_users_only_loopback_names_are_answered(server: WebDavServer, host: str, status: int) -> None:
    answer = raw(server.address, f"OPTIONS / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
