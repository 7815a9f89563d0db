"""What a process that has a volume open offers to commands, its own and those of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from graviton_server.control.answers import MountPoint
from gravitonfs.content.pool import IDLE, VolumePool
from gravitonfs.errors import GravitonError, Internal

if TYPE_CHECKING:
    from pathlib import Path

    from graviton_server.control.server import ControlServer
    from graviton_server.control.tallies import Tallies
    from graviton_server.wiring import Engine
    from graviton_webdav.app import WebDavServer
    from gravitonfs.content.volume import Volume

MAIN: Final = "main"
_request: ContextVar[ExitStack | None] = ContextVar("request", default=None)
"""What the request that this thread answers has borrowed."""


class Service:
    """An open engine with what is served from it.

    ``pool``: the sessions of its front ends and commands. ``_lock`` guards the list of mounts.
    """

    def __init__(self, engine: Engine, role: str, *, idle: float = IDLE) -> None:
        self.engine = engine
        self.role = role
        self.started = time.time()
        self.webdav_server: WebDavServer | None = None
        self.tallies: Tallies | None = None
        """Of the HTTP API, while it is served."""
        self.grpc_tallies: Tallies | None = None
        self.http: str | None = None
        self.grpc: str | None = None
        self.server: ControlServer | None = None
        self.pool = VolumePool(lambda name: engine.volume(role, name=name), idle)
        self._records = VolumePool(engine.background_volume, idle)
        self._lock = threading.Lock()
        self._mounts: dict[str, MountPoint] = {}
        self._failures: dict[str, GravitonError | None] = {}

    @property
    def data(self) -> Path:
        return self.engine.home

    @property
    def volume(self) -> Volume:
        """What the request at hand works on: attached until its end (``request``)."""
        held = _request.get()
        if held is None:
            raise Internal("there is no request that would let the volume go again")
        return held.enter_context(self.pool.volume(MAIN))

    def records(self) -> AbstractContextManager[Volume]:
        """For what is kept beside the files, such as tokens: nobody's lease ends for it."""
        return self._records.volume(MAIN)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Around the answer to one."""
        with ExitStack() as held:
            before = _request.set(held)
            try:
                yield
            finally:
                _request.reset(before)

    @property
    def webdav(self) -> str | None:
        """The gateway's address."""
        return self.webdav_server.url if self.webdav_server is not None else None

    @property
    def mounts(self) -> list[MountPoint]:
        return list(self._mounts.values())

    def mounted(self, mount: MountPoint) -> None:
        with self._lock:
            self._mounts[mount.path] = mount

    def unmounted(self, path: str, failure: GravitonError | None = None) -> None:
        """``failure``: why not everything that was written to the mount could be stored."""
        with self._lock:
            self._mounts.pop(path, None)
            self._failures[path] = failure

    def failure_of(self, path: str) -> GravitonError | None:
        return self._failures.get(path)

    def pending_bytes(self) -> int:
        """Accepted from writers, and not stored yet."""
        return self.engine.content.dirty.used

    def listen(self) -> None:
        """Answer on the control socket from now on."""
        from graviton_server.control.server import ControlServer

        self.server = ControlServer(self, self.data)

    def close(self, *, wait: float | None = None, waiting: Callable[[int], None] | None = None) -> None:
        """Let commands of other processes finish (``wait`` seconds at most, None: however long), then
        close the engine, which stores everything. Idempotent."""
        if self.server is not None:
            if self.server.clients and waiting is not None:
                waiting(self.server.clients)
            try:
                self.server.wait_idle(wait)
            finally:
                self.server.close()
                self.server = None
        self.pool.close()
        self._records.close()
        self.engine.close()
