"""A remote volume of a daemon whose packs are in a bucket."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graviton_server.grpc_api.backend import backend_of
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings
from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.volumes import open_volume
from gravitonfs.ports.packs import PackState
from harness.buckets import settings
from harness.contents import noise, read, write
from harness.engines import open_on_bucket
from harness.programs import Graviton, Running
from harness.s3server import S3Server
from rpc.serving import serving
from targets.test_engine_on_s3 import KIB, MIB, sent


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


@pytest.mark.mount
def test_a_tree_that_is_read_cold_costs_few_calls(
    s3_server: S3Server, graviton: Graviton, scratch: Path
) -> None:
    """By a mount, with the kernel before it: sorted, and by tar."""
    files = {f"d{at % 4}/e{at % 3}/file{at:03}": noise(4 * KIB + at, at) for at in range(240)}
    point, again = scratch / "mnt", scratch / "again"
    with open_on_bucket(scratch / "data", settings(s3_server)) as engine, serving(engine) as server:
        with Client(f"graviton://{server.address}/main", timeout=60) as client:
            for name, data in files.items():
                client.mkdir(name.rpartition("/")[0], parents=True, exist_ok=True)
                client.write_bytes(name, data)
        engine.store.drain_loose()

        def cold(read: Callable[[], object]) -> tuple[int, int]:
            """The calls for maps and blocks, and the requests to the bucket."""
            mounted = mount(graviton, server.address, point)
            calls, requests = asked(server), engine.target_requests()["get"]
            read()
            found = asked(server) - calls, engine.target_requests()["get"] - requests
            graviton.unmount(mounted, point)
            return found

        def by_name() -> None:
            for name in sorted(files):
                assert (point / name).read_bytes() == files[name]

        def by_tar() -> None:
            again.mkdir()
            subprocess.run(f"tar cf - -C {point} . | tar xf - -C {again}", shell=True, check=True, timeout=60)
            assert {name: (again / name).read_bytes() for name in files} == files

        for reading in (by_name, by_tar):
            calls, requests = cold(reading)
            assert calls <= len(files) // 2, reading  # many of them before anything could be on its way
            assert requests <= len(files) // 6, reading


def mount(graviton: Graviton, address: str, point: Path) -> Running:
    return graviton.mount(f"graviton://{address}/main", point)  # type: ignore[arg-type]


def asked(server: GrpcServer) -> int:
    counts = Counter({name: tally.count for name, tally in server.tallies.operations()})
    return sum(
        counts[name]
        for name in (
            "NamespaceService.Extents", "NamespaceService.ExtentsOf", "BlockService.Get", "BlockService.Near",
        )
    )  # fmt: skip
