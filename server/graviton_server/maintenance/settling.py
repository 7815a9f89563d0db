"""After a load: the rows of packs and copies against what the targets have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from graviton_server.maintenance.mark import rows_of
from graviton_server.maintenance.objects import adopt
from graviton_server.maintenance.reports import Loaded
from graviton_server.maintenance.usage import PACKS
from graviton_server.packs.format import pack_key
from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.replicas import READABLE, CopyState, PackCopies, Replicas, TargetNumber
from gravitonfs.ports.target import Target

_PAGE: Final = 1000


def settle_rows(registry: PackRegistry, target: Target, owner: str) -> Loaded:
    """What compaction has moved since lies in packs that the dump does not know, and those it came from are
    gone. Their rows come and go accordingly."""
    keys = {item.key for item in target.list(PACKS)}
    gone = 0
    for row in list(rows_of(registry)):
        key = pack_key(row.uuid)
        if key in keys:
            keys.discard(key)
            continue
        gone += 1
        _give_up(registry, row)
    return Loaded(packs_gone=gone, packs_adopted=adopt(registry, target, owner, sorted(keys)))


def settle_copies(
    registry: PackRegistry,
    replicas: Replicas,
    places: Mapping[TargetNumber, Target],
    target: Target,
    owner: str,
) -> Loaded:
    """As ``settle_rows`` where packs lie on several targets; ``target`` is all of them. What is said to be on
    a target that is away is believed."""
    keys = {number: {item.key for item in place.list(PACKS)} for number, place in places.items()}
    found = lost = gone = 0
    after = NO_PACK
    known: set[str] = set()
    while page := replicas.page(after, _PAGE):
        after = page[-1].pack
        for pack in page:
            known.add(pack_key(pack.uuid))
            here, missing, elsewhere = _compare(pack, keys)
            found += len(here)
            lost += len(missing)
            if here:
                replicas.stored(pack.uuid, here)
            for number in missing:
                replicas.bad(pack.uuid, number, CopyState.WANTED)
            if not elsewhere:
                gone += 1
                row = registry.get(pack.pack)
                assert row is not None
                _give_up(registry, row)
    known.update(pack_key(row.uuid) for row in rows_of(registry))
    unknown = set().union(*keys.values()) - known
    adopted = adopt(registry, target, owner, sorted(unknown))
    for pack in _pages(replicas):
        key = pack_key(pack.uuid)
        if key in unknown:
            replicas.stored(pack.uuid, [number for number, there in keys.items() if key in there])
    return Loaded(packs_gone=gone, packs_adopted=adopted, copies_found=found, copies_lost=lost)


def _pages(replicas: Replicas) -> list[PackCopies]:
    found: list[PackCopies] = []
    while page := replicas.page(found[-1].pack if found else NO_PACK, _PAGE):
        found += page
    return found


def _compare(
    pack: PackCopies, keys: Mapping[TargetNumber, set[str]]
) -> tuple[list[TargetNumber], list[TargetNumber], bool]:
    """Where a copy is that no row tells of, where one is not that a row tells of; whether there is any."""
    key = pack_key(pack.uuid)
    told = {copy.target for copy in pack.copies if copy.state in READABLE}
    there = {number for number, found in keys.items() if key in found}
    away = told - keys.keys()
    return sorted(there - told), sorted((told & keys.keys()) - there), bool(there or away)


def _give_up(registry: PackRegistry, row: PackRow) -> None:
    registry.abandon(row.number)
    if row.state is PackState.DELETING or registry.deleting(row.number):
        registry.deleted(PackNumber(row.number))
