"""The schema on PostgreSQL: made once, migrated once, dumps that either engine reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from graviton_server.namespace.postgres import schema
from graviton_server.namespace.postgres.store import PostgresStore
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.hashing import block_id
from gravitonfs.errors import Exists, FormatError, GravitonError, NotFound
from gravitonfs.ports.ops import Clone, LooseBlock, SetXattr
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores, both

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
DATABASES = sorted(GOLDEN.glob("postgres-*.sql"))


def test_daemons_that_start_together_migrate_once(postgres: PostgresServer) -> None:
    stores = PostgresStores(postgres)
    ran: list[int] = []

    def slow(connection: schema.Connection) -> None:
        ran.append(1)
        connection.execute("SELECT pg_sleep(0.3)")
        connection.execute("CREATE TABLE of_version_2 (n bigint)")

    def migrate() -> None:
        import psycopg

        with psycopg.connect(stores.settings.conninfo, autocommit=True) as connection:
            schema.migrate(connection, (*schema.STEPS, slow))

    both(migrate, migrate, migrate)
    assert ran == [1]
    with pytest.raises(FormatError, match=f"schema {schema.SCHEMA_VERSION + 1}"):
        stores.open()
    stores.close()


def test_a_step_that_fails_leaves_the_schema_as_it_was(postgres: PostgresServer) -> None:
    import psycopg

    stores = PostgresStores(postgres)

    def broken(connection: schema.Connection) -> None:
        connection.execute("CREATE TABLE half (n bigint)")
        connection.execute("SELECT 1 / 0")

    with psycopg.connect(stores.settings.conninfo, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            schema.migrate(connection, (*schema.STEPS, broken))
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
    stores.open().close()
    stores.close()


def test_what_stands_in_the_way_is_told(postgres: PostgresServer) -> None:
    stores = PostgresStores(postgres)
    with pytest.raises(Exists):
        PostgresStore.create(stores.settings, VolumeFormat(), bytes(16))
    empty = stores.settings._replace(conninfo=postgres.database())
    with pytest.raises(NotFound):
        PostgresStore.open(empty)
    with pytest.raises(GravitonError, match="does not answer"):
        PostgresStore.open(stores.settings._replace(conninfo="host=/nowhere dbname=x"))
    stores.close()


def test_a_dump_goes_from_engine_to_engine(postgres: PostgresServer, tmp_path: Path) -> None:
    """SQLite to PostgreSQL and back: the same lines, but for times and what is reserved."""
    path = tmp_path / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), b"store uuid 16 by")
    embedded = NamespaceStore.open(path)
    session = Session(embedded)
    ino = session.make(b"f").ino
    session.write(ino, 0, b"bytes")
    session.do(SetXattr(ino, b"user.\xff", b"\x00value"), loose=(LooseBlock(block_id(b"l"), 0, 1, b"l"),))
    session.do(Clone(ino, ROOT, b"copy", session.ino(), 0, 0))
    first = b"".join(embedded.upkeep.dump())
    embedded.close()

    stores = PostgresStores(postgres)
    settings = stores.settings._replace(conninfo=postgres.database())
    PostgresStore.load(settings, [first])
    with pytest.raises(Exists):
        PostgresStore.load(settings, [first])
    store = PostgresStore.open(settings)
    loaded = Session(store)
    assert loaded.names() == [b"copy", b"f"]
    assert loaded.read(loaded.find(b"copy").ino) == b"bytes"
    assert loaded.ns.xattr(loaded.find(b"f").ino, b"user.\xff") == b"\x00value"
    assert store.loose.loose_bytes() == 1
    assert loaded.problems() == []
    loaded.write(loaded.make(b"new").ino, 0, b"more")
    second = b"".join(store.upkeep.dump())
    usage = loaded.ns.usage()
    store.close()

    back = tmp_path / "back.db"
    NamespaceStore.load(back, [second])
    again = NamespaceStore.open(back)
    session = Session(again)
    assert session.names() == [b"copy", b"f", b"new"]
    assert session.ns.usage() == usage
    assert session.problems() == []
    again.close()
    stores.close()


def test_the_first_and_the_newest_schema_have_a_golden_file() -> None:
    assert {path.stem for path in DATABASES} >= {"postgres-1", f"postgres-{schema.SCHEMA_VERSION}"}


@pytest.mark.parametrize("golden", DATABASES, ids=lambda path: path.stem)
def test_every_database_is_read_for_ever(postgres: PostgresServer, golden: Path) -> None:
    settings = PostgresStores(postgres).settings
    settings = settings._replace(conninfo=postgres.database())
    subprocess.run(
        [postgres.binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", settings.conninfo, "-f", golden],
        check=True, capture_output=True,
    )  # fmt: skip
    store = PostgresStore.open(settings)
    session = Session(store)
    names = [b"after", b"copy", b"directory", b"hard", b"link", b"logged", b"pipe"]
    assert session.names() == names
    assert session.problems() == []
    assert [row.name for row in store.volume_rows()] == ["main", "second"]
    assert {row.label for row in store.sessions()} >= {"left"}, "a session that may still be resumed"
    [(version,)] = store.ask("SELECT version FROM snapshots WHERE name = 'kept'", ())
    then = store.attach(label="then", at=version)
    assert [entry.name for entry in then.entries(ROOT, None, 100)] == names[1:]
    assert store.packs.abandon_dead(0)
    session.write(session.make(b"new").ino, 0, b"goes on")
    assert b'"after"' in b"".join(store.upkeep.dump())
    store.close()
    again = PostgresStore.open(settings)
    assert Session(again).names() == sorted([*names, b"new"])
    again.close()
