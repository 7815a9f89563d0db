"""Tokens of an issuer, tokens of our own, and where a daemon may listen."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from harness.api import Api, address_in, blob_id
from harness.dav import basic
from harness.issuer import AUDIENCE, ISSUER, Issuer, signed
from harness.programs import Graviton
from harness.waiting import wait_until

BLOBS = "/api/v1/blobs"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as found:
        found.rotate("first")
        yield found


def config(issuer: Issuer, more: str = "") -> str:
    return f"""graviton {{ auth {{ enabled = true
      jwt {{ issuer = "{ISSUER}", audience = "{AUDIENCE}", jwks-url = "{issuer.url}" }} }}
      {more} }}"""


def test_tokens_of_the_issuer(daemon: Callable[..., Any], issuer: Issuer) -> None:
    one = daemon(config(issuer))
    nobody = one.api("GET", BLOBS)
    nobody.problem(401, "unauthenticated")
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert one.client(issuer.token("first"))("POST", BLOBS, b"x").status == 201
    for path in ("/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"):
        assert one.api("GET", path).status == 200, path


def test_tokens_that_are_not_accepted(daemon: Callable[..., Any], issuer: Issuer) -> None:
    one = daemon(config(issuer))
    now = int(time.time())
    key, _ = issuer.key("first")
    with Issuer() as other:
        other.rotate("first")
        foreign = other.token("first")
    public = json.dumps(issuer.jwks()["keys"][0])
    bad = {
        "expired": issuer.token("first", exp=now - 60),
        "not yet": issuer.token("first", nbf=now + 600),
        "another issuer": issuer.token("first", iss="https://evil.example.com"),
        "another audience": issuer.token("first", aud="something-else"),
        "no expiry": issuer.token("first", exp=None),
        "no audience": issuer.token("first", aud=None),
        "foreign key": foreign,
        "unknown key": signed(key, "RS256", "unknown", "graviton:read"),
        "none": jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": now + 60}, None, "none"),
        "confused": jwt.encode(
            {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 60}, public * 2, "HS256", headers={"kid": "first"}
        ),
        "another algorithm": signed(key, "RS512", "first", "graviton:read"),
        "cut": issuer.token("first")[:-4],
        "nonsense": "abc",
        "app": "grv_" + "0" * 12 + "_" + "0" * 43,
    }
    for text in bad.values():
        one.client(text)("GET", BLOBS).problem(401, "unauthenticated")
    basic = "Basic " + base64.b64encode(b"user:password").decode()
    one.api("GET", BLOBS, Authorization=basic).problem(401, "unauthenticated")
    log = one.running.log_text()
    assert not [what for what, text in bad.items() if text in log and len(text) > 10]


def test_scopes(daemon: Callable[..., Any], issuer: Issuer) -> None:
    one = daemon(config(issuer))
    reader = one.client(issuer.token("first", "graviton:read other:thing"))
    writer = one.client(issuer.token("first", "graviton:write"))
    admin = one.client(issuer.token("first", "graviton:admin"))
    elsewhere = one.client(issuer.token("first", "graviton:read:photos graviton:write:photos"))
    here = one.client(issuer.token("first", "graviton:read:main"))
    bound = one.client(issuer.token("first", "graviton:admin", graviton_volumes=["photos"]))
    nothing = one.client(issuer.token("first", ""))
    assert writer("POST", BLOBS, b"data").status == 201
    where = f"{BLOBS}/{blob_id(b'data')}"
    assert (reader("GET", where).status, here("GET", where).status, admin("GET", where).status) == (200,) * 3
    reader("POST", BLOBS, b"x").problem(403, "access-denied")
    reader("DELETE", where).problem(403, "access-denied")
    writer("GET", BLOBS).problem(403, "access-denied")
    writer("GET", where).problem(404, "not-found")
    elsewhere("POST", BLOBS, b"x").problem(403, "access-denied")
    nothing("GET", BLOBS).problem(403, "access-denied")
    for client in (reader, writer, bound):
        client("GET", "/api/v1/admin/status").problem(403, "access-denied")
    assert admin("GET", "/api/v1/admin/status").status == 200
    assert admin("DELETE", where).status == 204


def test_keys_rotate(daemon: Callable[..., Any], issuer: Issuer) -> None:
    one = daemon(config(issuer))
    old = one.client(issuer.token("first"))
    assert old("GET", BLOBS).status == 200
    assert old("GET", BLOBS).status == 200
    assert issuer.asked == 1
    issuer.rotate("first", "second")
    issuer.rotate("second")
    fresh = one.client(issuer.token("second"))
    wait_until(lambda: fresh("GET", BLOBS).status == 200, "the new key to be known", 20)
    old("GET", BLOBS).problem(401, "unauthenticated")
    asked = issuer.asked
    key, _ = issuer.key("second")
    for number in range(20):
        one.client(signed(key, "RS256", f"unknown-{number}", ""))("GET", BLOBS).problem(
            401, "unauthenticated"
        )
    assert issuer.asked <= asked + 1


def test_elliptic_curves(daemon: Callable[..., Any], issuer: Issuer) -> None:
    issuer.rotate("curve", algorithm="ES256")
    one = daemon(config(issuer))
    assert one.client(issuer.token("curve"))("GET", BLOBS).status == 200


def test_an_issuer_that_is_away(daemon: Callable[..., Any], graviton: Graviton) -> None:
    graviton.allow_log("cannot be read|cannot be had")
    with Issuer() as gone:
        gone.rotate("first")
        expected = gone.token("first")
        text = config(gone)
    one = daemon(text)
    answer = one.client(expected)("GET", BLOBS)
    answer.problem(503, "unavailable")
    assert "retry-after" in answer.headers


def token(graviton: Graviton, data: Path, *options: str) -> str:
    return graviton.run("token", "create", data, *options).stdout.decode().strip()


def test_app_tokens(daemon: Callable[..., Any], graviton: Graviton) -> None:
    one = daemon("graviton { auth.enabled = true, webdav { enabled = true, port = 0 } }")
    made = json.loads(graviton.run("token", "create", one.data, "--name", "robot", "--json").stdout)
    client = one.client(made["token"])
    assert client("POST", BLOBS, b"by a robot").status == 201
    client("GET", "/api/v1/admin/status").problem(403, "access-denied")
    boss = (
        graviton.run("token", "create", one.data, "--name", "boss", "--scope", "admin")
        .stdout.decode()
        .strip()
    )
    assert one.client(boss)("GET", "/api/v1/admin/status").status == 200
    reader = (
        graviton.run("token", "create", one.data, "--name", "reader", "--scope", "read")
        .stdout.decode()
        .strip()
    )

    dav = Api(address_in(one.ready, "webdav"))
    assert dav("GET", "/").status == 401
    assert dav("PUT", "/f", b"x", Authorization=basic("anybody", made["token"])).status == 201
    assert dav("GET", "/f", Authorization=basic("", reader)).status == 200
    assert dav("PUT", "/f", b"y", Authorization=basic("anybody", reader)).status == 403
    assert dav("GET", "/f", Authorization=f"Bearer {reader}").status == 200
    assert dav("GET", "/f", Authorization=basic("anybody", "wrong")).status == 401
    dav.close()

    listed = json.loads(graviton.run("token", "list", one.data, "--json").stdout)
    assert [found["name"] for found in listed] == ["robot", "boss", "reader"]
    assert made["token"] not in graviton.run("token", "list", one.data).stdout.decode()
    graviton.run("token", "create", one.data, "--name", "robot", status=1)
    graviton.run("token", "revoke", one.data, "robot")
    wait_until(lambda: client("GET", BLOBS).status == 401, "the token to be refused", 30)
    graviton.run("token", "revoke", one.data, "robot", status=1)
    one.restart()
    assert one.client(boss)("GET", "/api/v1/admin/status").status == 200
    assert one.client(made["token"])("GET", BLOBS).status == 401
    secret = boss.rpartition("_")[2].encode()
    for name in ("namespace.db", "namespace.db-wal"):
        path = one.data / name
        assert not path.exists() or secret not in path.read_bytes()


def test_a_token_that_expires(daemon: Callable[..., Any], graviton: Graviton) -> None:
    one = daemon("graviton.auth.enabled = true")
    token = (
        graviton.run("token", "create", one.data, "--name", "short", "--expires", "3s")
        .stdout.decode()
        .strip()
    )
    client = one.client(token)
    assert client("GET", BLOBS).status == 200
    wait_until(lambda: client("GET", BLOBS).status == 401, "the token to expire", 30)


@pytest.mark.parametrize("front_end", ["http", "webdav"])
def test_open_to_others_only_when_that_is_meant(graviton: Graviton, scratch: Path, front_end: str) -> None:
    data, file = scratch / "data", scratch / "open.conf"
    http = ("--http", "0.0.0.0:0") if front_end == "http" else ("--http", "127.0.0.1:0")
    text = "" if front_end == "http" else "graviton.webdav { enabled = true, host = 0.0.0.0, port = 0 }\n"
    command = ("serve", "--config", file, "--data", data, *http, "--grpc", "127.0.0.1:0")
    file.write_text(text)
    refused = graviton.run(*command, status=1)
    assert b"graviton.auth.enabled" in refused.stderr
    file.write_text(text + "graviton.auth.enabled = false\n")
    graviton.allow_log("lets everybody in")
    for extra in ((), ("--insecure",)):
        if extra:
            file.write_text(text)
        running = graviton.start(*command, *extra)
        address = address_in(running.ready_line(), front_end)
        client = Api(address)
        assert client("GET", "/").status in (200, 404)
        client.close()
        assert "authentication is off" in running.log_text()
        assert running.stop() == 0


def test_production_refuses_insecure(graviton: Graviton, scratch: Path) -> None:
    refused = graviton.run(
        "serve",
        "--data",
        scratch / "data",
        "--http",
        "0.0.0.0:0",
        "--insecure",
        status=2,
        GRAVITON_ENV="production",
    )
    assert b"--insecure is refused" in refused.stderr


def test_pages_of_other_sites_do_nothing(daemon: Callable[..., Any]) -> None:
    one = daemon()
    one.api("POST", BLOBS, b"x", Origin="https://evil.example.com").problem(403, "access-denied")
    one.api("GET", BLOBS, Host="evil.example.com").problem(403, "access-denied")
    assert one.api("POST", BLOBS, b"x", Origin=one.url).status == 201
    assert os.fspath(one.data)
