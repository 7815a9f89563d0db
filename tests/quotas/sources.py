"""Where a volume is, in the ways that commands and mounts reach it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.api import address_in
from harness.programs import Graviton
from rpc.test_serve import address


class Daemon:
    def __init__(self, graviton: Graviton, scratch: Path) -> None:
        self.data = scratch / "data"
        self.running = graviton.start(
            "serve", "--data", self.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        ready = self.running.ready_line()
        self.source = f"graviton://{address(ready, 'grpc')}/main"
        self.http = address_in(ready)


class Mounted:
    """A volume at ``point``, from its directory or from a daemon."""

    def __init__(self, graviton: Graviton, scratch: Path, how: str) -> None:
        self.graviton = graviton
        self.point = scratch / "mnt"
        self.daemon = Daemon(graviton, scratch) if how == "daemon" else None
        self.source: str | Path = scratch / "data"
        if self.daemon is not None:
            self.source = self.daemon.source
        else:
            graviton.run("init", self.source)
        self._running: Any = None
        self.mount()

    def mount(self, options: str = "") -> None:
        self._running = self.graviton.mount(self.source, self.point, *([options] if options else []))  # type: ignore[arg-type]

    def unmount(self) -> None:
        self.graviton.unmount(self._running, self.point)

    def close(self) -> None:
        self.unmount()
        if self.daemon is not None:
            assert self.daemon.running.stop() == 0

    def quota(self, *words: object) -> Any:
        """``words``: a command of ``graviton quota`` with its arguments, the place last."""
        return json.loads(self.graviton.run("quota", *words, "--json").stdout)  # type: ignore[arg-type]
