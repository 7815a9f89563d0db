"""The tables, and the numbered steps that bring an older database to them."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import gravitonfs
from graviton_server.namespace.engine import DatabaseError, SqliteEngine, connect, translate
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Exists, FormatError, NotFound

APPLICATION_ID: Final = 0x47525654  # "GRVT", in the file's header: `file` and check tools see whose it is
FIRST_FREE_INO: Final = 16

INODE_COLUMNS: Final = (
    "ino, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, btime, content, version,"
    " flags, born, volume, target"
)
CONTENT_COLUMNS: Final = "id, kind, length, version, digest, base, base_limit, depth, refs, changed, born"

_INODE = """
    ino INTEGER {key}, mode INTEGER NOT NULL, nlink INTEGER NOT NULL, uid INTEGER NOT NULL,
    gid INTEGER NOT NULL, rdev INTEGER NOT NULL, size INTEGER NOT NULL, atime INTEGER NOT NULL,
    mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, btime INTEGER NOT NULL, content INTEGER NOT NULL,
    version INTEGER NOT NULL, flags INTEGER NOT NULL, born INTEGER NOT NULL, volume INTEGER NOT NULL,
    target BLOB"""
_NAME = "parent INTEGER NOT NULL, name BLOB NOT NULL, ino INTEGER NOT NULL, born INTEGER NOT NULL"
_CONTENT = """
    id INTEGER {key}, kind INTEGER NOT NULL, length INTEGER NOT NULL, version INTEGER NOT NULL,
    digest BLOB, base INTEGER NOT NULL, base_limit INTEGER NOT NULL, depth INTEGER NOT NULL,
    refs INTEGER NOT NULL, changed INTEGER NOT NULL, born INTEGER NOT NULL"""
_REGION = """
    content INTEGER NOT NULL, region INTEGER NOT NULL, seq INTEGER NOT NULL, born INTEGER NOT NULL,
    data BLOB NOT NULL"""
_XATTR = "ino INTEGER NOT NULL, name BLOB NOT NULL, born INTEGER NOT NULL, value BLOB NOT NULL"

# Key columns come first everywhere: older SQLite releases misjudge other tables without rowid in quick_check.
VERSION_1: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE volumes (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, root INTEGER NOT NULL,
    logical_bytes INTEGER NOT NULL, inodes INTEGER NOT NULL, created INTEGER NOT NULL);
CREATE TABLE snapshots (
    volume INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY (volume, name)) WITHOUT ROWID;

CREATE TABLE inodes ({_INODE.format(key="PRIMARY KEY")});
CREATE INDEX inodes_content ON inodes (content) WHERE content <> 0;
CREATE TABLE inodes_history ({_INODE.format(key="NOT NULL")}, died INTEGER NOT NULL);
CREATE INDEX inodes_history_ino ON inodes_history (ino, died);
CREATE INDEX inodes_history_content ON inodes_history (content) WHERE content <> 0;

CREATE TABLE names ({_NAME}, PRIMARY KEY (parent, name)) WITHOUT ROWID;
CREATE INDEX names_ino ON names (ino);
CREATE TABLE names_history (
    parent INTEGER NOT NULL, name BLOB NOT NULL, died INTEGER NOT NULL, ino INTEGER NOT NULL,
    born INTEGER NOT NULL, PRIMARY KEY (parent, name, died)) WITHOUT ROWID;

CREATE TABLE xattrs ({_XATTR}, PRIMARY KEY (ino, name)) WITHOUT ROWID;
CREATE TABLE xattrs_history (
    ino INTEGER NOT NULL, name BLOB NOT NULL, died INTEGER NOT NULL, born INTEGER NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (ino, name, died)) WITHOUT ROWID;

CREATE TABLE contents ({_CONTENT.format(key="PRIMARY KEY")});
CREATE INDEX contents_base ON contents (base) WHERE base <> 0;
CREATE INDEX contents_unused ON contents (id) WHERE refs = 0;
CREATE INDEX contents_undigested ON contents (changed) WHERE digest IS NULL;
CREATE TABLE contents_history ({_CONTENT.format(key="NOT NULL")}, died INTEGER NOT NULL);
CREATE INDEX contents_history_id ON contents_history (id, died);
CREATE INDEX contents_history_base ON contents_history (base) WHERE base <> 0;

CREATE TABLE regions ({_REGION}, PRIMARY KEY (content, region, seq)) WITHOUT ROWID;
CREATE TABLE regions_history (
    content INTEGER NOT NULL, region INTEGER NOT NULL, seq INTEGER NOT NULL, died INTEGER NOT NULL,
    born INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (content, region, seq, died)) WITHOUT ROWID;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, volume INTEGER NOT NULL, label TEXT NOT NULL, incarnation INTEGER NOT NULL,
    last INTEGER NOT NULL, version INTEGER NOT NULL, replies BLOB NOT NULL);
CREATE TABLE claims (
    ino INTEGER NOT NULL, session INTEGER NOT NULL, PRIMARY KEY (ino, session)) WITHOUT ROWID;
CREATE INDEX claims_session ON claims (session);
CREATE TABLE doomed (ino INTEGER PRIMARY KEY);
CREATE TABLE ragged (content INTEGER PRIMARY KEY);

CREATE TABLE packs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uuid BLOB NOT NULL UNIQUE, state TEXT NOT NULL,
    owner TEXT NOT NULL, length INTEGER NOT NULL, blocks INTEGER NOT NULL, created INTEGER NOT NULL,
    relied INTEGER NOT NULL, changed INTEGER NOT NULL, footer BLOB);
CREATE TABLE loose (
    n INTEGER PRIMARY KEY, id BLOB NOT NULL, codec INTEGER NOT NULL,
    plain_length INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE blob_refs (
    volume INTEGER NOT NULL, digest BLOB NOT NULL, length INTEGER NOT NULL, content INTEGER NOT NULL,
    created INTEGER NOT NULL, PRIMARY KEY (volume, digest, length)) WITHOUT ROWID;
CREATE TABLE records (
    volume INTEGER NOT NULL, space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (volume, space, key)) WITHOUT ROWID;
"""

