"""What a daemon needs while many upload at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gravitonfs.client import Client
from rpc.running import daemon

MIB = 1 << 20
UPLOADS = 100
SIZE = 6 * MIB
BUDGET = 128 * MIB
"""Of ``rpc.daemon``."""


def peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_a_hundred_uploads_at_a_time(tmp_path: Path, scratch: Path) -> None:
    """Each has a message or two under way; what they hold beyond that counts against the budget. It took
    608 MiB when messages had 1 MiB."""
    big = memoryview(os.urandom(UPLOADS * MIB // 4 + MIB))

    def pieces(at: int) -> Iterator[memoryview]:
        for _ in range(SIZE // MIB):
            yield big[at * MIB // 4 : at * MIB // 4 + MIB]
            at = (at * 31 + 7) % UPLOADS

    with daemon(scratch / "data", scratch) as running:
        assert running.process is not None
        with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=120) as client:
            client.blobs.put(b"x" * MIB)
            idle = peak(running.process.pid)
            with ThreadPoolExecutor(UPLOADS) as pool:
                made = list(pool.map(lambda at: client.blobs.put(pieces(at)), range(UPLOADS)))
        assert all(one.length == SIZE for one in made)
        needed = peak(running.process.pid) - idle
        running.stop()
    assert needed <= BUDGET + 2 * UPLOADS * MIB
