"""The stores that the suites open: SQLite, in a directory of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.testing.namespace_suite.driver import session, store

__all__ = ["session", "store"]


class SqliteStores:
    """One database; opened again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: list[NamespaceStore] = []
        NamespaceStore.create(path, VolumeFormat(), b"store uuid 16 by")

    def open(self, group_seconds: float = 1.0) -> NamespaceStore:
        opened = NamespaceStore.open(self.path, group_seconds=group_seconds)
        self._opened.append(opened)
        return opened

    def spoil(self, directory: int, size: int, inodes: int, *, counting: bool = False) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(
                "UPDATE quotas SET bytes = ?, inodes = ?, counting = ? WHERE ino = ?",
                (size, inodes, int(counting), directory),
            )
        connection.close()

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[SqliteStores]:
    result = SqliteStores(tmp_path / "namespace.db")
    yield result
    result.close()
