"""A process that wants its volume's lease: ``python -m rpc.lease_holder remote ADDRESS FILE`` or ``… postgres
CONNINFO SILENCE FILE``. FILE tells how often it has looked, and when it last trusted the lease (monotonic).
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

from gravitonfs.ports.namespace import Namespace

RECORD = struct.Struct("<Qd")


def main() -> None:
    kind, where, *more = sys.argv[1:]
    path = Path(more[-1])
    if kind == "remote":
        namespace = remote(where)
    else:
        namespace = direct(where, float(more[0]))
    path.write_bytes(bytes(RECORD.size))
    looked, trusted = 0, 0.0
    with path.open("r+b") as file, mmap.mmap(file.fileno(), RECORD.size) as told:
        while True:
            now = time.monotonic()
            if namespace.trusted_until() > now:
                trusted = now
            looked += 1
            told[:] = RECORD.pack(looked, trusted)
            time.sleep(0.002)


def remote(address: str) -> Namespace:
    from gravitonfs.client.connection import Connection
    from gravitonfs.client.endpoint import Endpoint
    from gravitonfs.client.remote_namespace import RemoteNamespace

    connection = Connection(Endpoint((address,)))
    return RemoteNamespace(
        connection, label="holder", listener=lambda changes: None, recall=lambda: None, timeout=30
    )


def direct(conninfo: str, silence: float) -> Namespace:
    from graviton_server.namespace.postgres.store import PostgresStore, Settings

    store = PostgresStore.open(Settings(conninfo, pool_size=4, silence=silence))
    return store.attach(label="holder", listener=lambda changes: None, recall=lambda: None)


if __name__ == "__main__":
    main()