VERSION_2: Final = """
CREATE TABLE redo (epoch BLOB NOT NULL);
"""

# A leased session belongs to another process and outlives this one; it proves itself by its secret.
VERSION_3: Final = """
ALTER TABLE sessions ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN secret BLOB;
CREATE INDEX blob_refs_content ON blob_refs (content) WHERE content <> 0;
"""

# Who waits for the lease of a dead one's session need not wait: also after a restart of the daemon.
VERSION_4: Final = """
ALTER TABLE sessions ADD COLUMN process TEXT NOT NULL DEFAULT '';
"""

# Without rows of targets the packs are on the one that the configuration names.
VERSION_5: Final = """
CREATE TABLE targets (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, zone TEXT NOT NULL,
    weight REAL NOT NULL, capacity INTEGER NOT NULL, copies INTEGER NOT NULL, zones INTEGER NOT NULL,
    state TEXT NOT NULL, location TEXT NOT NULL);
CREATE TABLE replicas (
    pack INTEGER NOT NULL, target INTEGER NOT NULL, state TEXT NOT NULL, due INTEGER NOT NULL,
    PRIMARY KEY (pack, target)) WITHOUT ROWID;
CREATE INDEX replicas_work ON replicas (due) WHERE state <> 'stored';
"""

# What lost its last name, and where it was. A version that does not know of it would free none of it.
VERSION_6: Final = """
CREATE TABLE trash (
    ino INTEGER PRIMARY KEY, volume INTEGER NOT NULL, parent INTEGER NOT NULL, name BLOB NOT NULL,
    removed INTEGER NOT NULL);
CREATE INDEX trash_parent ON trash (parent, name);
CREATE INDEX trash_removed ON trash (volume, removed);
"""

# What may lie below a directory, and what does; -1: no limit.
VERSION_7: Final = """
CREATE TABLE quotas (
    ino INTEGER PRIMARY KEY, volume INTEGER NOT NULL, max_bytes INTEGER NOT NULL,
    max_inodes INTEGER NOT NULL, bytes INTEGER NOT NULL, inodes INTEGER NOT NULL, counting INTEGER NOT NULL);
"""

Step = Callable[[SqliteEngine], None]


def _version_1(engine: SqliteEngine) -> None:
    engine.script(VERSION_1)


def _version_2(engine: SqliteEngine) -> None:
    """Records of the redo log: a version that does not know them must not open the database."""
    engine.script(VERSION_2)


def _version_3(engine: SqliteEngine) -> None:
    engine.script(VERSION_3)


def _version_4(engine: SqliteEngine) -> None:
    engine.script(VERSION_4)


def _version_5(engine: SqliteEngine) -> None:
    """A version that does not know of copies must not delete or write packs."""
    engine.script(VERSION_5)


