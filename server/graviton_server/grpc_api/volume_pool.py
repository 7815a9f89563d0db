"""The API's own sessions on volumes: attached on first use, let go when idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from graviton_server.grpc_api.backend import Backend
from gravitonfs.content.volume import Volume
from gravitonfs.errors import GravitonError

_LABEL: Final = "grpc"


class _Pooled:
    __slots__ = ("idle_since", "users", "volume")

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.users = 0
        self.idle_since = 0.0


class VolumePool:
    """``_lock`` guards the table and is held while a volume is attached."""

    def __init__(self, backend: Backend, idle: float) -> None:
        self._backend = backend
        self._idle = idle
        self._lock = threading.Lock()
        self._volumes: dict[str, _Pooled] = {}

    @contextmanager
    def use(self, name: str) -> Iterator[Volume]:
        with self._lock:
            found = self._volumes.get(name)
            if found is None:
                found = self._volumes[name] = _Pooled(self._backend.volume(name, _LABEL))
            found.users += 1
        try:
            yield found.volume
        finally:
            with self._lock:
                found.users -= 1
                found.idle_since = time.monotonic()

    def let_go(self, name: str | None = None) -> None:
        """Those that nobody uses and that were idle long enough; ``name``: that one, however short."""
        limit = time.monotonic() - self._idle
        with self._lock:
            for key, pooled in list(self._volumes.items()):
                if not pooled.users and (key == name or pooled.idle_since < limit):
                    del self._volumes[key]
                    pooled.volume.close()

    def close(self) -> None:
        with self._lock:
            volumes = [pooled.volume for pooled in self._volumes.values()]
            self._volumes.clear()
        for volume in volumes:
            try:
                volume.close()
            except GravitonError:
                pass  # the store tells it when it is closed
