"""The names of an embedded volume, which one process has open."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from graviton_server.lock import DataLock
from graviton_server.namespace.store import NamespaceStore
from graviton_server.wiring.options import EngineOptions
from gravitonfs.errors import NotFound

NAMESPACE: Final = "namespace.db"
STORE: Final = "store"


class OpenedNames:
    """The names of an embedded volume, which nobody else may have open. Raises as ``open_embedded``."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self.lock = DataLock(path / "lock")
        try:
            if not (path / STORE).exists():
                raise NotFound(
                    f"{path} has no packs: when its configuration keeps them in a bucket, commands need a"
                    f" running 'graviton serve'; otherwise the file {STORE!r} is missing"
                )
            self.store = NamespaceStore.open(
                path / NAMESPACE, max_file_size=options.max_file_size, trash_age_ns=options.trash_age_ns
            )
        except BaseException:
            self.lock.release()
            raise
