"""Signing in with a token, what the cookie allows, and who else cannot use it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme

from console.browser import SESSION, Signed
from harness.api import Api, address_in
from harness.programs import Graviton
from harness.waiting import wait_until

ON = "graviton.auth.enabled = true"
FILE = "/api/v1/files/f"


def test_a_browser_signs_in_and_out(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    assert f"console={one.url}/console/" in one.ready
    nobody = one.api("GET", SESSION).json
    assert (nobody["authentication"], nobody["signed_in"], nobody["volumes"]) == (True, False, [])
    page = one.signed_in(one.token("laptop", "--scope", "write", "--scope", "read"))
    flags = {part.strip().lower() for part in page.set_cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= flags
    assert "secure" not in flags  # there is no TLS
    assert "grv_" not in page.set_cookie
    told = page("GET", SESSION).json
    assert (told["name"], told["admin"]) == ("laptop", False)
    assert told["volumes"] == [{"name": "main", "write": True}]
    assert page("PUT", FILE, b"by a page").status == 201
    assert page("GET", FILE).body == b"by a page"
    page("GET", "/api/v1/admin/work").problem(403, "access-denied")
    assert page("DELETE", SESSION).status == 204
    page("GET", FILE).problem(401, "unauthenticated")


def test_a_session_outlives_the_daemon_and_keeps_no_secret(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    page = one.signed_in(one.token("laptop"))
    assert one.running.stop() == 0
    secret = page.cookie.rpartition(".")[2].encode()
    assert secret not in (one.data / "namespace.db").read_bytes()
    one.start()
    page.api, page.origin = one.api, one.url
    assert page("PUT", FILE, b"still there").status == 201


def test_pages_of_others_change_nothing(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    token = one.token("laptop")
    page = one.signed_in(token)
    assert page("PUT", FILE, b"mine").status == 201
    for headers in (
        {"X_Graviton_Proof": None}, {"X_Graviton_Proof": "0" * 32}, {"Origin": None}, {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"}, {"Origin": "https://evil.example.com"},
        {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
    ):  # fmt: skip
        for method, path in (
            ("PUT", FILE),
            ("DELETE", FILE),
            ("POST", "/api/v1/uploads"),
            ("DELETE", SESSION),
        ):
            page(method, path, None, **headers).problem(403, "access-denied")
    page("GET", FILE, Sec_Fetch_Site="same-site").problem(403, "access-denied")
    assert page("GET", FILE, Sec_Fetch_Site="same-origin").body == b"mine"
    one.api("POST", SESSION, {"token": token}, Origin="https://evil.example.com").problem(
        403, "access-denied"
    )
    one.api("POST", SESSION, {"token": token}).problem(403, "access-denied")
    other = one.signed_in(token)
    page("PUT", FILE, b"x", X_Graviton_Proof=other.told["proof"]).problem(403, "access-denied")


def test_a_revoked_token_ends_its_sessions(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    page = one.signed_in(one.token("lost"))
    assert page("GET", "/api/v1/files").status == 200
    one.graviton.run("token", "revoke", one.data, "lost")
    wait_until(lambda: page("GET", "/api/v1/files").status == 401, "the session to end", 30)


def test_a_session_lasts_as_long_as_is_said(daemon: Callable[..., Any]) -> None:
    one = daemon(f"{ON}\ngraviton.console.session-lifetime = 3s")
    page = one.signed_in(one.token("laptop"))
    assert "Max-Age=2" in page.set_cookie or "Max-Age=3" in page.set_cookie
    assert page("GET", "/api/v1/files").status == 200
    wait_until(lambda: page("GET", "/api/v1/files").status == 401, "the session to end", 30)


def test_a_token_of_one_volume(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    boss = one.signed_in(one.token("boss", "--scope", "admin"))
    assert boss("POST", "/api/v1/admin/volumes", {"name": "photos"}).status == 201
    page = one.signed_in(one.token("guest", "--scope", "read", "--volume", "photos"))
    assert page.told["volumes"] == [{"name": "photos", "write": False}]
    assert page("GET", "/api/v1/files?volume=photos").status == 200
    for path in ("files", "snapshots", "trash", "uploads"):
        page("GET", f"/api/v1/{path}?volume=main").problem(403, "access-denied")
    wanted = {"path": "/f", "snapshot": "s"}
    page("POST", "/api/v1/restores?volume=photos", wanted).problem(403, "access-denied")
    page("PUT", FILE + "?volume=photos", b"x").problem(403, "access-denied")


def test_guessing_is_slowed_down(daemon: Callable[..., Any]) -> None:
    one = daemon(ON)
    token = one.token("laptop")
    wrong = "grv_" + "0" * 12 + "_" + "0" * 43

    def tried(text: str) -> Any:
        return one.api("POST", SESSION, {"token": text}, Origin=one.url)

    assert [tried(wrong).status for _ in range(10)] == [401] * 10
    refused = tried(token)
    refused.problem(429, "throttled")
    assert int(refused.headers["retry-after"]) <= 60


def test_with_tls_the_cookie_is_for_tls_alone(graviton: Graviton, scratch: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    file = scratch / "graviton.conf"
    file.write_text(
        f"""{ON}\ngraviton.server.http.tls {{ enabled = true
            cert-file = "{tmp_path}/cert.pem", key-file = "{tmp_path}/key.pem" }}"""
    )
    running = graviton.start(
        "serve", "--config", file, "--data", "data", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
    )
    url = address_in(running.ready_line())
    token = graviton.run("token", "create", "data", "--name", "laptop").stdout.decode().strip()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = Api(url, context=context)
    page = Signed(client, url, token)
    assert page.cookie.startswith("__Host-graviton_")
    assert "secure" in page.set_cookie.lower()
    assert page("PUT", FILE, b"x").status == 201
    client.close()


def test_without_authentication_nobody_signs_in(daemon: Callable[..., Any]) -> None:
    one = daemon()
    told = one.api("GET", SESSION).json
    assert (told["authentication"], told["signed_in"], told["admin"]) == (False, True, True)
    one.api("POST", SESSION, {"token": "x"}, Origin=one.url).problem(409, "conflict")
    one.api("GET", SESSION, Origin="https://evil.example.com").problem(403, "access-denied")


def test_the_console_can_be_left_out(daemon: Callable[..., Any]) -> None:
    one = daemon(f"{ON}\ngraviton.console.enabled = false")
    assert "console=" not in one.ready
    for path in ("/console/", "/"):
        assert one.client(one.token(f"t{len(path)}"))("GET", path).status == 404
    token = one.token("laptop")
    answer = one.api("POST", SESSION, {"token": token}, Origin=one.url)
    assert answer.status == 404
    assert "set-cookie" not in answer.headers
