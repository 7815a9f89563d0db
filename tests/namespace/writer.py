"""A process that writes until it is killed: prints a line for each batch that is durable."""

from __future__ import annotations

import sys
from pathlib import Path

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ROOT_INO, BlockId
from gravitonfs.ports.ops import Batch, Create, Rename, Write
from gravitonfs.ports.packs import PackState


def main(path: Path, run: str) -> None:
    store = NamespaceStore.open(path, group_seconds=0.01)
    namespace = store.attach(label=run)
    pack = store.packs.begin(run.encode().ljust(16), run, PackState.LIVE)
    for number in range(1_000_000):
        (ino,) = namespace.grant(1)
        name = f"{run}-{number}".encode()
        extent = Extent(0, len(name), BlockId(name.ljust(32)), 0, pack)
        todo = (
            Create(ROOT_INO, name + b".part", ino, 0o100644, 0, 0),
            Write(ino, (extent,), len(name)),
            Rename(ROOT_INO, name + b".part", ROOT_INO, name),
        )
        durable = number % 3 == 2
        [reply] = namespace.apply([Batch(number + 1, number, todo, (pack,))], durable=durable)
        assert reply.failure is None
        if durable:
            print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
