"""How fast packs go to an S3 server and come back, beside the SDK straight to the same server.

python -m tests.benchmarks.s3 [MIB]
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "gravitonfs", "server", "webdav")]

MIB = 1 << 20
PACK = 32 * MIB


def timed(what: str, size: int, call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    print(f"{what:58} {size / seconds / 1e6:8.0f} MB/s {seconds:8.2f} s", flush=True)
    return seconds


def straight(client: Any, bucket: str, parts: list[bytes], threads: int) -> None:
    """The SDK alone: as many requests as packs."""
    size = sum(map(len, parts))
    with ThreadPoolExecutor(threads) as pool:

        def put(at: int) -> None:
            client.put_object(Bucket=bucket, Key=f"straight/{threads}/{at}", Body=parts[at])

        def get(at: int) -> None:
            client.get_object(Bucket=bucket, Key=f"straight/{threads}/{at}")["Body"].read()

        timed(
            f"boto3 put of 32 MiB objects, {threads} threads",
            size,
            lambda: list(pool.map(put, range(len(parts)))),
        )
        timed(
            f"boto3 get of 32 MiB objects, {threads} threads",
            size,
            lambda: list(pool.map(get, range(len(parts)))),
        )

        def ranged(at: int) -> None:
            for start in range(0, PACK, 4 * MIB):
                span = f"bytes={start}-{start + 4 * MIB - 1}"
                client.get_object(Bucket=bucket, Key=f"straight/{threads}/{at}", Range=span)["Body"].read()

        timed(
            f"boto3 get in ranges of 4 MiB, {threads} threads",
            size,
            lambda: list(pool.map(ranged, range(len(parts)))),
        )


def through(target: Any, parts: list[bytes], threads: int) -> None:
    """The target: the same, with checksums, parts and translated errors."""
    size = sum(map(len, parts))

    def put(at: int) -> None:
        target.put(f"packs/00/{threads}-{at}.pack", BytesIO(parts[at]), PACK)

    def get(at: int) -> None:
        for start in range(0, PACK, 4 * MIB):
            target.get(f"packs/00/{threads}-{at}.pack", start, 4 * MIB)

    each = range(len(parts))
    with ThreadPoolExecutor(threads) as pool:
        timed(f"S3Target.put of 32 MiB, {threads} threads", size, lambda: list(pool.map(put, each)))
        timed(f"S3Target.get, 4 MiB, {threads} threads", size, lambda: list(pool.map(get, each)))


def run(size: int) -> None:
    from graviton_server.targets.s3 import S3Target
    from gravitonfs.ports.ops import Create
    from harness.buckets import CREDENTIALS, client, settings
    from harness.engines import STORE, open_on_bucket
    from harness.places import make_scratch
    from harness.s3server import S3Server

    os.environ.update(CREDENTIALS)
    home = make_scratch()
    server = S3Server(home / "weed")
    try:
        server.wait()
        chosen = settings(server)
        target = S3Target.make(chosen, STORE)
        data = os.urandom(size)
        parts = [data[at : at + PACK] for at in range(0, size, PACK)]
        boto = client(server.endpoint)
        boto.put_object(Bucket=chosen.bucket, Key="warm", Body=parts[0])
        for threads in (1, 4):
            straight(boto, chosen.bucket, parts, threads)
        for threads in (1, 4):
            through(target, parts, threads)
        for at in range(len(parts)):
            for threads in (1, 4):
                target.delete(f"packs/00/{threads}-{at}.pack")
        target.close()
        with open_on_bucket(home / "data", chosen) as engine:
            volume = engine.volume("benchmark")

            def write(name: bytes) -> None:
                attr = volume.submit_for_attr(
                    Create(volume.namespace.root, name, volume.new_ino(), 0o100644, 0, 0)
                )
                writer = volume.writer(attr)
                for start in range(0, size, MIB):
                    writer.write(start, data[start : start + MIB])
                    volume.shared.dirty.wait(60)
                writer.flush(seal=True, durable=True)

            def read() -> None:
                attr = volume.namespace.lookup(volume.namespace.root, b"one")
                assert attr is not None
                for piece in volume.reader(attr).stream(0, size):
                    assert len(piece)

            timed("engine: a file written and fsynced", size, lambda: write(b"one"))
            before = engine.target_requests()
            timed("engine: the same bytes again", size, lambda: write(b"two"))
            after = engine.target_requests()
            print("requests for that:", {kind: after[kind] - before.get(kind, 0) for kind in after})
            engine.content.cache.clear()
            timed("engine: read from front to back, cold", size, read)
            print("requests in all:", dict(engine.target_requests()))
            volume.close()
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    run((int(sys.argv[1]) if len(sys.argv) > 1 else 512) * MIB)
