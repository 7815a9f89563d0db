"""A session of the test's own process that wants a daemon's volume to itself."""

from __future__ import annotations

import time

from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.ports.namespace import Change


class Sole:
    """It asks for the lease, and counts how often it was recalled."""

    def __init__(self, port: int, label: str) -> None:
        self.connection = Connection(Endpoint((f"127.0.0.1:{port}",)))
        self.recalls = 0
        self.told: list[Change] = []
        self.ns = RemoteNamespace(
            self.connection, label=label, listener=self.told.extend, recall=self._recalled, timeout=30
        )

    def _recalled(self) -> None:
        self.recalls += 1

    def holds(self) -> bool:
        return self.ns.trusted_until() > time.monotonic()

    def close(self) -> None:
        self.ns.detach()
        self.connection.close()
