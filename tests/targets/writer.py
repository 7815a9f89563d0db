"""A program that writes files to an engine on a bucket until it is killed; tells each after it is durable.

Arguments: the engine's directory, the bucket, the endpoint, the size of packs, the largest file.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from graviton_server.targets.s3 import S3Settings
from gravitonfs.ports.ops import Create
from harness.engines import open_on_bucket

MIB = 1 << 20


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def write_until_killed(home: Path, chosen: S3Settings, pack_size: int, largest: int) -> None:
    engine = open_on_bucket(home, chosen, pack_size=pack_size)
    volume = engine.volume("writer")
    out = sys.stdout
    out.write("open\n")
    out.flush()
    while True:
        seed = int.from_bytes(os.urandom(6), "big")
        size = random.choice([100, 5000, 200_000, largest // 2, largest])
        attr = volume.submit_for_attr(
            Create(volume.namespace.root, b"%d-%d" % (seed, size), volume.new_ino(), 0o100644, 0, 0)
        )
        writer = volume.writer(attr)
        writer.write(0, content(seed, size))
        durable = random.random() < 0.7
        writer.flush(seal=True, durable=durable)
        if random.random() < 0.1:
            engine.store.drain_loose()
        if durable:
            out.write(f"{seed} {size}\n")
            out.flush()


if __name__ == "__main__":
    write_until_killed(
        Path(sys.argv[1]),
        S3Settings(sys.argv[2], endpoint=sys.argv[3], part_size=5 * MIB, attempts=3, read_timeout=60.0),
        int(sys.argv[4]),
        int(sys.argv[5]),
    )
