"""The engine that a configuration asks for: which database has the names, and which target the packs.

Order of durable steps where nothing is yet: the database, whole, with the store's UUID; the target's
``store`` object, which names it; on PostgreSQL the mark that the target is made. From then on (on SQLite:
from the first pack on) a target without its object is refused, never made anew.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graviton_server.config.jdbc import conninfo
from graviton_server.lock import DataLock
from graviton_server.namespace.store import NamespaceStore
from graviton_server.replication.settings import Settings
from graviton_server.wiring import (
    NAMESPACE,
    STORE,
    Engine,
    EngineOptions,
    OpenedNames,
    create_embedded,
    is_volume,
    open_embedded,
    open_engine,
)
from graviton_server.wiring.replicated import is_replicated, open_replicated, save_rows, save_settings
from graviton_server.wiring.sharding import NOT_ON_SHARDS, SHARDED, check_kind, shard_rows
from graviton_server.wiring.targets import configured_rows, open_target, own_row
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import Invalid, NotFound, Unavailable
from gravitonfs.ports.target import close_target

if TYPE_CHECKING:
    from graviton_server.config.sections import Config
    from graviton_server.namespace.postgres.store import Settings as DatabaseSettings
    from gravitonfs.ports.store import EngineNames
    from gravitonfs.ports.target import Target

log = logging.getLogger("graviton.engine")

_DATABASE_WAITED_FOR: Final = 60.0
_AGAIN_AFTER: Final = 0.5


def open_configured(config: Config, options: EngineOptions) -> Engine:
    """Made where there is nothing yet. Raises Locked, Invalid, NotFound, FormatError, Unavailable."""
    data = Path(config.data_dir)
    options = replace(options, replication=replication_settings(config))
    if config.database.jdbc_url is not None:
        return _open_shared(config, data, options)
    if config.storage.backend == "directory":
        _targets_of_directory(config, data, options)
        return open_embedded(data, create=True, options=options)
    return _open_on_bucket(config, data, options)


def _targets_of_directory(config: Config, data: Path, options: EngineOptions) -> None:
    """What a configuration says of targets goes into the database before the volume is opened."""
    if not config.storage.targets and not is_volume(data):
        _tell_what_protects(config)
        return
    if not is_volume(data):
        create_embedded(data)
    opened = OpenedNames(data, options)
    try:
        _save(config, data, opened.store)
    finally:
        opened.store.close()
        opened.lock.release()


def _save(config: Config, data: Path, names: EngineNames) -> bool:
    """Targets and settings; whether the store has several targets, or may have."""
    check_kind(config, names, data)
    if config.storage.backend == SHARDED:
        save_rows(names, shard_rows(config))
        save_settings(names, replication_settings(config))
        return True
    if not config.storage.targets and not is_replicated(names):
        _tell_what_protects(config)
        return False
    save_rows(names, configured_rows(data, config))
    save_settings(names, replication_settings(config))
    return True


def _tell_what_protects(config: Config) -> None:
    """One target keeps what copies it keeps by itself, whatever was asked for."""
    keys = config.replication
    own = own_row(Path(config.data_dir), config)
    if keys.factor == 1 and keys.min_zones == 1:
        return
    if keys.factor <= own.copies and keys.min_zones <= own.zones:
        log.warning(
            "graviton.replication: one bucket has all packs; what protects them is that it keeps %d copies in"
            " %d zones by itself, as S3 does",
            own.copies,
            own.zones,
        )
    else:
        log.warning(
            "graviton.replication: %d copies in %d zones are asked for, and there is one target, which keeps"
            " %d: name others in graviton.storage.targets",
            keys.factor,
            keys.min_zones,
            own.copies,
        )


def replication_settings(config: Config) -> Settings:
    keys = config.replication
    return Settings(
        factor=keys.factor,
        min_zones=keys.min_zones,
        strategy=keys.strategy,
        repair=keys.repair.enabled,
        interval=keys.repair.interval,
        jobs=keys.repair.parallel_jobs,
        move_rate=keys.move_bytes_per_second,
    )


# --- names in SQLite, packs in a bucket --------------------------------------------------------------


def _open_on_bucket(config: Config, data: Path, options: EngineOptions) -> Engine:
    """One process at a time: it holds the lock of the data directory."""
    if (data / STORE).exists():
        if config.storage.backend == SHARDED:
            raise Invalid(NOT_ON_SHARDS.format(data))
        raise Invalid(f"{data} is a volume with its packs in it: packs in a bucket need another data-dir")
    data.mkdir(parents=True, exist_ok=True)
    lock = DataLock(data / "lock")
    try:
        names = data / NAMESPACE
        if not names.exists():
            _create_names(names)
        store = NamespaceStore.open(
            names, max_file_size=options.max_file_size, trash_age_ns=options.trash_age_ns
        )
        try:
            target = None
            if _has_one_target(config, store):
                target = _target(config, data, store.store_uuid, create=not store.packs.rows(limit=1))
            replicated = _save(config, data, store)
        except BaseException:
            store.close()
            raise
    except BaseException:
        lock.release()
        raise
    if target is None or replicated:
        if target is not None:
            close_target(target)
        return open_replicated(store, data, options, shared=False, release=lock.release)
    return open_engine(store, target, data, options, release=lock.release)


def _create_names(path: Path) -> None:
    """Whole or not at all, and durable."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    NamespaceStore.create(fresh, VolumeFormat(), uuid.uuid4().bytes)
    os.rename(fresh, path)
    for directory in (path.parent, path.parent.parent):
        sync_directory(directory)


