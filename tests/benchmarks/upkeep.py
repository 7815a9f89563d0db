"""``python -m benchmarks.upkeep``: what scrubbing costs those who read meanwhile, and a large collection.

Scrub: MB a second and of processor time, and the latency of small cold reads beside it. Collection: a store
of so many blocks, tiny ones, of which half are dead.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import statistics
import threading
import time
from pathlib import Path

from graviton_server.maintenance.work import Work
from graviton_server.packs.store import PackStore
from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.content.volume import Volume
from gravitonfs.core.codec import RAW
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import Ino
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import Create, Unlink, Write
from harness.places import make_scratch
from maintenance.rig import MIB, Rig, noise

GROUP = 5_000
SIZE = 64


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _latencies(rig: Rig, files: int, until: threading.Event) -> list[float]:
    found: list[float] = []
    at = 0
    while not until.is_set():
        began = time.perf_counter()
        rig.read_cold(f"small{at % files}")
        found.append(time.perf_counter() - began)
        at += 1
        until.wait(0.005)
    return found


def _told(what: str, latencies: list[float]) -> None:
    ordered = sorted(latencies)
    p99 = ordered[len(ordered) * 99 // 100]
    median = statistics.median(ordered)
    print(f"{what}: {len(ordered)} reads, median {median * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")


def _scrub(rig: Rig, limit: int, done: threading.Event) -> None:
    rig.maintenance.scrub(Work(bytes_per_second=limit))
    done.set()


def scrub(home: Path, megabytes: int, rate: int) -> None:
    rig = Rig(home / "data")
    for number in range(megabytes // 64):
        rig.put(f"large{number}", noise(64 * MIB, number))
    for number in range(100):
        rig.put(f"small{number}", noise(100_000, 1000 + number))
    rig.reopen()
    quiet = threading.Event()
    threading.Timer(5.0, quiet.set).start()
    _told("alone", _latencies(rig, 100, quiet))
    began, cpu = time.perf_counter(), _cpu()
    report = rig.maintenance.scrub()
    took, used = time.perf_counter() - began, _cpu() - cpu
    read = report.bytes_read / 1e6
    print(
        f"scrub alone: {read:.0f} MB, {read / took:.0f} MB/s, {read / used:.0f} MB a second of processor time"
    )
    for limit in (0, rate):
        done = threading.Event()
        thread = threading.Thread(target=_scrub, args=(rig, limit, done))
        began = time.perf_counter()
        thread.start()
        latencies = _latencies(rig, 100, done)
        thread.join()
        _told(f"beside a scrub at {read / (time.perf_counter() - began):.0f} MB/s", latencies)
    rig.close()


def collect(home: Path, blocks: int) -> None:
    """Files of 5,000 blocks; half of them are removed, in pairs, so that packs die whole and by half."""
    options = EngineOptions(background=False, pack_size=MIB)
    files = blocks // GROUP
    with open_embedded(home / "many", create=True, options=options) as engine:
        volume = engine.volume("test")
        root = volume.namespace.root
        for number in range(files):
            _tiny(volume, engine.store, root, number)
        for number in range(files):
            if number % 4 < 2:
                volume.submit(Unlink(root, b"f%d" % number))
        volume.commit()
        Path("/proc/self/clear_refs").write_text("5")
        before, began, cpu = _peak(), time.perf_counter(), _cpu()
        report = engine.maintenance.collect()
        print(
            f"gc of {blocks} blocks in {report.packs} packs: {time.perf_counter() - began:.1f} s,"
            f" {_cpu() - cpu:.1f} s of processor time, {(_peak() - before) / 1e6:.0f} MB more at its peak;"
            f" {report.condemned} packs given up, {report.compacted} compacted,"
            f" {report.freed_bytes / 1e6:.0f} MB freed"
        )
        assert report.missing == 0
        volume.close()


def _tiny(volume: Volume, store: PackStore, root: Ino, number: int) -> None:
    plains = [b"%064d" % (number * GROUP + at) for at in range(GROUP)]
    blocks = [Block(block_id(plain), RAW, SIZE, plain) for plain in plains]
    hints = store.put(blocks)
    extents = tuple(
        Extent(at * SIZE, SIZE, block.id, 0, hint)
        for at, (block, hint) in enumerate(zip(blocks, hints, strict=True))
    )
    ino = volume.new_ino()
    create = Create(root, b"f%d" % number, ino, 0o100644, 0, 0)
    volume.session.submit((create, Write(ino, extents, GROUP * SIZE)), packs=tuple(set(hints)))


def _peak() -> int:
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=20_000_000, help="of the second scrub, bytes a second")
    parser.add_argument("--blocks", type=int, default=1_000_000)
    chosen = parser.parse_args()
    home = make_scratch()
    try:
        if chosen.megabytes:
            scrub(home, chosen.megabytes, chosen.rate)
        if chosen.blocks:
            collect(home, chosen.blocks)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
