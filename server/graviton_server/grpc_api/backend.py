"""The open engine, as far as this server needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graviton_server.control.targets import TargetAdmin
from graviton_server.maintenance.service import Maintenance
from graviton_server.replication.shard import Shard
from gravitonfs.content.verify import VerifyingBlockStore
from gravitonfs.content.volume import Content, Volume
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import Unsupported
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.ports.packs import LooseBlocks, PackRegistry
from gravitonfs.ports.store import SessionStore
from gravitonfs.ports.target import Space

if TYPE_CHECKING:
    from graviton_server.wiring import Engine


@dataclass(frozen=True)
class Backend:
    """``blocks`` checks what it is given to store. ``sole``: no other daemon has sessions of this store, so
    those that nobody takes up after a start are this one's to end."""

    sessions: SessionStore
    content: Content
    blocks: BlockStore
    packs: PackRegistry
    loose: LooseBlocks
    format: VolumeFormat
    space: Callable[[], Space]
    secret: bytes
    """Of the store, and known to its daemons alone."""
    upkeep: Maintenance | None = None
    sole: bool = True
    store_uuid: bytes = b""
    whole_store: bool = False
    """Clients of a volume may name blocks of all volumes (``dedupe-scope = store``)."""
    hurry: Callable[[float], None] = lambda _: None
    """The database is waited for that many seconds at most, from now on."""
    targets: TargetAdmin | None = None
    shard: Shard | None = None
    """The store, as a router uses it whose shard it is."""

    @property
    def maintenance(self) -> Maintenance:
        if self.upkeep is None:
            raise Unsupported("this server does no background work")
        return self.upkeep

    def volume(self, name: str) -> Volume:
        return Volume(self.sessions.attach(name, label="grpc"), self.content)


def checked(blocks: BlockStore, fmt: VolumeFormat) -> BlockStore:
    return VerifyingBlockStore(blocks, block_key=fmt.block_key, block_max=fmt.block_max)


def backend_of(engine: Engine, *, whole_store: bool = False) -> Backend:
    from graviton_server.wiring.sharding import shard_of

    store = engine.namespace_store
    return Backend(
        sessions=store,
        content=engine.content,
        blocks=checked(engine.content.store, store.format),
        packs=store.packs,
        loose=store.loose,
        format=store.format,
        space=engine.space,
        secret=store.secret,
        upkeep=engine.maintenance,
        sole=not engine.shared,
        store_uuid=store.store_uuid,
        whole_store=whole_store,
        hurry=store.hurry,
        targets=TargetAdmin(engine),
        shard=shard_of(engine),
    )
