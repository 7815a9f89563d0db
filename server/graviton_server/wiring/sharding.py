"""Stores that are shards, and the routers over them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from graviton_server.replication.shard import Shard
from graviton_server.wiring.targets import SHARD, Location, new_row
from gravitonfs.errors import Invalid

if TYPE_CHECKING:
    from graviton_server.config.sections import Config
    from graviton_server.wiring import Engine
    from gravitonfs.ports.replicas import TargetRow
    from gravitonfs.ports.store import EngineNames

SHARDED: Final = "sharded"
NOT_ON_SHARDS: Final = (
    "the packs of the store in {} do not lie on shards, and do not move there: start the router on a new"
    " data-dir or database, mount both, and copy the files (docs/sharding.md)"
)


def shard_of(engine: Engine) -> Shard:
    """An engine's store, as a router uses it if it is one's shard. A pack that comes is in memory twice."""
    at_once = max(2, engine.options.dirty_limit // (2 * engine.options.pack_size))
    repair = None if engine.replication is None else engine.replication.repair
    shard = Shard(engine.namespace_store, engine.target, engine.owner, engine.blocks, repair, at_once)
    engine.when_targets_come.append(shard.lead_to)
    return shard


def shard_rows(config: Config) -> list[TargetRow]:
    return [
        new_row(
            keys.name,
            SHARD,
            Location(
                address=keys.address,
                token_file=keys.token_file,
                ca_file=keys.ca_file,
                cert_file=keys.cert_file,
                key_file=keys.key_file,
            ),
            zone=keys.zone,
            weight=keys.weight,
            copies=keys.copies,
            zones=keys.zones,
        )
        for keys in config.storage.sharded.shards
    ]


def check_kind(config: Config, names: EngineNames, data: Path) -> None:
    """Packs stay where they are: a store on shards is not read as one of another kind, nor the other way
    round. Raises ``Invalid``."""
    rows = names.replicas.targets()
    sharded = config.storage.backend == SHARDED
    if sharded and names.format.block_key:
        raise Invalid(
            "a store whose block ids have a key cannot be sharded: its shards could not verify blocks"
        )
    if sharded and ((names.packs.rows(limit=1) and not rows) or any(row.kind != SHARD for row in rows)):
        raise Invalid(NOT_ON_SHARDS.format(data))
    if not sharded and any(row.kind == SHARD for row in rows):
        raise Invalid(
            f"the packs of the store in {data} lie on shards: graviton.storage.backend = sharded is missing"
        )
