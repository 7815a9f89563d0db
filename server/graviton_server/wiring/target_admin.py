"""Adding, changing and draining the targets of an open store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from graviton_server.replication.members import place_of
from graviton_server.replication.placement import Wish, copies_of, zones_of
from graviton_server.replication.settings import Settings
from graviton_server.targets.staged import StagedTarget
from graviton_server.wiring.replicated import close_quietly, save_rows, save_settings
from graviton_server.wiring.second_target import take_targets
from graviton_server.wiring.targets import (
    BUCKET,
    S3_FIELDS,
    SHARD,
    Location,
    location_of,
    new_row,
    open_target,
    own_row,
)
from gravitonfs.errors import Busy, Exists, GravitonError, Invalid, NotFound
from gravitonfs.ports.replicas import CopyState, TargetRow, TargetState
from gravitonfs.ports.target import Space

if TYPE_CHECKING:
    from graviton_server.wiring import Engine

_CHANGEABLE: Final = frozenset({"zone", "weight", "capacity", "copies", "zones"})


class TargetReport(NamedTuple):
    """A target with what is on it. ``in_use``: this process has it; ``trouble``: why it does not work."""

    row: TargetRow
    shown: str
    copies: dict[CopyState, int]
    bytes: int
    space: Space
    in_use: bool
    trouble: str


def reports(engine: Engine) -> list[TargetReport]:
    """The store's own target alone where it has no rows of targets."""
    engine.look_for_targets()
    replicas = engine.namespace_store.replicas
    rows = replicas.targets()
    if not rows:
        row = _own(engine)
        stored = engine.maintenance.stored_bytes()
        return [TargetReport(row, location_of(row).shown, {}, stored, engine.space(), True, "")]
    tallies = replicas.tally() if engine.replication is None else engine.replication.tally()
    found = []
    for row in rows:
        mine = [tally for tally in tallies if tally.target == row.number]
        member = engine.replication.target.members.get(row.number) if engine.replication else None
        space = Space(0, 0)
        if member is not None and member.target is not None:
            try:
                space = member.space()
            except GravitonError as error:
                member.failed(error)
        found.append(
            TargetReport(
                row,
                location_of(row).shown,
                {tally.state: tally.packs for tally in mine},
                sum(tally.bytes for tally in mine if tally.state not in (CopyState.WANTED, CopyState.MOVING)),
                space,
                member is not None and member.target is not None,
                member.trouble if member is not None else "",
            )
        )
    return found


def _own(engine: Engine) -> TargetRow:
    target = engine.target
    remote = target.remote if isinstance(target, StagedTarget) else target
    settings: Any = getattr(remote, "settings", None)
    if settings is None:
        return own_row(engine.path)
    fields = {name: getattr(settings, name) for name in S3_FIELDS}
    return new_row(BUCKET, "s3", Location(**fields))


def add(engine: Engine, name: str, kind: str, location: Location, **given: Any) -> TargetRow:
    """The place is made a target of this store. Raises ``Exists``, ``Invalid``, and whatever keeps it from
    being opened."""
    replicas = engine.namespace_store.replicas
    row = new_row(name, kind, location, **given)
    if any(one.name == name for one in replicas.targets()) or name == _first_name(engine):
        raise Exists(f"there is a target {name!r} already: graviton target set changes it")
    if (kind == SHARD) != any(one.kind == SHARD for one in replicas.targets()):
        raise Invalid("packs lie on shards, or on directories and buckets: a store does not mix them")
    if any(one.location == row.location and one.kind == kind for one in (*replicas.targets(), _own(engine))):
        raise Exists(f"{location.shown} is a target of this store already")
    close_quietly(open_target(row, engine.namespace_store.store_uuid, create=True))
    if replicas.targets():
        save_rows(engine.namespace_store, [row])
    else:
        if engine.options.replication is not None:
            save_settings(engine.namespace_store, engine.options.replication)
        save_rows(engine.namespace_store, [_own(engine), row])
    _changed(engine)
    return _find(engine, name)


def _first_name(engine: Engine) -> str:
    rows = engine.namespace_store.replicas.targets()
    return rows[0].name if rows else _own(engine).name


def change(engine: Engine, name: str, **given: Any) -> TargetRow:
    """``given``: fields that change; None counts as not given."""
    row = _find(engine, name)
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes.keys() <= _CHANGEABLE:
        raise Invalid(f"{', '.join(sorted(changes.keys() - _CHANGEABLE))} of a target cannot be changed")
    return _save(engine, row._replace(**changes))


def activate(engine: Engine, name: str) -> TargetRow:
    """It takes packs again."""
    row = _find(engine, name)
    if row.state is TargetState.REMOVED:
        close_quietly(open_target(row, engine.namespace_store.store_uuid, create=True))
    return _save(engine, row._replace(state=TargetState.ACTIVE))


def drain(engine: Engine, name: str, *, force: bool = False) -> TargetRow:
    """Its packs move to others. ``Invalid`` where these cannot give what is asked for, unless ``force``."""
    row = _find(engine, name)
    wish = Settings.decode(engine.namespace_store.replicas.settings()).wish
    before = _active(engine, lambda one: True)
    after = _active(engine, lambda one: one.name != name)
    if not after:
        raise Invalid(f"{name} is the only target that takes packs: add another one first")
    if not force and _capped(wish, after) != _capped(wish, before):
        given = _capped(wish, after)
        raise Invalid(
            f"without {name} packs would have {given.factor} copies in {given.min_zones} zones, and"
            f" {wish.factor} in {wish.min_zones} are asked for: add a target first, or give --force"
        )
    return _save(engine, row._replace(state=TargetState.DRAINING))


def _active(engine: Engine, which: Callable[[TargetRow], bool]) -> list[TargetRow]:
    rows = engine.namespace_store.replicas.targets()
    return [row for row in rows if row.state is TargetState.ACTIVE and which(row)]


def _capped(wish: Wish, rows: list[TargetRow]) -> Wish:
    places = [place_of(row) for row in rows if row.weight > 0]
    return wish._replace(
        factor=min(wish.factor, copies_of(places)), min_zones=min(wish.min_zones, zones_of(places))
    )


def remove(engine: Engine, name: str) -> TargetRow:
    """One that is drained, and empty. Its place is left as it is."""
    row = _find(engine, name)
    left = sum(t.packs for t in engine.namespace_store.replicas.tally() if t.target == row.number)
    if row.state is TargetState.ACTIVE:
        raise Busy(f"{name} takes packs: graviton target drain {name} first")
    if left:
        raise Busy(f"{left} packs are on {name} yet: they move while the store is served (graviton status)")
    return _save(engine, row._replace(state=TargetState.REMOVED))


def renew(engine: Engine, name: str) -> int:
    """An empty place takes that of the one before; how many copies are made anew."""
    row = _find(engine, name)
    close_quietly(open_target(row, engine.namespace_store.store_uuid, create=True))
    count = engine.namespace_store.replicas.lost_all(row.number)
    _changed(engine)
    return count


def _find(engine: Engine, name: str) -> TargetRow:
    for row in engine.namespace_store.replicas.targets():
        if row.name == name:
            return row
    raise NotFound(f"there is no target {name!r} (graviton target list)")


def _save(engine: Engine, row: TargetRow) -> TargetRow:
    saved = engine.namespace_store.replicas.save_target(row)
    _changed(engine)
    return saved


def _changed(engine: Engine) -> None:
    take_targets(engine)
    if engine.replication is not None:
        engine.replication.target.members.refresh()
        engine.replication.wake()
