"""Front ends of one daemon share a session, and have none while nobody asks anything of them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graviton_server.auth.apptokens import AppTokens
from graviton_server.cli.grpc import grpc_server
from graviton_server.cli.http import http_server, webdav_server
from graviton_server.cli.limits import SharedLimits
from graviton_server.config.environment import Surroundings
from graviton_server.config.sections import Config, Grpc, Http, Server, WebDav
from graviton_server.control import requests
from graviton_server.control.calls import LocalCaller
from graviton_server.control.service import Service
from graviton_server.wiring import open_embedded
from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from harness.api import Api, address_in
from harness.dav import Client as Dav
from harness.waiting import wait_until

CONFIG = replace(Config(), server=Server(Http(port=0), Grpc(port=0)), webdav=WebDav(port=0))
IDLE = 0.2
BIG = 24 << 20


class Daemon:
    """As ``graviton serve`` puts it together, with less patience."""

    def __init__(self, data: Path) -> None:
        self.service = Service(open_embedded(data, create=True), "serve", idle=IDLE)
        limits = SharedLimits(CONFIG)
        surroundings = Surroundings()
        self.http = http_server(self.service, CONFIG, surroundings, limits, insecure=False)
        self.dav = webdav_server(self.service, CONFIG, limits, insecure=False)
        self.grpc = grpc_server(self.service, CONFIG, surroundings, limits, insecure=False)
        for server in (self.http, self.dav, self.grpc):
            server.start()

    def sessions(self) -> list[int]:
        return [row.number for row in self.service.engine.namespace_store.sessions() if row.label == "serve"]

    def close(self) -> None:
        for server in (self.http, self.dav, self.grpc):
            server.stop()
        self.service.close()


@pytest.fixture
def front_ends(scratch: Path) -> Iterator[Daemon]:
    made = Daemon(scratch / "data")
    yield made
    made.close()


def test_one_session_for_all_and_none_when_idle(front_ends: Daemon) -> None:
    api, dav = Api(front_ends.http.url), Dav(front_ends.dav.address)
    assert front_ends.sessions() == []
    assert api("GET", "/health").status == 200
    assert front_ends.sessions() == [], "whether it lives is no use of a volume"
    with front_ends.service.pool.use("main"):
        assert api("PUT", "/api/v1/files/a", b"x").status == 201
        assert dav("GET", "/a").body == b"x"
        with Client(f"graviton://{front_ends.grpc.address}") as client:
            client.blobs.put(b"blob")
        assert len(front_ends.sessions()) == 1
    wait_until(lambda: not front_ends.sessions(), "the daemon lets its volume go")
    assert dav("GET", "/a").body == b"x"
    api.close()
    dav.close()


@pytest.mark.parametrize("kind", ["http", "webdav"])
def test_a_slow_download_keeps_its_session(front_ends: Daemon, kind: str) -> None:
    """It takes far longer than the idle time, and others come and go meanwhile."""
    data = os.urandom(BIG)
    api = Api(front_ends.http.url)
    assert api("PUT", "/api/v1/files/big", data).status == 201
    wait_until(lambda: not front_ends.sessions(), "the upload's session ends")
    target = api if kind == "http" else Api(front_ends.dav.url)
    path = "/api/v1/files/big" if kind == "http" else "/big"
    with target.raw() as slow:
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n\r\n".encode())
        got = slow.recv(100)
        (session,) = front_ends.sessions()
        front_ends.service.pool.let_go_of("main")
        with front_ends.service.pool.use("main"):
            pass
        wait_until(lambda: front_ends.sessions() == [session], "only the download's session is left")
        while piece := slow.recv(1 << 20):
            got += piece
    assert got.partition(b"\r\n\r\n")[2] == data
    wait_until(lambda: not front_ends.sessions(), "that one ends, too")
    target.close()
    api.close()


@pytest.mark.parametrize("kind", ["http", "webdav"])
def test_a_slow_upload_keeps_its_session(front_ends: Daemon, kind: str) -> None:
    api = Api(front_ends.http.url)
    target = api if kind == "http" else Api(front_ends.dav.url)
    path = "/api/v1/files/up" if kind == "http" else "/up"
    data = os.urandom(3_000_000)
    with target.raw() as slow:
        head = f"PUT {path} HTTP/1.1\r\nHost: {target.host}\r\nContent-Length: {len(data)}\r\n"
        slow.sendall(f"{head}Connection: close\r\n\r\n".encode() + data[:1_000_000])
        wait_until(lambda: len(front_ends.sessions()) == 1, "the upload has a session")
        front_ends.service.pool.let_go_of("main")
        with front_ends.service.pool.use("main"):
            pass
        wait_until(lambda: len(front_ends.sessions()) == 1, "only the upload's session is left")
        slow.sendall(data[1_000_000:])
        assert b" 201 " in slow.recv(1000)
    assert api("GET", "/api/v1/files/up").body == data
    target.close()
    api.close()


def test_commands_let_go_too(front_ends: Daemon) -> None:
    LocalCaller(front_ends.service).call(requests.MakeDirectory(path=b"/d"))
    wait_until(lambda: not front_ends.sessions(), "the commands' session ends")


def test_the_lease_of_a_mount_comes_back_when_nobody_asks(front_ends: Daemon) -> None:
    """Its owner is alone again as soon as the front ends have let go; tokens do not concern it."""
    recalled = threading.Event()
    connection = Connection(Endpoint((front_ends.grpc.address,)))
    mount = RemoteNamespace(connection, listener=lambda changes: None, recall=recalled.set, timeout=30)

    def trusts() -> bool:
        return mount.trusted_until() > time.monotonic()

    wait_until(trusts, "the mount, alone, to have the lease", 60)
    tokens = AppTokens(front_ends.service.records)
    secret, _ = tokens.create("robot", ["read"], None, None)
    assert tokens.verify(secret).name == "robot"
    assert trusts()
    assert not recalled.is_set()
    api = Api(front_ends.http.url)
    assert api("PUT", "/api/v1/files/f", b"x").status == 201
    assert recalled.is_set()
    wait_until(trusts, "the lease to come back", 60)
    assert front_ends.sessions() == []
    api.close()
    mount.detach()
    connection.close()


def test_a_daemon_has_no_session_before_the_first_request(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.webdav { enabled = true, port = 0 }")
    assert one.api("GET", "/api/v1/admin/sessions").json["sessions"] == []
    dav = Api(address_in(one.ready, "webdav"))
    dav("PUT", "/f", b"x")
    one.api("GET", "/api/v1/files/f")
    assert [row["label"] for row in one.api("GET", "/api/v1/admin/sessions").json["sessions"]] == ["serve"]
    dav.close()