# --- names in PostgreSQL -----------------------------------------------------------------------------


def _open_shared(config: Config, data: Path, options: EngineOptions) -> Engine:
    from graviton_server.namespace.postgres.store import PostgresStore

    if is_volume(data):
        raise Invalid(f"{data} is a volume with its names in it: names in PostgreSQL need another data-dir")
    data.mkdir(parents=True, exist_ok=True)
    settings = database_settings(config, options)

    def make(store_uuid: bytes) -> None:
        if config.storage.backend != SHARDED:  # their rows say that shards are this store's
            close_target(_target(config, data, store_uuid, create=True))

    _when_it_answers(lambda: PostgresStore.found(settings, VolumeFormat(), uuid.uuid4().bytes, make))
    store = PostgresStore.open(settings)
    try:
        target = None
        if _has_one_target(config, store):
            target = _target(config, data, store.store_uuid, create=False)
        replicated = _save(config, data, store)
    except BaseException:
        store.close()
        raise
    if target is None or replicated:
        if target is not None:
            close_target(target)
        return open_replicated(store, data, options, shared=True)
    return open_engine(store, target, data, options, shared=True)


def _has_one_target(config: Config, names: EngineNames) -> bool:
    return config.storage.backend != SHARDED and not is_replicated(names)


def database_settings(config: Config, options: EngineOptions) -> DatabaseSettings:
    from graviton_server.namespace.postgres.store import Settings

    database = config.database
    assert database.jdbc_url is not None
    found = conninfo(database.jdbc_url, user=database.username, password=database.password)
    listen = None
    if database.listen_jdbc_url is not None:
        listen = conninfo(database.listen_jdbc_url, user=database.username, password=database.password)
    return Settings(
        found,
        pool_size=database.pool_size,
        listen=listen,
        max_file_size=options.max_file_size,
        trash_age_ns=options.trash_age_ns,
    )


def _when_it_answers(call: Callable[[], None]) -> None:
    """Daemons are often started together with their database."""
    give_up = time.monotonic() + _DATABASE_WAITED_FOR
    told = False
    while True:
        try:
            return call()
        except Unavailable as error:
            if time.monotonic() > give_up:
                raise Unavailable(
                    f"{error}: start it, or correct graviton.database.jdbc-url (PG_JDBC_URL)"
                ) from error
            if not told:
                log.warning("%s; trying again for %.0f s", error, _DATABASE_WAITED_FOR)
                told = True
        time.sleep(_AGAIN_AFTER)


# --- packs -------------------------------------------------------------------------------------------


def _target(config: Config, data: Path, store_uuid: bytes, *, create: bool) -> Target:
    try:
        return open_target(own_row(data, config), store_uuid, create=create)
    except NotFound as error:
        if config.storage.backend != "directory":
            raise
        raise NotFound(
            f"{error}: the packs of this database lie in another directory; daemons that share a database"
            " must share graviton.data-dir too, or keep packs in a bucket"
        ) from error


__all__ = ["open_configured"]
