"""A namespace of as many inodes as wanted, made in SQL: what a dump and a load of it take.

    python -m backup.generated DIRECTORY COUNT      (in tests/)

Prints JSON: seconds and the peak of resident memory of each step, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_PAGE = 20_000
_DIRECTORY = 1000
"""Files in each directory."""
_BLOCKS = 256
_FIRST = 100_000
"""Number of the first inode and content that is made here."""


def _blocks(home: Path) -> None:
    """A volume with a few real files."""
    from graviton_server.wiring import EngineOptions, open_embedded

    with open_embedded(home, create=True, options=EngineOptions(background=False)) as engine:
        volume = engine.volume("generated")
        for number in range(_BLOCKS):
            with volume.stage(mode=0o644, uid=0, gid=0) as staged:
                staged.write(os.urandom(1 << 16))
                staged.publish(volume.namespace.root, b"real-%d" % number)
        volume.close()
        engine.store.drain_loose()


def generate(home: Path, count: int) -> None:
    """``count`` files of one block each, in directories of a thousand; they share some blocks."""
    from graviton_server.namespace.engine import SqliteEngine
    from gravitonfs.core.extents import Extent, pack_row, unpack_row

    _blocks(home)
    engine = SqliteEngine(home / "namespace.db")
    found = [unpack_row(0, data)[0] for (data,) in engine.execute("SELECT data FROM regions")]
    assert len(found) == _BLOCKS

    def extent(n: int) -> Extent:
        return found[n * 7919 % _BLOCKS]._replace(length=4096 + n % 60_000)

    inode = "INSERT INTO inodes VALUES (?, ?, ?, 1000, 1000, 0, ?, ?, ?, ?, ?, ?, 1, 0, ?, 1, NULL)"
    now = time.time_ns()

    def inodes(first: int, last: int) -> Iterator[tuple[Any, ...]]:
        for n in range(first, last):
            ino = _FIRST + n
            at = now + n * 1000
            if n % (_DIRECTORY + 1) == 0:
                yield ino, 0o40755, 2, 0, at, at, at, at, 0, n
            else:
                yield ino, 0o100644, 1, 4096 + n % 60_000, at, at, at, at, ino, n

    def names(first: int, last: int) -> Iterator[tuple[Any, ...]]:
        for n in range(first, last):
            within = n % (_DIRECTORY + 1)
            if within == 0:
                yield 1, b"directory-%08d" % n, _FIRST + n, n
            else:
                yield _FIRST + n - within, b"file-%d.dat" % n, _FIRST + n, n

    def files(first: int, last: int) -> Iterator[int]:
        return (n for n in range(first, last) if n % (_DIRECTORY + 1))

    for first in range(0, count, _PAGE):
        last = min(count, first + _PAGE)
        engine.begin()
        engine.executemany(inode, inodes(first, last))
        engine.executemany("INSERT INTO names VALUES (?, ?, ?, ?)", names(first, last))
        engine.executemany(
            "INSERT INTO contents VALUES (?, 1, ?, 1, NULL, 0, 0, 0, 1, ?, ?)",
            ((_FIRST + n, 4096 + n % 60_000, now, n) for n in files(first, last)),
        )
        engine.executemany(
            "INSERT INTO regions VALUES (?, 0, 0, ?, ?)",
            ((_FIRST + n, n, pack_row(0, [extent(n)])) for n in files(first, last)),
        )
        engine.commit()
        engine.checkpoint("TRUNCATE")
    engine.close()


def dump(home: Path) -> dict[str, Any]:
    import msgspec

    from graviton_server.wiring import EngineOptions, open_embedded

    with open_embedded(home, options=EngineOptions(background=False)) as engine:
        found: dict[str, Any] = msgspec.to_builtins(engine.maintenance.back_up())
    return found


def touch(home: Path) -> dict[str, Any]:
    """A thousand files of one directory change; then a dump."""
    from graviton_server.namespace.engine import SqliteEngine

    engine = SqliteEngine(home / "namespace.db")
    engine.execute(
        "UPDATE inodes SET mtime = mtime + 1, ctime = ctime + 1 WHERE ino BETWEEN 105000 AND 106000"
    )
    engine.close()
    return dump(home)


def load(home: Path) -> dict[str, Any]:
    from graviton_server.wiring.loading import load_sqlite
    from graviton_server.wiring.survivors import Survivors
    from graviton_server.wiring.targets import own_row

    for path in home.glob("namespace.db*"):
        path.unlink()
    rows = [own_row(home)]
    with Survivors(rows) as survivors:
        load_sqlite(home, rows, survivors.text(survivors.choose(None)))
    return {}


STEPS = {"dump": dump, "touch": touch, "load": load}


def in_a_process(step: str, home: Path) -> dict[str, Any]:
    """What a step told, its seconds (wall and processor), and the most memory it had."""
    root = _HERE.parents[1]
    path = os.pathsep.join(str(root / name) for name in ("gravitonfs", "server", "webdav", "tests"))
    done = subprocess.run(
        [sys.executable, "-m", "backup.generated", "--step", step, str(home)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    if sys.argv[1] == "--step":
        began = time.monotonic()
        told = STEPS[sys.argv[2]](Path(sys.argv[3]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        told |= {
            "seconds": round(time.monotonic() - began, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_mib": used.ru_maxrss // 1024,
        }
        print(json.dumps(told))
        return
    home, count = Path(sys.argv[1]), int(sys.argv[2])
    generate(home, count)
    print(json.dumps({"count": count, "database_mib": (home / "namespace.db").stat().st_size >> 20}))
    for step in STEPS:
        print(json.dumps({step: in_a_process(step, home)}), flush=True)


if __name__ == "__main__":
    main()
