"""One mount for the tests that only need a directory; those that kill or remount make their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import make_scratch, unmount_below
from harness.programs import Graviton


@pytest.fixture(scope="session")
def shared_mount() -> Iterator[Path]:
    scratch = make_scratch()
    runner = Graviton(scratch)
    runner.run("init", scratch / "data")
    point = scratch / "mnt"
    running = runner.mount(scratch / "data", point, "allow_other")
    yield point
    runner.unmount(running, point)
    runner.close()
    troubles = runner.troubles()
    unmount_below(scratch)
    shutil.rmtree(scratch)
    assert not troubles, troubles


@pytest.fixture
def here(shared_mount: Path, request: pytest.FixtureRequest) -> Path:
    """An empty directory of this test's own on the shared mount."""
    path = shared_mount / request.node.name[:200].replace("/", "_")
    path.mkdir()
    path.chmod(0o755)
    return path
