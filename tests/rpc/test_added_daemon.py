"""Daemons of one store behind a load balancer: sessions move between them as connections come of age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import EVERYTHING, Change
from gravitonfs.ports.ops import Batch, Create, SetRecord
from gravitonfs.ports.target import Space
from harness.haproxy import HaProxy
from harness.ports import free_ports
from harness.postgres import PostgresServer
from harness.waiting import wait_until
from namespace.postgres_stores import PostgresStores
from rpc.running import Wire
from rpc.served import SETTINGS, NoBlocks, believe

ROOT = Ino(1)
SHORT = replace(SETTINGS, lease=6.0, max_connection_age=0.7, connection_age_grace=0.3)


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres, silence=24.0)
    yield result
    result.close()


def serve(stores: PostgresStores, port: int, stack: ExitStack, settings: GrpcSettings = SHORT) -> GrpcServer:
    store = stores.open()
    backend = Backend(
        sessions=store,
        content=cast(Any, None),
        blocks=cast(Any, NoBlocks()),
        packs=store.packs,
        loose=store.loose,
        format=store.format,
        space=lambda: Space(0, 0),
        secret=store.secret,
        sole=False,
    )
    server = GrpcServer(backend, replace(settings, port=port), vet=believe)
    server.start()
    stack.callback(server.stop, 0)
    return server


class Counter:
    """Each batch expects what the one before has left: one twice, or none, would show."""

    def __init__(self, namespace: RemoteNamespace, key: bytes) -> None:
        self.namespace, self.key = namespace, key
        self.done = 0

    def __call__(self) -> None:
        self.done += 1
        before = b"%d" % (self.done - 1) if self.done > 1 else b""
        op = SetRecord("x", self.key, b"%d" % self.done, before)
        [reply] = self.namespace.apply([Batch(self.done, 1, (op,))], durable=False)
        assert reply.failure is None, (self.done, reply.failure)


def test_an_added_daemon_gets_load_and_nothing_is_lost(stores: PostgresStores, tmp_path: Path) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        one = serve(stores, ports[0], stack)
        balancer = stack.enter_context(HaProxy(tmp_path, [f"127.0.0.1:{port}" for port in ports]))
        connections = [Connection(Endpoint((balancer.address,))) for _ in range(4)]
        for connection in connections:
            stack.callback(connection.close)
        sessions = [RemoteNamespace(connection, timeout=30) for connection in connections]
        counters = [Counter(session, b"%d" % n) for n, session in enumerate(sessions)]
        for counter in counters:
            counter()
        assert len(one.sessions) == 4
        other = serve(stores, ports[1], stack)
        seen: set[int] = set()

        def moved() -> bool:
            for counter in counters:
                counter()
            seen.update(session.session for session in sessions if other.sessions.remote(session.session))
            return len(seen) >= 2

        numbers = [session.session for session in sessions]
        wait_until(moved, "the other daemon to have sessions", 60)
        for counter, session, number in zip(counters, sessions, numbers, strict=True):
            assert session.session == number, "it was ended by the daemon that it had left"
            assert (counter.key, b"%d" % counter.done) in session.records("x")
            assert session.lost.all() == []
            session.detach()


def test_a_session_that_goes_to_and_fro_hears_every_change(stores: PostgresStores, tmp_path: Path) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        servers = [serve(stores, port, stack) for port in ports]
        balancer = stack.enter_context(HaProxy(tmp_path, [server.address for server in servers]))
        through, direct = (
            Connection(Endpoint((balancer.address,))),
            Connection(Endpoint((servers[0].address,))),
        )
        stack.callback(through.close)
        stack.callback(direct.close)
        heard: list[Change] = []
        listening = RemoteNamespace(through, listener=heard.extend, timeout=30)
        other = RemoteNamespace(direct, timeout=30)
        inos = other.grant(1000)
        until = time.monotonic() + 4
        number = 0
        while time.monotonic() < until and number < 900:
            heard.clear()
            number += 1
            name = b"%d" % number
            other.apply(
                [Batch(number, 1, (Create(ROOT, name, Ino(inos[number]), 0o100644, 0, 0),))], durable=False
            )
            wait_until(
                lambda name=name: any(change == EVERYTHING or change.name == name for change in list(heard)),  # type: ignore[misc]
                f"change {number} to be heard",
                10,
            )
            listening.lookup(ROOT, name)
        for session in (listening, other):
            session.detach()


def test_a_session_that_came_back_is_not_ended_where_it_was_meanwhile(stores: PostgresStores) -> None:
    """Its first daemon still knows it, and is not told that it is back: the other waits for it in vain."""
    lasting = replace(SHORT, max_connection_age=600.0)
    with ExitStack() as stack:
        one, other = (serve(stores, 0, stack, lasting) for _ in range(2))
        wire = Wire(one.port)
        stack.callback(wire.close)
        connection = Connection(Endpoint((f"127.0.0.1:{wire.port}",)))
        stack.callback(connection.close)
        counter = Counter(RemoteNamespace(connection, timeout=30), b"k")
        counter()
        number = counter.namespace.session

        def go_to(server: GrpcServer) -> None:
            wire.target = server.port
            wire.cut()
            counter()

        go_to(other)
        assert other.sessions.remote(number) is not None
        go_to(one)
        wait_until(lambda: counter() or other.sessions.remote(number) is None, "the other to give it up", 60)
        for _ in range(20):
            counter()
        assert counter.namespace.session == number
        counter.namespace.detach()
