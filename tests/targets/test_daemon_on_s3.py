"""A remote volume of a daemon whose packs are in a bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graviton_server.grpc_api.backend import backend_of
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.volumes import open_volume
from gravitonfs.ports.packs import PackState
from harness.buckets import settings
from harness.engines import open_on_bucket
from harness.s3server import S3Server
from targets.test_engine_on_s3 import KIB, MIB, noise, read, sent, write


@pytest.mark.parametrize("durable", [False, True])
def test_small_and_large_files_through_a_daemon(s3_server: S3Server, scratch: Path, durable: bool) -> None:
    with open_on_bucket(scratch / "data", settings(s3_server)) as engine:
        server = GrpcServer(backend_of(engine), GrpcSettings(port=0, stop_grace=2.0))
        server.start()
        connection = Connection(Endpoint((server.address,)))
        volume = open_volume(connection, label="test")
        try:
            before = sent(engine)

            def work(mine: range) -> None:
                for at in mine:
                    write(volume, f"file{at}", noise(4 * KIB, at), durable=durable)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, [range(at, 800, 4) for at in range(4)]))
            engine.store.drain_loose()
            assert sent(engine) - before <= 8
            write(volume, "large", noise(50 * MIB), durable=durable)
            rows = [row for row in engine.namespace_store.packs.rows() if row.state is PackState.LIVE]
            assert sum(row.length for row in rows) >= 50 * MIB
            for name, data in (("large", noise(50 * MIB)), ("file7", noise(4 * KIB, 7))):
                assert read(volume, name) == data
        finally:
            volume.close()
            connection.close()
            server.stop()
