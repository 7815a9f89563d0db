"""TLS and mutual TLS, with certificates that change while the daemon runs."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from harness.api import Api
from harness.programs import Graviton
from harness.waiting import wait_until


class Files:
    """A certificate, its key and an authority of clients, as an operator keeps them."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "cert.pem"
        self.key = directory / "key.pem"
        self.clients = directory / "clients.pem"

    def issue(self, authority: trustme.CA) -> None:
        issued = authority.issue_cert("localhost", "127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    def config(self, more: str = "") -> str:
        return f"""graviton.server.http.tls {{ enabled = true
            cert-file = "{self.certificate}", key-file = "{self.key}" {more} }}"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_and_certificates_that_change(daemon: Callable[..., Any], files: Files) -> None:
    old, new = trustme.CA(), trustme.CA()
    files.issue(old)
    one = daemon(files.config())
    assert one.url.startswith("https://")

    def answers(authority: trustme.CA) -> bool:
        client = Api(one.url, context=trusting(authority))
        try:
            return client("GET", "/health").status == 200
        except ssl.SSLCertVerificationError:
            return False
        finally:
            client.close()

    assert answers(old)
    assert not answers(new)
    files.issue(new)
    wait_until(lambda: answers(new), "the new certificate", 30)
    assert not answers(old)


def test_a_key_that_does_not_fit_is_not_taken(
    daemon: Callable[..., Any], files: Files, graviton: Any
) -> None:
    graviton.allow_log("those from before are kept")
    authority = trustme.CA()
    files.issue(authority)
    one = daemon(files.config())
    files.key.write_bytes(b"half a key")

    def told() -> bool:
        client = Api(one.url, context=trusting(authority))
        assert client("GET", "/health").status == 200
        client.close()
        return "those from before are kept" in one.running.log_text()

    wait_until(told, "the log to tell", 30)
    files.issue(authority)
    assert told()


def test_mutual_tls(daemon: Callable[..., Any], files: Files) -> None:
    authority, clients, others = trustme.CA(), trustme.CA(), trustme.CA()
    files.issue(authority)
    clients.cert_pem.write_to_path(str(files.clients))
    one = daemon(files.config(f', trust-cert-collection-file = "{files.clients}"'))

    def status(issuer: trustme.CA | None) -> int | None:
        context = trusting(authority)
        if issuer is not None:
            issuer.issue_cert("client@example.com").configure_cert(context)
        client = Api(one.url, context=context)
        try:
            return client("GET", "/health").status
        except (ssl.SSLError, ConnectionError):
            return None
        finally:
            client.close()

    assert status(clients) == 200
    assert status(None) is None
    assert status(others) is None
    others.cert_pem.write_to_path(str(files.clients))
    wait_until(lambda: status(others) == 200, "the other authority to be trusted", 30)
    assert status(clients) is None


def test_a_client_that_never_gets_to_tls_holds_nobody_up(daemon: Callable[..., Any], files: Files) -> None:
    authority = trustme.CA()
    files.issue(authority)
    one = daemon(files.config())
    host, port = one.api.host, one.api.port
    silent = [socket.create_connection((host, port)) for _ in range(20)]
    with socket.create_connection((host, port), timeout=30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.recv(1000)
    started = time.monotonic()
    client = Api(one.url, context=trusting(authority))
    assert client("GET", "/health").status == 200
    assert time.monotonic() - started < 10
    client.close()
    for sock in silent:
        sock.close()


def test_files_that_cannot_be_used(graviton: Graviton, scratch: Path) -> None:
    file = scratch / "tls.conf"
    file.write_text(Files(scratch).config())
    refused = graviton.run(
        "serve", "--config", file, "--data", scratch / "d", "--http", "127.0.0.1:0", status=1
    )
    assert b"cert.pem" in refused.stderr


def test_mutual_tls_is_enough_to_listen_for_other_machines(graviton: Graviton, scratch: Path) -> None:
    files = Files(scratch)
    files.issue(trustme.CA())
    trustme.CA().cert_pem.write_to_path(str(files.clients))
    file = scratch / "tls.conf"
    command = (
        "serve",
        "--config",
        file,
        "--data",
        scratch / "d",
        "--http",
        "0.0.0.0:0",
        "--grpc",
        "127.0.0.1:0",
    )
    file.write_text(files.config())
    assert b"auth.enabled" in graviton.run(*command, status=1).stderr
    file.write_text(files.config(f', trust-cert-collection-file = "{files.clients}"'))
    running = graviton.start(*command)
    running.ready_line()
    assert running.stop() == 0
