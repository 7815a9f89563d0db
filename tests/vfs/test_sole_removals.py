"""A sole mount of a daemon removes what its kernel has just looked up, and waits for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.client.volumes import open_volume
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.vfs.vfs import Vfs
from harness.waiting import wait_until
from rpc.serving import connected, serving
from vfs.test_files_ahead import Calls

NAMES = [b"%d" % number for number in range(50)]
MODES = {"unlink": 0o100644, "rmdir": 0o040755}


@pytest.fixture
def sole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Vfs, Calls]]:
    create_embedded(tmp_path / "data")
    options = EngineOptions(memory=48 << 20, background=False)
    with (
        Engine(tmp_path / "data", options) as engine,
        serving(engine) as server,
        connected(server) as connection,
    ):
        found: list[Vfs] = []
        volume = open_volume(
            connection,
            claims=lambda ino: bool(found) and found[0].claims(ino),
            listener=lambda changes: None,
            recall=lambda: None,
        )
        names = volume.namespace
        assert isinstance(names, CachingNamespace)
        wait_until(names.trusted, "the mount to be alone")
        found.append(Vfs(volume))
        yield found[0], Calls(connection, monkeypatch)
        volume.close()


@pytest.mark.parametrize("how", MODES)
def test_what_was_looked_up_is_removed_without_a_call(sole: tuple[Vfs, Calls], how: str) -> None:
    vfs, calls = sole
    remove = vfs.unlink if how == "unlink" else vfs.rmdir
    for name in NAMES:
        assert vfs.lookup(ROOT_INO, name) is None
        vfs.make(ROOT_INO, name, MODES[how], 0, 0)
    vfs.volume.commit()
    calls.count.clear()
    for name in NAMES:
        assert vfs.lookup(ROOT_INO, name) is not None
        remove(ROOT_INO, name)
    vfs.volume.commit()
    assert calls.count.total() <= 10, calls.count
    assert vfs.namespace.entries(ROOT_INO, None, 100) == []
