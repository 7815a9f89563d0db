"""How long the namespace takes for what a mount asks of it most: ``python -m tests.benchmarks.namespace``.

Microseconds an operation, inside an open group unless it says durable; the best of twenty runs tells what
the code costs, the mean what the machine makes of it.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.extents import Extent
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO, BlockId, Ino
from gravitonfs.ports.ops import (
    Batch,
    Clone,
    Create,
    LooseBlock,
    Op,
    RemoveTree,
    Rename,
    SetAttr,
    Unlink,
    Write,
)
from gravitonfs.ports.packs import PackState

COUNT = 10_000
ROUNDS = 20


class Bench:
    def __init__(self, path: Path) -> None:
        NamespaceStore.create(path, VolumeFormat(), bytes(16))
        self.store = NamespaceStore.open(path)
        self.namespace = self.store.attach(label="benchmark")
        self.pack = self.store.packs.begin(bytes(16), "benchmark", PackState.LIVE)
        self.inos: Iterator[int] = iter(self.namespace.grant(10 * COUNT))
        self.blocks = [BlockId(os.urandom(32)) for _ in range(COUNT)]
        self.number = 0

    def do(self, *todo: Op, durable: bool = False, loose: tuple[LooseBlock, ...] = ()) -> None:
        self.number += 1
        batch = Batch(self.number, time.time_ns(), todo, (self.pack,), loose)
        [reply] = self.namespace.apply([batch], durable=durable)
        assert reply.failure is None, reply.failure

    def ino(self) -> Ino:
        return Ino(next(self.inos))

    def extent(self, index: int, offset: int = 0) -> Extent:
        return Extent(offset, 4096, self.blocks[index], 0, self.pack)


def measure(name: str, count: int, call: Callable[[int], object]) -> None:
    step = max(1, count // ROUNDS)
    best = float("inf")
    start = time.perf_counter()
    for first in range(0, count, step):
        begin = time.perf_counter()
        for index in range(first, first + step):
            call(index)
        best = min(best, (time.perf_counter() - begin) / step)
    mean = (time.perf_counter() - start) / count
    print(f"{name:34} best {best * 1e6:9.1f} us   mean {mean * 1e6:9.1f} us")


def run(bench: Bench) -> None:
    top = bench.ino()
    bench.do(Create(ROOT_INO, b"top", top, 0o040755, 0, 0))
    files = [bench.ino() for _ in range(COUNT)]
    names = [b"file-%06d" % index for index in range(COUNT)]
    half = COUNT // 2
    ns, do = bench.namespace, bench.do
    measure("create", COUNT, lambda i: do(Create(top, names[i], files[i], 0o100644, 0, 0)))
    measure("first extent of a draft", half, lambda i: do(Write(files[i], (bench.extent(i),), 4096)))
    measure(
        "first extent, sealed",
        half,
        lambda i: do(Write(files[half + i], (bench.extent(i),), 4096, 0, bench.blocks[i])),
    )
    measure("overwrite", half, lambda i: do(Write(files[i], (bench.extent(i),), 4096)))
    measure("lookup", COUNT, lambda i: ns.lookup(top, names[i]))
    measure("lookup of nothing", COUNT, lambda i: ns.lookup(top, b"x" + names[i]))
    measure("attr", COUNT, lambda i: ns.attr(files[i]))
    measure("set times", COUNT, lambda i: do(SetAttr(files[i], mtime_ns=i)))
    measure("list 1,000 with attributes", ROUNDS, lambda i: ns.entries(top, names[i * 100], 1000))
    measure("rename", COUNT, lambda i: do(Rename(top, names[i], top, b"r" + names[i])))
    measure("clone of 10,000 files", 1, lambda i: do(Clone(top, ROOT_INO, b"copy", bench.ino(), 0, 0)))
    measure("removal of them", 1, lambda i: do(RemoveTree(ROOT_INO, b"copy")))
    measure("unlink", COUNT, lambda i: do(Unlink(top, b"r" + names[i])))
    measure(
        "create, durable", 400, lambda i: do(Create(top, names[i], bench.ino(), 0o100644, 0, 0), durable=True)
    )
    big = bench.ino()
    do(Create(top, b"big", big, 0o100644, 0, 0))

    def random_write(index: int, **how: bool) -> None:
        offset = random.randrange(16_384) * 4096
        block = LooseBlock(bench.blocks[index], 0, 4096, bytes(4096))
        loose = (block,) if how else ()
        do(Write(big, (bench.extent(index, offset),), 64 << 20), loose=loose, **how)

    measure("random 4 KiB overwrite", half, random_write)
    measure("random 4 KiB with block, durable", 400, lambda i: random_write(i, durable=True))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="graviton-namespace-", dir=os.environ.get("TMPDIR")) as directory:
        bench = Bench(Path(directory) / "namespace.db")
        run(bench)
        print(bench.store.counters())
        bench.store.close()


if __name__ == "__main__":
    main()
