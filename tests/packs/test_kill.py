"""A writer killed at any moment: every acknowledged block is there afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.ports.packs import PackState
from packs.engine import SmallEngine


def write_and_kill(root: Path, lines: int) -> list[tuple[BlockId, PackNumber]]:
    """What a writer, killed some time after so many acknowledgements, had acknowledged."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, "-m", "packs.engine", str(root)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()
    result = []
    for line in told:
        if line.endswith(b"\n"):
            block, pack = line.split()
            result.append((BlockId(bytes.fromhex(block.decode())), PackNumber(int(pack))))
    return result


def kill_loop(root: Path, rounds: int) -> None:
    acknowledged: list[tuple[BlockId, PackNumber]] = []
    for _ in range(rounds):
        told = write_and_kill(root, random.randrange(1, 120))
        assert told
        acknowledged += told
        engine = SmallEngine(root)
        assert 0 not in engine.store.missing([block for block, _ in acknowledged])
        assert sum(1 for _ in engine.store.get(acknowledged)) == len(acknowledged)  # get verifies
        rows = engine.namespace.packs.rows()
        open_rows = [row for row in rows if row.state is PackState.LIVE and not row.length]
        assert not open_rows  # all that the dead process left open is sealed
        files = {info.key for info in engine.target.list("packs/")}
        assert files <= {engine.store.pack_path(row.number) for row in rows}  # none is left to nobody
        engine.close()


def test_acknowledged_blocks_survive_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 5)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_acknowledged_blocks_survive_many_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 60)
