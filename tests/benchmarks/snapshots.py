"""How long a snapshot of a large tree takes: ``python -m benchmarks.snapshots [ENTRIES]``, in tests/.

On both engines; the tree is generated. Prints seconds of each, the median of nine, and the same of an almost
empty volume, for the ratio.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.ports.ops import Batch, Create
from harness.postgres import PostgresServer, debian_binaries
from namespace.postgres_stores import PostgresStores

TIMES = 9
IN_A_DIRECTORY = 1000
IN_A_BATCH = 500


def fill(store: Any, entries: int) -> None:
    names = store.attach(label="fill")
    granted = iter(names.grant(entries + entries // IN_A_DIRECTORY + 1))
    number = 0

    def send(ops: list[Create]) -> None:
        nonlocal number
        for start in range(0, len(ops), IN_A_BATCH):
            number += 1
            batch = Batch(number, number, tuple(ops[start : start + IN_A_BATCH]))
            [reply] = names.apply([batch], durable=False)
            assert reply.failure is None, reply.failure

    for first in range(0, entries, IN_A_DIRECTORY):
        directory = Ino(next(granted))
        ops = [Create(ROOT_INO, b"d%d" % first, directory, 0o040755, 0, 0)]
        for at in range(min(IN_A_DIRECTORY, entries - first)):
            ops.append(Create(directory, b"f%d" % at, Ino(next(granted)), 0o100644, 0, 0))
        send(ops)
    names.detach()
    store.commit()


def creation(store: Any) -> float:
    def once(number: int) -> float:
        started = time.perf_counter()
        store.create_snapshot("main", f"s{number}-{time.time_ns()}")
        return time.perf_counter() - started

    return statistics.median(once(number) for number in range(TIMES))


def sqlite() -> Iterator[Any]:
    folder = Path(tempfile.mkdtemp(prefix="graviton-bench-"))
    NamespaceStore.create(folder / "namespace.db", VolumeFormat(), bytes(16))
    store = NamespaceStore.open(folder / "namespace.db")
    yield store
    store.close()
    shutil.rmtree(folder)


def postgres() -> Iterator[Any]:
    server = PostgresServer(debian_binaries())
    stores = PostgresStores(server)
    yield stores.open()
    stores.close()
    server.close()


def main(entries: int) -> None:
    engines: tuple[Callable[[], Iterator[Any]], ...] = (sqlite, postgres)
    for engine in engines:
        for store in engine():
            few = creation(store)
            fill(store, entries)
            many = creation(store)
            print(
                f"{engine.__name__}: {many * 1000:.1f} ms with {entries:,} entries,"
                f" {few * 1000:.1f} ms without, ratio {many / few:.2f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
