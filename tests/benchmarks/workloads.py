"""The work itself, on any directory. Nothing here knows which file system it runs on.

A group is a sequence of rows that build on each other (what one writes another reads). Data is made
once, before any clock starts.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sysconfig
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

MIB = 1 << 20
CHUNK = MIB


class Sizes(NamedTuple):
    """How much work; ``quick`` is for trying the rows, not for figures."""

    big: int = 1024 * MIB
    random_file: int = 256 * MIB
    random_reads: int = 4000
    random_writes: int = 500
    small_files: int = 5000
    tree_files: int = 1800
    transactions: int = 150


FULL = Sizes()
QUICK = Sizes(64 * MIB, 32 * MIB, 400, 50, 300, 200, 15)


class Bench(Protocol):
    """What a group gets: an empty directory, one for what is made once, and where results go."""

    directory: Path
    cache: Path
    sizes: Sizes

    def cold(self) -> None: ...
    def unmount(self) -> None: ...
    def stored_bytes(self) -> int: ...
    def rate(self, row: str, count: float, seconds: float) -> None: ...
    def seconds(self, row: str, seconds: float) -> None: ...
    def growth(self, row: str, before: int, added: int) -> None: ...
    def requests(self) -> int: ...
    def count(self, row: str, value: int) -> None: ...


@cache
def incompressible(size: int) -> memoryview:
    """The same random bytes in every call, for every system."""
    made = bytearray(size)
    source = random.Random(42)
    for start in range(0, size, CHUNK):
        piece = source.randbytes(min(CHUNK, size - start))
        made[start : start + len(piece)] = piece
    return memoryview(made)


@contextmanager
def clock() -> Iterator[Callable[[], float]]:
    """``with clock() as spent: ...; spent()`` is the time inside the block."""
    start = time.perf_counter()
    end: list[float] = []
    yield lambda: end[0]
    end.append(time.perf_counter() - start)


def write_file(path: Path, data: memoryview, lead: bytes = b"") -> None:
    """Write ``lead`` and ``data`` in calls of 1 MiB, then fsync and close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        offset = 0
        if lead:
            # As a program would that copies through one buffer: the lead shifts every later write.
            offset = CHUNK - len(lead)
            os.write(descriptor, lead + data[:offset])
        for start in range(offset, len(data), CHUNK):
            os.write(descriptor, data[start : start + CHUNK])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path) -> int:
    """Read all of it in calls of 1 MiB into one buffer."""
    buffer = bytearray(CHUNK)
    descriptor = os.open(path, os.O_RDONLY)
    total = 0
    try:
        while count := os.readv(descriptor, [buffer]):
            total += count
    finally:
        os.close(descriptor)
    return total


def sequential(bench: Bench) -> None:
    data = incompressible(bench.sizes.big)
    megabytes = len(data) / 1e6
    first, again, shifted = (bench.directory / name for name in ("first", "again", "shifted"))
    with clock() as spent:
        write_file(first, data)
    bench.rate("sequential write", megabytes, spent())
    for row, path, lead in (("same bytes again", again, b""), ("shifted by 7", shifted, b"seven77")):
        before = bench.stored_bytes()
        with clock() as spent:
            write_file(path, data, lead)
        bench.rate(row, megabytes, spent())
        bench.growth(row, before, len(data))
    bench.cold()
    with clock() as spent:
        total = read_file(first)
    assert total == len(data), f"read {total} of {len(data)} bytes"
    bench.rate("sequential read, cold", megabytes, spent())


def parallel(bench: Bench) -> None:
    data = incompressible(bench.sizes.big)
    part = len(data) // 4

    def write(index: int) -> None:
        write_file(bench.directory / f"part{index}", data[index * part : (index + 1) * part])

    with ThreadPoolExecutor(4) as pool, clock() as spent:
        list(pool.map(write, range(4)))
    bench.rate("4 parallel writers", 4 * part / 1e6, spent())


def random_access(bench: Bench) -> None:
    size = bench.sizes.random_file
    path = bench.directory / "random"
    write_file(path, incompressible(bench.sizes.big)[:size])
    source = random.Random(7)
    pages = size // 4096
    bench.cold()
    offsets = [source.randrange(pages) * 4096 for _ in range(bench.sizes.random_reads)]
    buffer = bytearray(4096)
    descriptor = os.open(path, os.O_RDONLY)
    with clock() as spent:
        for offset in offsets:
            os.preadv(descriptor, [buffer], offset)
    os.close(descriptor)
    bench.rate("random 4 KiB read, cold", len(offsets), spent())
    offsets = [source.randrange(pages) * 4096 for _ in range(bench.sizes.random_writes)]
    blocks = [source.randbytes(4096) for _ in offsets]
    descriptor = os.open(path, os.O_RDWR)
    with clock() as spent:
        for offset, block in zip(offsets, blocks, strict=True):
            os.pwrite(descriptor, block, offset)
            os.fsync(descriptor)
    os.close(descriptor)
    bench.rate("random 4 KiB write + fsync", len(offsets), spent())


