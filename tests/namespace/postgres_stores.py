"""Stores on a PostgreSQL server, each in a database of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg

from graviton_server.namespace.postgres.store import PostgresStore, Settings
from gravitonfs.core.format import VolumeFormat
from harness.postgres import PostgresServer


class PostgresStores:
    """One database; opened again and again, or several times at once."""

    def __init__(self, server: PostgresServer, **settings: Any) -> None:
        self.server = server
        self.settings = Settings(server.database(), **{"pool_size": 8, **settings})
        self._opened: list[PostgresStore] = []
        PostgresStore.create(self.settings, VolumeFormat(), b"store uuid 16 by")

    def open(self) -> PostgresStore:
        opened = PostgresStore.open(self.settings)
        self._opened.append(opened)
        return opened

    def spoil(self, directory: int, size: int, inodes: int, *, counting: bool = False) -> None:
        with psycopg.connect(self.settings.conninfo) as connection:
            connection.execute(
                "UPDATE quotas SET bytes = %s, inodes = %s, counting = %s WHERE ino = %s",
                (size, inodes, int(counting), directory),
            )

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.server.drop(self.settings.conninfo)


def both(*calls: Callable[[], None]) -> None:
    """Run these at once; what fails in a thread fails the test."""
    failures: list[BaseException] = []
    together = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        try:
            together.wait(30)
            call()
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
