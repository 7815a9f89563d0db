"""Makes the golden files of the newest schema: run once, when it is new, never again for it.

``python -m golden.make_namespace DIRECTORY`` (in ``tests``) writes ``namespace-<schema>.sql`` and ``.redo``:
a database as a crash leaves it, and the redo log that has the rest; ``.dump`` is a dump of both together.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

from graviton_server.namespace.redo import redo_path
from graviton_server.namespace.schema import APPLICATION_ID, SCHEMA_VERSION
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import BlockId
from gravitonfs.ports.ops import Create, LooseBlock, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from namespace.test_schema import lose, populate


def crashed(folder: Path) -> Path:
    """A database whose last changes are in its redo log alone."""
    path = folder / "live" / "namespace.db"
    path.parent.mkdir()
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    store = NamespaceStore.open(path, group_seconds=3600, trash_age_ns=10**9)
    session = Session(store)
    populate(session)
    lose(session)
    store.quotas.set("main", ROOT, 1 << 30, 1000)
    store.commit()
    loose = LooseBlock(BlockId(b"loose".ljust(32)), 0, 5, b"loose")
    session.do(Create(ROOT, b"logged", session.ino(), 0o100644, 0, 0), loose=(loose,), durable=True)
    session.make(b"soon gone")
    session.do(Unlink(ROOT, b"soon gone"))
    session.do(Unlink(ROOT, b"pipe"), durable=True)
    copy = folder / "crashed"
    shutil.copytree(path.parent, copy, ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    return copy / path.name


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = crashed(Path(scratch))
        name = target / f"namespace-{SCHEMA_VERSION}"
        name.with_suffix(".redo").write_bytes(redo_path(path).read_bytes().rstrip(b"\0"))
        connection = sqlite3.connect(path)
        lines = [*connection.iterdump()]
        connection.close()
        lines += [f"PRAGMA application_id={APPLICATION_ID};", f"PRAGMA user_version={SCHEMA_VERSION};"]
        name.with_suffix(".sql").write_text("\n".join(lines) + "\n", encoding="utf-8")
        store = NamespaceStore.open(path)
        name.with_suffix(".dump").write_bytes(b"".join(store.upkeep.dump()))
        store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
