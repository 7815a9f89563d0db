"""The API's sessions on volumes: attached on first use, let go when nobody has used them for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from graviton_server.http_api.shelf import Shelf
from gravitonfs.content.volume import Volume
from gravitonfs.errors import GravitonError

IDLE: Final = 60.0


class _Pooled:
    __slots__ = ("idle_since", "shelf", "users")

    def __init__(self, volume: Volume) -> None:
        self.shelf = Shelf(volume)
        self.users = 0
        self.idle_since = time.monotonic()


class VolumePool:
    """``_lock`` guards the table and is held while a volume is attached."""

    def __init__(self, attach: Callable[[str], Volume], idle: float = IDLE) -> None:
        self._attach = attach
        self._idle = idle
        self._lock = threading.Lock()
        self._volumes: dict[str, _Pooled] = {}

    @contextmanager
    def use(self, name: str) -> Iterator[Shelf]:
        """Attached for as long as this is held. NotFound."""
        with self._lock:
            self._let_go()
            found = self._volumes.get(name)
            if found is None:
                found = self._volumes[name] = _Pooled(self._attach(name))
            found.users += 1
        try:
            yield found.shelf
        finally:
            with self._lock:
                found.users -= 1
                found.idle_since = time.monotonic()

    def _let_go(self) -> None:
        limit = time.monotonic() - self._idle
        for name, pooled in list(self._volumes.items()):
            if not pooled.users and pooled.idle_since < limit:
                del self._volumes[name]
                pooled.shelf.volume.close()

    def let_go_of(self, name: str) -> None:
        """However short nobody has used it."""
        with self._lock:
            found = self._volumes.get(name)
            if found is not None and not found.users:
                del self._volumes[name]
                found.shelf.volume.close()

    def drop(self, session: int) -> None:
        """A session of ours was ended from outside: the next request attaches anew."""
        with self._lock:
            for name, pooled in list(self._volumes.items()):
                if pooled.shelf.volume.namespace.session == session:
                    del self._volumes[name]

    def close(self) -> None:
        with self._lock:
            volumes = [pooled.shelf.volume for pooled in self._volumes.values()]
            self._volumes.clear()
        for volume in volumes:
            try:
                volume.close()
            except GravitonError:
                pass  # the store tells it when it is closed
