"""An engine whose packs lie on several targets.

A store is one as soon as its database has rows of targets; they are written when a configuration, or
``graviton target add``, first names another one. The store's own target, where all its packs were until then,
comes first: packs without rows of copies are on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graviton_server.maintenance.mark import rows_of
from graviton_server.replication.members import Members
from graviton_server.replication.placement import zones_of
from graviton_server.replication.settings import Settings
from graviton_server.replication.target import ReplicatedTarget
from graviton_server.wiring.opened import OpenedNames
from graviton_server.wiring.targets import open_target
from gravitonfs.errors import GravitonError
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.replicas import TargetRow
from gravitonfs.ports.store import EngineNames
from gravitonfs.ports.target import close_target

if TYPE_CHECKING:
    from graviton_server.wiring import Engine, EngineOptions, TargetEngine
    from gravitonfs.ports.target import Target

log = logging.getLogger("graviton.engine")


def save_rows(names: EngineNames, rows: Sequence[TargetRow]) -> None:
    """Targets of a configuration: added or changed, never removed, and their states are left alone. Places
    that are new are made targets of this store before anything relies on them."""
    known = {row.name: row for row in names.replicas.targets()}
    for row in rows:
        before = known.get(row.name)
        if before is None:
            close_quietly(open_target(row, names.store_uuid, create=True))
            names.replicas.save_target(row)
        elif row._replace(number=before.number, state=before.state) != before:
            names.replicas.save_target(row._replace(state=before.state))


def save_settings(names: EngineNames, settings: Settings) -> None:
    encoded = settings.encode()
    if names.replicas.settings() != encoded:
        names.replicas.save_settings(encoded)


def is_replicated(names: EngineNames) -> bool:
    return bool(names.replicas.targets())


def open_with_targets(path: Path, options: EngineOptions, opened: OpenedNames) -> Engine:
    """An embedded volume that has further targets. Packs that were still growing when it had one are finished
    first, by that one's rules."""
    from graviton_server.wiring import Engine

    rows = rows_of(opened.store.packs)
    if any(row.state is PackState.LIVE and not row.length for row in rows):
        Engine(path, replace(options, background=False), opened).close()
        opened = OpenedNames(path, options)
    return open_replicated(opened.store, path, options, shared=False, release=opened.lock.release)


def open_replicated(
    names: EngineNames,
    data: Path,
    options: EngineOptions,
    *,
    shared: bool,
    release: Callable[[], None] | None = None,
    opener: Callable[[TargetRow], Target] | None = None,
) -> TargetEngine:
    """As ``open_engine``, over all targets that the database has. ``opener``: in place of the real one."""
    from graviton_server.wiring import open_engine

    try:
        target = all_targets(names, opener)
        names.replicas.place_by(target.members.placed_now)
    except BaseException:
        names.close()
        if release is not None:
            release()
        raise
    return open_engine(names, target, data, options, shared=shared, release=release)


def all_targets(names: EngineNames, opener: Callable[[TargetRow], Target] | None = None) -> ReplicatedTarget:
    """Those of the database as one. The caller has packs placed on them (``place_by``)."""
    members = Members(names.replicas, opener or (lambda row: open_target(row, names.store_uuid)))
    members.refresh()
    _warn(members)
    adopted = names.replicas.adopt(names.replicas.targets()[0].number)
    if adopted:
        log.info("%d packs from before this store had several targets are entered", adopted)
    members.count()
    for member in members.all():
        member.look_for_room()
    return ReplicatedTarget(members)


def _warn(members: Members) -> None:
    asked, given = members.wish_asked, members.wish()
    if (given.factor, given.min_zones) != (asked.factor, asked.min_zones):
        places = [member.place for member in members.active()]
        log.warning(
            "%d copies in %d zones are asked for; the %d targets in %d zones that take packs allow %d in %d",
            asked.factor,
            asked.min_zones,
            len(places),
            zones_of(places),
            given.factor,
            given.min_zones,
        )


def close_quietly(target: Target) -> None:
    try:
        close_target(target)
    except GravitonError:
        log.warning("closing the target %s failed", target.name)
