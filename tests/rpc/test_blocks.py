"""The block store's conformance suite over gRPC, on the real pack store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from graviton_server.grpc_api.backend import Backend, checked
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.packs.format import RECORD_HEADER
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_blocks import RemoteBlockStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK, BlockId
from gravitonfs.errors import Damaged, Invalid
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.ports.target import Space
from gravitonfs.testing.blockstore_suite import BlockStoreSuite, mixed, raw, read_all
from packs.rig import Rig
from rpc.served import SETTINGS


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    result = Rig(tmp_path)
    yield result
    result.close()


@pytest.fixture
def connection(rig: Rig) -> Iterator[Connection]:
    fmt = VolumeFormat()
    backend = Backend(
        sessions=cast(Any, None),
        content=cast(Any, None),
        blocks=checked(rig.store, fmt),
        packs=rig.registry,
        loose=rig.loose,
        format=fmt,
        space=lambda: Space(0, 0),
        secret=bytes(32),
        whole_store=True,
    )
    server = GrpcServer(backend, SETTINGS)
    server._tending.run = lambda: None  # type: ignore[method-assign]  # there are no sessions to look after
    server.start()
    connection = Connection(Endpoint((server.address,)))
    yield connection
    connection.close()
    server.stop(0)


@pytest.fixture
def store(connection: Connection) -> BlockStore:
    return RemoteBlockStore(connection, VolumeFormat(), timeout=10)


class TestRemoteBlockStore(BlockStoreSuite):
    def test_forgotten_packs_are_no_longer_found(self, store: BlockStore, rig: Rig) -> None:  # type: ignore[override]
        """Only those that really are not live: clients cannot undo deduplication."""
        _, blocks = mixed(10, 10_000)
        packs = store.put(blocks)
        store.sync(packs)
        store.forget_packs(packs)
        ids = [block.id for block in blocks]
        assert store.missing(ids) == packs
        for pack in set(packs):
            rig.registry.abandon(pack)
        store.forget_packs(packs)
        assert store.missing(ids) == [NO_PACK] * 10
        again = store.put(blocks)
        assert not set(again) & set(packs)
        store.sync(again)
        assert store.missing(ids) == again

    def test_what_is_not_its_id_is_refused_and_nothing_stored(self, store: BlockStore) -> None:
        good = raw(os.urandom(1000))
        wrong = Block(block_id(b"another"), 0, 3, b"abc")
        with pytest.raises(Invalid, match="another id"):
            store.put([good, wrong])
        assert store.missing([good.id]) == [NO_PACK]
        with pytest.raises(Invalid):
            store.put([Block(block_id(b"x"), 7, 1, b"x")])
        with pytest.raises(Invalid):
            store.put([Block(block_id(b""), 0, 0, b"")])

    def test_many_and_large_ones(self, store: BlockStore) -> None:
        """More than one message holds, in both directions."""
        plain = [os.urandom(1 << 20) for _ in range(24)]
        blocks = [raw(data) for data in plain]
        packs = store.put(blocks)
        store.sync(packs)
        assert read_all(store, blocks, packs) == plain
        ids = [BlockId(os.urandom(32)) for _ in range(20_000)]
        assert store.missing(ids) == [NO_PACK] * 20_000

    def test_damage_is_named_and_costs_no_other(self, rig: Rig, request: pytest.FixtureRequest) -> None:
        """The daemon leaves verifying to the client, which sees it, and is told by the daemon what it is."""
        plain = [os.urandom(50_000) for _ in range(5)]
        blocks = [raw(data) for data in plain]
        packs = rig.store.put(blocks)
        rig.reopen()
        path, at = rig.pack_files()[0], rig.store.records(packs[2])[2].offset + RECORD_HEADER + 777
        changed = bytearray(path.read_bytes())
        changed[at] ^= 1
        path.write_bytes(changed)
        store: BlockStore = request.getfixturevalue("store")
        wanted = [(one.id, pack) for one, pack in zip(blocks, packs, strict=True)]
        answers = store.get(wanted)
        assert [bytes(next(answers)) for _ in range(2)] == plain[:2]
        with pytest.raises(Damaged, match=f"{blocks[2].id.hex()} cannot be read from pack"):
            next(answers)
        assert [bytes(data) for data in store.get(wanted[3:])] == plain[3:]