def _create(paths: list[bytes], block: bytes, *, sync: bool) -> None:
    for number, path in enumerate(paths):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, number.to_bytes(8, "little") + block)
        if sync:
            os.fsync(descriptor)
        os.close(descriptor)


def small_files(bench: Bench) -> None:
    count = bench.sizes.small_files
    block = random.Random(3).randbytes(4088)
    folder = bench.directory / "small"
    folder.mkdir()
    paths = [os.fsencode(folder / f"file-{number:05}") for number in range(count)]
    with clock() as spent:
        _create(paths, block, sync=False)
    bench.rate("create 4 KiB files", count, spent())
    bench.cold()
    with clock() as spent:
        for path in paths:
            os.stat(path)
    bench.rate("stat all, cold", count, spent())
    bench.cold()
    with clock() as spent, os.scandir(folder) as listing:
        listed = sum(entry.stat(follow_symlinks=False).st_size == 4096 for entry in listing)
    assert listed == count
    bench.rate("list with attributes, cold", count, spent())
    bench.cold()
    buffer = bytearray(8192)
    with clock() as spent:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            os.readv(descriptor, [buffer])
            os.close(descriptor)
    bench.rate("read 4 KiB files, cold", count, spent())
    renamed = [path + b".new" for path in paths]
    with clock() as spent:
        for old, new in zip(paths, renamed, strict=True):
            os.rename(old, new)
    bench.rate("rename", count, spent())
    with clock() as spent:
        for path in renamed:
            os.unlink(path)
    bench.rate("unlink", count, spent())


def small_files_synced(bench: Bench) -> None:
    count = bench.sizes.small_files
    block = random.Random(5).randbytes(4088)
    paths = [os.fsencode(bench.directory / f"file-{number:05}") for number in range(count)]
    with clock() as spent:
        _create(paths, block, sync=True)
    bench.rate("create 4 KiB files, fsync each", count, spent())


def source_archive(files: int, where: Path) -> Path:
    """A tar of real source files, from the Python that runs this."""
    archive = where / f"source-{files}.tar"
    if not archive.exists():
        names: dict[Path, Path] = {}
        for name in ("stdlib", "purelib"):
            root = Path(sysconfig.get_path(name))
            names |= {
                path: Path("source", name, path.relative_to(root)) for path in sorted(root.rglob("*.py"))
            }
        with tarfile.open(archive, "w") as tar:
            for path in list(names)[:files]:
                tar.add(path, arcname=names[path], recursive=False)
    return archive


def tree(bench: Bench) -> None:
    archive = source_archive(bench.sizes.tree_files, bench.cache)

    def run(row: str, script: str, cwd: Path) -> None:
        with clock() as spent:
            subprocess.run(["sh", "-ec", script], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
        bench.seconds(row, spent())

    git = "git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0"
    run("untar a source tree", f"tar xf '{archive}'", bench.directory)
    run("cp -r of it", "cp -r source copy", bench.directory)
    commit = f"{git} init -q && {git} add -A && {git} commit -qm bench"
    run("git init, add, commit", commit, bench.directory / "source")
    shutil.rmtree(bench.directory / "copy")


def sqlite(bench: Bench) -> None:
    connection = sqlite3.connect(bench.directory / "test.db", isolation_level=None)
    connection.execute("pragma journal_mode=delete")
    connection.execute("create table t (id integer primary key, text)")
    count = bench.sizes.transactions
    with clock() as spent:
        for number in range(count):
            connection.execute("insert into t values (?, ?)", (number, "x" * 100))
    connection.close()
    bench.rate("SQLite transactions", count, spent())


def requests(bench: Bench) -> None:
    """How many requests the store behind gets for small files, until all are there."""
    count = bench.sizes.small_files
    block = random.Random(9).randbytes(4088)
    for writers in (1, 8):
        folder = bench.directory / f"by-{writers}"
        folder.mkdir()
        paths = [os.fsencode(folder / f"file-{number:05}") for number in range(count)]
        # Each writer has bytes of its own, else the second half would be found stored.
        shares = [(paths[at::writers], bytes([writers, at]) + block[2:]) for at in range(writers)]
        before = bench.requests()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(lambda share: _create(*share, sync=False), shares))
        bench.unmount()
        bench.count(
            f"S3 requests, 4 KiB files, {writers} writer{'s' * (writers > 1)}", bench.requests() - before
        )
        bench.cold()


GROUPS: dict[str, Callable[[Bench], None]] = {
    "sequential": sequential,
    "parallel": parallel,
    "random": random_access,
    "small": small_files,
    "small-fsync": small_files_synced,
    "tree": tree,
    "sqlite": sqlite,
}

SHARED_GROUPS: dict[str, Callable[[Bench], None]] = {"requests": requests}
"""Of systems with a store of objects behind them."""