def _version_6(engine: SqliteEngine) -> None:
    engine.script(VERSION_6)


def _version_7(engine: SqliteEngine) -> None:
    """A version that does not know of quotas must not write past them."""
    engine.script(VERSION_7)


STEPS: Final[tuple[Step, ...]] = (
    _version_1, _version_2, _version_3, _version_4, _version_5, _version_6, _version_7,
)  # fmt: skip
"""Step n (from 1) makes schema n of schema n - 1, inside one transaction."""
SCHEMA_VERSION: Final = len(STEPS)


_SET_RELEASE: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES ('release', ?)"


def migrate(engine: SqliteEngine, steps: tuple[Step, ...] = STEPS) -> int:
    """Bring the database to the newest schema; each step commits by itself. Returns the old version."""
    found: int = engine.execute("PRAGMA user_version").fetchone()[0]
    if found > len(steps):
        raise newer("the namespace database", Format.SQLITE, found, release=_release(engine))
    for number in range(found + 1, len(steps) + 1):
        engine.begin()
        try:
            steps[number - 1](engine)
            engine.execute(f"PRAGMA user_version={number}")
            engine.execute(_SET_RELEASE, (gravitonfs.__version__,))
            engine.commit()
        except BaseException:
            engine.rollback()
            raise
    return found


def _release(engine: SqliteEngine | sqlite3.Connection) -> str:
    """That has made the schema what it is, for those who are too old for it."""
    try:
        row = engine.execute("SELECT value FROM meta WHERE key = 'release'").fetchone()
    except DatabaseError:
        return ""
    return "" if row is None else str(row[0])


def create_file(path: Path, steps: tuple[Step, ...] = STEPS) -> SqliteEngine:
    """An empty database of the newest schema (or an older one); its name is not yet durable."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise Exists(f"{path} exists already") from None
    except FileNotFoundError:
        raise NotFound(f"{path.parent} does not exist") from None
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}").fetchall()
    finally:
        connection.close()
    engine = SqliteEngine(path)
    try:
        migrate(engine, steps)
    except BaseException:
        engine.close()
        raise
    return engine


def first_rows(engine: SqliteEngine, fmt: VolumeFormat, store_uuid: bytes) -> None:
    """What an empty store holds: its identity, and the volume ``main`` with its root."""
    now = time.time_ns()
    for key, value in (
        ("store_uuid", store_uuid),
        ("format", fmt.to_json()),
        ("incarnation", 0),
        ("next_ino", FIRST_FREE_INO),
        ("next_content", 1),
        ("version", 1),
    ):
        engine.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
    engine.execute("INSERT INTO volumes VALUES (1, 'main', ?, 0, 1, ?)", (ROOT_INO, now))
    engine.execute(
        f"INSERT INTO inodes ({INODE_COLUMNS}) VALUES (?, ?, 2, ?, ?, 0, 0, ?, ?, ?, ?, 0, 0, 0, 1, 1, NULL)",
        (ROOT_INO, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), now, now, now, now),
    )


def create(path: Path, fmt: VolumeFormat, store_uuid: bytes) -> None:
    """A new store; durable, its directory entry included, when this returns."""
    fmt.check()
    try:
        engine = create_file(path)
        try:
            engine.begin()
            first_rows(engine, fmt, store_uuid)
            engine.commit()
            engine.checkpoint("TRUNCATE")
        finally:
            engine.close()
    except DatabaseError as error:
        raise translate(error) from error
    sync_directory(path.parent)


def _refuse_newer(path: Path) -> None:
    """By a connection that can write nothing: opened as usual, what is in the log would be moved."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        ours = connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        if ours and found > SCHEMA_VERSION:
            raise newer("the namespace database", Format.SQLITE, found, release=_release(connection))
        if ours and found:
            chosen = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
            if chosen is not None:
                VolumeFormat.from_json(chosen[0])
    finally:
        connection.close()


def open_file(path: Path) -> SqliteEngine:
    """An existing database, brought to the newest schema."""
    if not path.exists():
        raise NotFound(f"there is no namespace database at {path}")
    try:
        _refuse_newer(path)
        engine = SqliteEngine(path)
        try:
            if engine.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise FormatError(f"{path} is no namespace database")
            engine.execute("PRAGMA journal_mode=WAL").fetchall()
            migrate(engine)
        except BaseException:
            engine.close()
            raise
    except DatabaseError as error:
        raise translate(error) from error
    return engine
