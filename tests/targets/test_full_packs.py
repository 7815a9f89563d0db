"""What is stored in a pack that is not full yet waits for it, and no longer than that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from graviton_server.grpc_api.backend import backend_of
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.wiring import TargetEngine
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.volumes import open_volume
from gravitonfs.content.volume import Volume
from gravitonfs.content.writer import FileWriter
from gravitonfs.ports.ops import Create
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.target import Target
from harness.buckets import settings
from harness.contents import noise, write
from harness.engines import open_on_bucket
from harness.s3server import S3Server
from harness.waiting import wait_until
from targets.test_engine_on_s3 import MIB


class Gate:
    """A target that stores packs only once it is opened."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.open = threading.Event()

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        assert not key.startswith("packs/") or self.open.wait(60)
        self._target.put(key, body, length)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


@contextmanager
def beginning(volume: Volume, size: int) -> Iterator[FileWriter]:
    """A file that is being written; nobody flushes it."""
    attr = volume.submit_for_attr(Create(volume.namespace.root, b"file", volume.new_ino(), 0o100644, 0, 0))
    writer = volume.writer(attr)
    for at in range(size // MIB):
        writer.write(at * MIB, noise(MIB, at))
    yield writer
    writer.flush()


def test_bytes_are_let_go_when_their_pack_is_stored(s3_server: S3Server, scratch: Path) -> None:
    """Also when the writer does nothing meanwhile: it may be waiting for just that."""
    gates: list[Gate] = []

    def gated(target: Target) -> Target:
        gates.append(Gate(target))
        return cast(Target, gates[-1])

    with open_on_bucket(scratch / "data", settings(s3_server), wrap=gated) as engine:
        volume = engine.volume("test")
        with beginning(volume, 40 * MIB):
            wait_until(lambda: engine.store.counters().bytes_put > 38 * MIB, "all but the tail is in packs")
            assert volume.shared.dirty.used == 40 * MIB
            gates[0].open.set()
            wait_until(lambda: volume.shared.dirty.used <= 20 * MIB, "the first pack's bytes are let go")
        volume.close()


def test_a_daemons_packs_are_full_too(s3_server: S3Server, scratch: Path) -> None:
    """Its clients do not have it store a pack as soon as they would name what is in it."""
    with open_on_bucket(scratch / "data", settings(s3_server)) as engine:
        server = GrpcServer(backend_of(engine), GrpcSettings(port=0, stop_grace=2.0))
        server.start()
        connection = Connection(Endpoint((server.address,)))
        volume = open_volume(connection, label="test")
        try:
            write(volume, "large", noise(150 * MIB))
            lengths = [row.length for row in live(engine)]
            assert len(lengths) <= 8
            assert sum(lengths) >= 150 * MIB
        finally:
            volume.close()
            connection.close()
            server.stop()


def live(engine: TargetEngine) -> list[Any]:
    return [row for row in engine.namespace_store.packs.rows() if row.state is PackState.LIVE]
