"""Servers over an engine in the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graviton_server.grpc_api.principals import Authenticate, anyone
from graviton_server.grpc_api.server import GrpcServer, backend_of
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.limits import ByteRate, UploadSlots
from graviton_server.wiring import Engine
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.core.ids import Ino

MIB = 1 << 20
SETTINGS = GrpcSettings(port=0, stop_grace=1.0)
ROOT = Ino(1)


@contextmanager
def serving(
    engine: Engine,
    settings: GrpcSettings = SETTINGS,
    authenticate: Authenticate = anyone,
    rate: ByteRate | None = None,
    slots: UploadSlots | None = None,
) -> Iterator[GrpcServer]:
    server = GrpcServer(backend_of(engine), settings, authenticate, rate_in=rate, rate_out=rate, slots=slots)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def connected(server: GrpcServer) -> Iterator[Connection]:
    connection = Connection(Endpoint((server.address,)))
    try:
        yield connection
    finally:
        connection.close()
