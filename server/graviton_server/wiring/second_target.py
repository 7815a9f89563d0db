"""An open store that has one target gets others, and uses them from then on.

The rows of targets are durable before; a crash anywhere in between is a start with several targets.
Where packs go up whole already, only where to changes. Where they grow in place, those that were begun are
finished first, and the store is another one (``TurningStore``).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from graviton_server.lock import EngineDirectory
from graviton_server.maintenance.fence import check_one, settle_fence
from graviton_server.packs.staged_store import StagedPackStore
from graviton_server.packs.turning import TurningStore
from graviton_server.replication.target import ReplicatedTarget
from graviton_server.targets.staged import StagedTarget
from graviton_server.wiring.replicated import all_targets
from graviton_server.wiring.targets import SHARD
from gravitonfs.errors import Invalid
from gravitonfs.ports.target import close_target

if TYPE_CHECKING:
    from graviton_server.wiring import Engine

log = logging.getLogger("graviton.engine")


def take_targets(engine: Engine) -> bool:
    """Use what targets the database has, where there is one so far; whether there are others than before.
    Raises what keeps them from being used: everything is as before then, until the next call or start."""
    if _has_several(engine):
        return False
    with engine.taking_targets:
        if _has_several(engine):  # somebody else was quicker
            return True
        rows = engine.namespace_store.replicas.targets()
        if not rows or any(row.kind == SHARD for row in rows):
            return False
        several = all_targets(engine.namespace_store)
        try:
            _check_sizes(engine, several)
            if isinstance(engine.target, StagedTarget):
                engine.target.lead_to(several)
            else:
                _turn(engine, several)
        except BaseException:
            several.close()
            raise
        engine.namespace_store.replicas.place_by(several.members.placed_now)
        _tell(engine, several)
        log.info("the store has %d targets from now on", len(rows))
        return True


def _has_several(engine: Engine) -> bool:
    return engine.replication is not None


def _check_sizes(engine: Engine, several: ReplicatedTarget) -> None:
    if several.max_object * 3 // 4 < engine.options.pack_size:
        raise Invalid(
            f"packs may be too large for a target that takes objects of {several.max_object} bytes: it is"
            " used from the next start on, with smaller ones"
        )


def _turn(engine: Engine, several: ReplicatedTarget) -> None:
    assert isinstance(engine.blocks, TurningStore)
    directory = EngineDirectory(engine.path)
    staged = StagedTarget(several, directory.path / "staging", engine.options.dirty_limit)

    def fresh() -> StagedPackStore:
        names = engine.namespace_store
        store = StagedPackStore(
            staged,
            engine.index,
            names.packs,
            names.loose,
            store_uuid=names.store_uuid,
            owner=directory.owner,
            folder=directory.path / "footers",
            pack_size=engine.options.pack_size,
            block_key=names.format.block_key,
        )
        store.recover()
        for content in engine.contents:
            content.packs_go_up_whole(store.waiting)
            store.when_stored(content.held.stored)
        return store

    try:
        store = engine.blocks.turn(fresh)
    except BaseException:
        staged.close()
        directory.release()
        raise
    engine.closed_before_store += [directory.release, staged.close, store.close]
    engine.store, engine.target, engine.owner = store, staged, directory.owner


def _tell(engine: Engine, several: ReplicatedTarget) -> None:
    """Everybody who has the targets of before."""
    engine.closed_last.append(partial(close_target, several))
    engine.replication = watch = engine.look_after(several)
    engine.maintenance.lead_to(engine.target, watch.repair, engine.owner)
    for tell in engine.when_targets_come:
        tell(engine.target, watch.repair, engine.owner)
    if engine.archive is not None:
        engine.archive.target = several
        names = engine.namespace_store
        settle_fence(several, names.upkeep, names.store_uuid)
        several.members.guard = partial(check_one, names.upkeep, names.store_uuid)
