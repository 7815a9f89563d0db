"""A quota that nobody counts to the end is taken up by upkeep."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from graviton_server.maintenance import counting
from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.core.format import VolumeFormat
from gravitonfs.ports.ops import Create
from harness.waiting import wait_until


def test_whose_process_died_in_between(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = scratch / "data"
    create_embedded(data, VolumeFormat())
    with Engine(data, EngineOptions(background=False)) as engine:
        volume = engine.volume("test")
        ino = volume.new_ino()
        volume.submit(Create(volume.namespace.root, b"d", ino, 0o040755, 0, 0))
        volume.submit(Create(ino, b"f", volume.new_ino(), 0o100644, 0, 0))
        volume.close()
        engine.namespace_store.quotas.set("main", ino, None, 1)
    with sqlite3.connect(data / "namespace.db") as connection:
        connection.execute("UPDATE quotas SET inodes = 0, counting = 1")
    connection.close()
    monkeypatch.setattr(counting, "_LOOK", 0.5)
    with Engine(data, EngineOptions()) as engine:
        quotas = engine.namespace_store.quotas
        wait_until(lambda: quotas.rows("main") == [(ino, None, 1, 0, 1, False)], "it is counted")
