"""Makes the golden file of PostgreSQL's newest schema: run once, when it is new, never again for it.

``python -m golden.make_postgres DIRECTORY`` (in ``tests``) writes ``postgres-<schema>.sql`` for ``psql``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from graviton_server.namespace.postgres.schema import SCHEMA_VERSION
from gravitonfs.core.ids import BlockId
from gravitonfs.core.processes import myself
from gravitonfs.ports.ops import Create, LooseBlock
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from harness.postgres import PostgresServer, debian_binaries
from namespace.postgres_stores import PostgresStores
from namespace.test_schema import lose, populate


def fill(stores: PostgresStores) -> None:
    """A bit of everything: also a session that never said goodbye, and a pack of a dead engine."""
    store = stores.open()
    store.trash_age_ns = 10**9
    session = Session(store)
    populate(session)
    lose(session)
    store.quotas.set("main", ROOT, 1 << 30, 1000)
    loose = LooseBlock(BlockId(b"loose".ljust(32)), 0, 5, b"loose")
    session.do(Create(ROOT, b"logged", session.ino(), 0o100644, 0, 0), loose=(loose,), durable=True)
    store.create_snapshot("main", "kept")
    session.make(b"after")
    store.create_volume("second")
    store.packs.begin(bytes(range(16)), "engine-7-dead", PackState.STORING)
    store.attach(label="left", leased=b"secret".ljust(16))
    store.commit()


def main(target: Path) -> None:
    server = PostgresServer(debian_binaries())
    try:
        stores = PostgresStores(server)
        fill(stores)
        name = stores.settings.conninfo.rpartition("dbname=")[2]
        done = subprocess.run(
            [server.binaries / "pg_dump", "-h", server.home, "-U", "graviton", "--no-owner", name],
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        # What newer servers would not take, or the dumping program put in for itself.
        text = done.stdout.replace(myself(), "00000000-0000-4000-8000-000000000000/1/1/1")
        lines = [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
        (target / f"postgres-{SCHEMA_VERSION}.sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
        stores.close()
    finally:
        server.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
