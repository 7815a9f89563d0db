"""Makes the golden dump of a router's names: run once for a schema, when it is new, never again for it.

``python -m golden.make_router DIRECTORY`` (in ``tests``) writes ``router-<schema>.dump``, not compressed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import zstandard

from graviton_server.namespace.schema import SCHEMA_VERSION
from harness.places import make_scratch
from harness.programs import Graviton
from harness.waiting import wait_until
from sharding.cluster import Router, ShardDaemon


def main(target: Path) -> None:
    scratch = make_scratch()
    graviton = Graviton(scratch)
    try:
        shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
        router = Router(graviton, scratch, [shard.entry(f", zone = {shard.name}") for shard in shards])
        for number in range(6):
            router.put(f"f{number}", os.urandom(3 << 19))
        router.put("small", b"in the database")
        wait_until(lambda: all(shard.packs() for shard in shards), "both have packs")
        graviton.run("dump", router.data, scratch / "dump")
        plain = zstandard.ZstdDecompressor().decompressobj().decompress((scratch / "dump").read_bytes())
        (target / f"router-{SCHEMA_VERSION}.dump").write_bytes(plain)
    finally:
        graviton.close()
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
