"""A store from a dump: on an empty machine, from its targets alone or from a file.

Order of durable steps on SQLite: the database under another name, whole, with the rows of packs and copies as
the targets have them; its own name, which makes the volume. On PostgreSQL: the dump in one transaction, which
marks the load as unfinished; the rows; the end of the mark. At the first start, the targets' fence.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import Buffer

from graviton_server.lock import DataLock
from graviton_server.maintenance.backup import plain_lines
from graviton_server.maintenance.reports import Loaded
from graviton_server.maintenance.settling import settle_copies, settle_rows
from graviton_server.namespace.store import NamespaceStore
from graviton_server.replication.members import Members
from graviton_server.replication.target import ReplicatedTarget
from graviton_server.wiring import OWNER, is_volume
from graviton_server.wiring.opened import NAMESPACE
from graviton_server.wiring.replicated import is_replicated
from graviton_server.wiring.targets import open_target, own_row
from gravitonfs.core.durable import sync_directory
from gravitonfs.errors import Exists, FormatError, Invalid, NotADirectory
from gravitonfs.ports.replicas import TargetRow
from gravitonfs.ports.store import EngineNames
from gravitonfs.ports.target import Target, close_target

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import Settings as DatabaseSettings


def load_embedded(path: Path, source: Iterable[Buffer]) -> Loaded:
    """As ``load_sqlite`` of a volume whose packs are in ``path``: another place to which they were copied, or
    one that has lost its database."""
    return load_sqlite(path, [own_row(path)], source)


def load_sqlite(path: Path, rows: Sequence[TargetRow], source: Iterable[Buffer]) -> Loaded:
    """A store with its names in ``path`` from a dump. ``rows``: its own target, which is made where there is
    none, and others that are somewhere else than when the dump was made. Durable when this returns; fsck
    tells what is missing.

    Raises Exists where there is a volume, Invalid where the packs belong to another store, Damaged or
    FormatError for a bad dump; nothing is left of a try that failed.
    """
    made = not path.exists()
    check_free(path)
    path.mkdir(parents=True, exist_ok=True)
    lock = DataLock(path / "lock")
    fresh = path / (NAMESPACE + ".new")
    try:
        fresh.unlink(missing_ok=True)
        NamespaceStore.load(fresh, plain_lines(source))
        store = NamespaceStore.open(fresh)
        try:
            report = settle(store, rows)
        finally:
            store.close()
        for engine in path.glob("engine-*"):
            shutil.rmtree(engine, ignore_errors=True)  # an index of before knows other rows
        os.rename(fresh, path / NAMESPACE)
        for directory in (path, path.parent):
            sync_directory(directory)
    finally:
        for suffix in ("", "-wal", "-shm", "-redo"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        if made and not is_volume(path):
            shutil.rmtree(path, ignore_errors=True)  # while nobody else can have it
        lock.release()
    return report


def check_free(path: Path) -> None:
    """Raises Exists, NotADirectory."""
    if path.exists() and not path.is_dir():
        raise NotADirectory(f"{path} is no directory")
    if is_volume(path):
        raise Exists(f"{path} is a volume already: load into a directory without {NAMESPACE}")


def check_empty(settings: DatabaseSettings) -> None:
    """Raises Exists."""
    from graviton_server.namespace.postgres.store import PostgresStore

    PostgresStore.check_empty(settings)


def load_postgres(settings: DatabaseSettings, rows: Sequence[TargetRow], source: Iterable[Buffer]) -> Loaded:
    """As ``load_sqlite``, into an empty database. What a crash leaves is refused until it is made anew."""
    from graviton_server.namespace.postgres.store import PostgresStore

    PostgresStore.load(settings, plain_lines(source), unfinished=True)
    store = PostgresStore.open(settings, unfinished=True)
    try:
        report = settle(store, rows)
        store.loaded()
    finally:
        store.close()
    return report


def settle(names: EngineNames, rows: Sequence[TargetRow]) -> Loaded:
    """Rows of packs and copies as the targets have them. Idempotent."""
    known = {row.name: row for row in names.replicas.targets()}
    if not is_replicated(names) and len(rows) == 1:
        return _settle_one(names, rows[0])
    for at, row in enumerate(rows):
        before = known.get(row.name)
        names.replicas.save_target(row if before is None else before._replace(location=row.location))
        if at == 0 or before is None:  # what others should have is missed, not made anew: a disk may be away
            close_target(_opened(names, row))
    members = Members(names.replicas, lambda row: open_target(row, names.store_uuid))
    members.refresh()
    target = ReplicatedTarget(members)
    try:
        names.replicas.adopt(names.replicas.targets()[0].number)
        names.replicas.place_by(members.placed)
        places = {member.number: member.target for member in members.all() if member.target is not None}
        report = settle_copies(names.packs, names.replicas, places, target, OWNER)
        away = tuple(member.name for member in members.all() if member.target is None)
        return msgspec.structs.replace(report, targets_away=away)
    finally:
        target.close()


def _settle_one(names: EngineNames, row: TargetRow) -> Loaded:
    target = _opened(names, row)
    try:
        return settle_rows(names.packs, target, OWNER)
    finally:
        close_target(target)


def _opened(names: EngineNames, row: TargetRow) -> Target:
    """Made a target of the store where it is empty."""
    try:
        return open_target(row, names.store_uuid, create=True)
    except FormatError as error:
        raise Invalid(f"the packs on {row.name} do not belong to the dump: {error}") from error
