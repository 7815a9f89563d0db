"""The daemon's own ceiling: blobs through gRPC beside the SDK straight to the same S3 server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks.report import number
from tests.benchmarks.results import CEILING, CONCURRENT, Results
from tests.benchmarks.shared_systems import RemoteMount
from tests.benchmarks.workloads import MIB, Sizes, clock, incompressible

DAEMON_GROUPS = {"daemon": "gRPC"}
_THREADS = 4
_CALL_SECONDS = 3.0
_UPLOAD = 8 * MIB


class Ceiling:
    def __init__(self, system: RemoteMount, results: Results, sizes: Sizes) -> None:
        from harness.buckets import client

        self._system = system
        self._results = results
        self._boto: Any = client(system.place.bucket_url.rpartition("/")[0])
        big = incompressible(sizes.big)
        part = len(big) // _THREADS
        self._parts = [bytes(big[at * part : (at + 1) * part]) for at in range(_THREADS)]
        self._quick = sizes.big < 512 * MIB

    def _tell(self, what: str, through: str, value: float) -> None:
        self._results.add_ceiling(what, through, value)
        print(f"  {through:10} {what:42} {number(value, CEILING[what])}", flush=True)

    def _by_threads(self, what: str, through: str, call: Callable[[int], object]) -> None:
        with ThreadPoolExecutor(_THREADS) as pool, clock() as spent:
            list(pool.map(call, range(_THREADS)))
        self._tell(what, through, sum(map(len, self._parts)) / 1e6 / spent())

    def straight(self) -> None:
        """An object of a thread at a time, in requests of 32 MiB: as many as Graviton's packs."""
        bucket, size = self._system.place.bucket, 32 * MIB

        def put(at: int) -> None:
            for start in range(0, len(self._parts[at]), size):
                body = self._parts[at][start : start + size]
                self._boto.put_object(Bucket=bucket, Key=f"straight/{at}/{start}", Body=body)

        def get(at: int) -> None:
            for start in range(0, len(self._parts[at]), size):
                self._boto.get_object(Bucket=bucket, Key=f"straight/{at}/{start}")["Body"].read()

        self._by_threads("blob upload, 4 at a time", "boto3", put)
        self._by_threads("blob download, 4 at a time", "boto3", get)

    def blobs(self) -> None:
        with self._client() as client:
            made = {}

            def put(at: int) -> None:
                made[at] = client.blobs.put(self._parts[at]).id

            self._by_threads("blob upload, 4 at a time", "daemon", put)
        self._system.restart_daemon_cold()
        with self._client() as client:

            def get(at: int) -> None:
                got = sum(len(piece) for piece in client.blobs.stream(made[at]))
                assert got == len(self._parts[at])

            self._by_threads("blob download, 4 at a time", "daemon", get)

    def calls(self) -> None:
        """One small question, answered from the database."""
        with self._client() as client:
            id = client.blobs.put(b"x" * 1000).id
            for clients in (1, 8):
                end = time.monotonic() + (0.5 if self._quick else _CALL_SECONDS)

                def ask(_: int, end: float = end) -> int:
                    count = 0
                    while time.monotonic() < end:
                        client.blobs.stat(id)
                        count += 1
                    return count

                with ThreadPoolExecutor(clients) as pool, clock() as spent:
                    count = sum(pool.map(ask, range(clients)))
                what = f"calls, {clients} at a time"
                self._tell(what, "daemon", count / spent())

    def concurrent(self) -> None:
        """As many uploads at once as the guide's configuration allows; other bytes in each."""
        self._system.restart_daemon_cold()
        idle = self._daemon().peak()
        count, size = (20, MIB) if self._quick else (CONCURRENT, _UPLOAD)
        big = incompressible(count * size if self._quick else 1024 * MIB)

        def pieces(at: int) -> Iterator[memoryview]:
            for start in range(at * size, (at + 1) * size, MIB):
                yield big[start : start + MIB]

        with self._client() as client, ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda at: client.blobs.put(pieces(at)), range(count)))
        self._tell("memory of the idle daemon", "daemon", idle / MIB)
        self._tell(f"memory under {CONCURRENT} concurrent uploads", "daemon", self._daemon().peak() / MIB)

    def _client(self) -> Any:
        from gravitonfs.client import Client

        return Client(f"graviton://{self._daemon().address}/main", timeout=300)

    def _daemon(self) -> Any:
        assert self._system.daemon is not None
        return self._system.daemon


def run_daemon(group: str, results: Results, sizes: Sizes, work: Path) -> None:
    system = RemoteMount(work / group)
    system.environment = {"GRAVITON_MEMORY": "256MiB"}
    try:
        system.prepare()
        ceiling = Ceiling(system, results, sizes)
        ceiling.straight()
        ceiling.blobs()
        ceiling.calls()
        ceiling.concurrent()
    except BaseException:
        print(system.log.read_text(errors="replace")[-4000:])
        raise
    finally:
        system.close()
