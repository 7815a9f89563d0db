"""A pack store on a real database, as wiring makes one, and a program that writes until it is killed."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from graviton_server.index.rocks import RocksIndex
from graviton_server.namespace.store import NamespaceStore
from graviton_server.packs.store import PackStore
from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.core.format import VolumeFormat
from packs.rig import STORE, random_blocks


class SmallEngine:
    def __init__(self, root: Path) -> None:
        database = root / "namespace.db"
        if not database.exists():
            NamespaceStore.create(database, VolumeFormat(), STORE)
        self.namespace = NamespaceStore.open(database, group_seconds=0.02)
        self.target = DirectoryTarget.make(root / "target", STORE)
        self.index = RocksIndex(root / "index")
        self.store = PackStore(
            self.target,
            self.index,
            self.namespace.packs,
            self.namespace.loose,
            store_uuid=STORE,
            owner="engine-0",
            pack_size=1 << 20,
            min_free=0,
        )
        self.report = self.store.recover()
        self.namespace.set_barrier(self.store.barrier)

    def close(self) -> None:
        self.store.close()
        self.namespace.close()
        self.index.close()
        self.target.close()


def write_until_killed(root: Path) -> None:
    """Tells every block, and its pack, after it is durable."""
    engine = SmallEngine(root)
    out = sys.stdout
    while True:
        size = random.choice([100, 4000, 60_000, 300_000])
        blocks = random_blocks(random.randrange(1, 9), size)
        packs = engine.store.put(blocks)
        if random.random() < 0.3:
            continue  # not acknowledged: may be lost
        engine.store.sync(packs)
        engine.namespace.commit()
        for one, pack in zip(blocks, packs, strict=True):
            out.write(f"{one.id.hex()} {pack}\n")
        out.flush()


if __name__ == "__main__":
    random.seed(os.urandom(8))
    write_until_killed(Path(sys.argv[1]))
