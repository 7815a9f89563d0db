"""Volumes where also what is new goes to the trash, mounted in both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.programs import Graviton
from rpc.test_serve import address


class Kept:
    """``point`` is a mount; ``source`` names its volume to a command."""

    def __init__(self, graviton: Graviton, scratch: Path, kind: str) -> None:
        self.config = scratch / "graviton.conf"
        self.config.write_text("graviton { trash { days = 1, min-age = 0 } }")
        self.data, self.point = scratch / "data", scratch / "mnt"
        self.point.mkdir(exist_ok=True)
        addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        if kind == "up":
            self.source = str(self.data)
            mount = ("--mount", self.point, "--webdav", "127.0.0.1:0", "-o", "allow_other")
            running = graviton.start("up", "--config", self.config, "--data", self.data, *mount, *addresses)
            running.ready_line()
        else:
            running = graviton.start("serve", "--config", self.config, "--data", self.data, *addresses)
            self.source = f"graviton://{address(running.ready_line(), 'grpc')}/main"
            graviton.mount(self.source, self.point, "allow_other")  # type: ignore[arg-type]


@pytest.fixture(params=["up", "daemon"])
def kept(request: pytest.FixtureRequest, graviton: Graviton, scratch: Path) -> Kept:
    return Kept(graviton, scratch, request.param)
