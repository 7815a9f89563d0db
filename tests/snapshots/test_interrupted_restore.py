"""What a restore leaves whose process died is removed by a later one; one that is at work is left alone."""

from __future__ import annotations

import logging
import stat
import time
from pathlib import Path

import pytest

from graviton_server.control.restoring import restore
from gravitonfs.ports.ops import Create, SetAttr
from maintenance.rig import MIB, Rig, noise

HOUR_NS = 3600 * 10**9


def test_the_next_one_clears_up(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(scratch / "data")
    volume = rig.volume
    folder = volume.submit_for_attr(Create(rig.root, b"d", volume.new_ino(), stat.S_IFDIR | 0o755, 0, 0)).ino
    for name in (b"one", b"two"):
        with volume.stage(mode=0o644, uid=0, gid=0) as staged:
            staged.write(noise(MIB))
            staged.publish(folder, name)
    rig.engine.namespace_store.create_snapshot("main", "s")

    def abandoned(name: bytes, age_ns: int) -> None:
        ino = volume.new_ino()
        volume.submit(Create(rig.root, name, ino, stat.S_IFDIR | 0o700, 0, 0))
        volume.submit(Create(ino, b"file", volume.new_ino(), stat.S_IFREG | 0o600, 0, 0))
        volume.submit(SetAttr(ino, ctime_ns=time.time_ns() - age_ns))

    abandoned(b".restoring-0123456789abcdef", 2 * HOUR_NS)
    abandoned(b".restoring-fedcba9876543210", HOUR_NS // 60)
    abandoned(b".restoring-my-notes", 2 * HOUR_NS)
    with caplog.at_level(logging.WARNING):
        restore(volume, "s", b"/d", b"/again", force=False, check=lambda files: None)
    assert "the rest of a restore that was interrupted is removed" in caplog.text
    assert rig.names() == [".restoring-fedcba9876543210", ".restoring-my-notes", "again", "d"]
    rig.maintenance.settle(60)
    rig.assert_sound()
    rig.close()
