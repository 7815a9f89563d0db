"""The addresses of the gRPC port: all of them, or the server says which one it cannot have."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from graviton_server.grpc_api import listening
from graviton_server.grpc_api.server import GrpcServer, backend_of
from graviton_server.wiring import Engine
from gravitonfs.errors import Busy, Invalid
from harness.ports import free_port
from harness.programs import Graviton
from rpc.serving import SETTINGS, serving

BOTH = {"127.0.0.1": "127.0.0.1:{}", "::1": "[::1]:{}"}


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_both = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.fixture(params=BOTH)
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """A port that is in use at one address of localhost, and how that is written."""
    port, address = free_port(), request.param
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family):
        yield port, BOTH[address].format(port)


@needs_both
def test_a_port_that_is_in_use_at_one_address_of_a_name(engine: Engine, taken: tuple[int, str]) -> None:
    port, address = taken
    with pytest.raises(Busy) as told:
        GrpcServer(backend_of(engine), replace(SETTINGS, host="localhost", port=port))
    assert f"{address} cannot be listened on: Address already in use" in str(told.value)


@needs_both
def test_a_daemon_does_not_start(graviton: Graviton, taken: tuple[int, str]) -> None:
    port, address = taken
    command = ("serve", "--data", "data", "--http", "127.0.0.1:0", "--grpc", f"localhost:{port}")
    assert address in graviton.run(*command, status=1).stderr.decode()


@needs_both
def test_a_port_of_its_own_choice_is_the_same_at_each_address(engine: Engine) -> None:
    with serving(engine, replace(SETTINGS, host="localhost")) as server:
        for address in BOTH:
            socket.create_connection((address, server.port), timeout=10).close()


def test_an_address_that_the_machine_does_not_have(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ::1 is, where there is no IPv6."""
    monkeypatch.setattr(listening, "_LOOPBACK", ("127.0.0.1", "192.0.2.1"))
    with serving(engine, replace(SETTINGS, host="localhost")) as server:
        socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
    with pytest.raises(Invalid, match=r"192\.0\.2\.1 is no address of this machine"):
        GrpcServer(backend_of(engine), replace(SETTINGS, host="192.0.2.1"))
    with pytest.raises(Invalid, match="no known name"):
        GrpcServer(backend_of(engine), replace(SETTINGS, host="no-such-host.invalid"))
