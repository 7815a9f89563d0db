"""``dedupe-scope``: which blocks a client may find, name and read when there are several volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from graviton_server.grpc_api.reach import REMEMBERED, Reach, Stamps
from graviton_server.grpc_api.server import GrpcServer, backend_of
from graviton_server.grpc_api.vetting import Sender, Vetting, named_in
from graviton_server.wiring import Engine
from gravitonfs.client.connection import Connection
from gravitonfs.client.remote_blocks import RemoteBlockStore
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.client.volumes import RemoteVolume, open_volume
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK, BlockId, Ino, PackNumber
from gravitonfs.errors import MissingBlocks, Stale
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.ops import Attr, Batch, Create, Write
from rpc.serving import MIB, SETTINGS, connected

SIZE = 4 * MIB


@contextmanager
def serving(engine: Engine, *, whole_store: bool = False) -> Iterator[GrpcServer]:
    server = GrpcServer(backend_of(engine, whole_store=whole_store), SETTINGS)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(engine: Engine) -> Iterator[GrpcServer]:
    engine.namespace_store.create_volume("other")
    with serving(engine) as made:
        yield made


@pytest.fixture
def connection(server: GrpcServer) -> Iterator[Connection]:
    with connected(server) as made:
        yield made


def put(volume: RemoteVolume, name: bytes, data: bytes) -> Attr:
    with volume.stage(mode=0o644, uid=0, gid=0) as staged:
        staged.write(data)
        return staged.publish(volume.namespace.root, name)


def blocks_of(volume: RemoteVolume, attr: Attr) -> list[tuple[BlockId, PackNumber]]:
    regions = volume.namespace.extents(attr.content, 0, 100)
    return [(extent.block, extent.hint) for region in regions for extent in region.extents]


def forget(server: GrpcServer) -> None:
    """As another daemon, or this one after a restart."""
    server.reach._young.clear()
    server.reach._old.clear()


def test_blocks_of_another_volume_are_not_there(connection: Connection) -> None:
    main = open_volume(connection, "main", timeout=10)
    wanted = blocks_of(main, put(main, b"secret", os.urandom(SIZE)))
    ids = [block for block, _ in wanted]
    foreign = RemoteBlockStore(connection, main.namespace.format, "other", timeout=5)
    assert foreign.missing(ids) == [NO_PACK] * len(ids), "whether somebody has these bytes is not told"
    with pytest.raises(Stale):
        list(foreign.get(wanted))
    with pytest.raises(Stale):
        foreign.near(*wanted[0], span=MIB)
    with pytest.raises(Stale):
        foreign.stored_bytes(ids)
    names = RemoteNamespace(connection, "other", timeout=5)
    ino, block = Ino(names.grant(1)[0]), wanted[0]
    create = Create(names.root, b"stolen", ino, 0o100644, 0, 0)
    names.apply([Batch(1, 1, (create,))], durable=False)
    steal = Write(ino, (Extent(0, 1000, block[0], 0, block[1]),), 1000)
    with pytest.raises(MissingBlocks):
        names.apply([Batch(2, 1, (steal,), (block[1],))], durable=False)
    names.detach()
    own = RemoteBlockStore(connection, main.namespace.format, "main", timeout=5)
    assert own.missing(ids) == [pack for _, pack in wanted], "their own volume finds them"
    assert sum(len(bytes(data)) for data in own.get(wanted)) == SIZE
    main.close()


def test_who_sends_the_bytes_may_name_them(connection: Connection, engine: Engine) -> None:
    """They are stored once all the same."""
    data = os.urandom(SIZE)
    main, other = (open_volume(connection, name, timeout=10) for name in ("main", "other"))
    put(main, b"f", data)
    before = engine.store.counters().bytes_put
    attr = put(other, b"g", data)
    assert engine.store.counters().bytes_put == before
    assert bytes(other.reader(attr).read(0, SIZE)) == data
    assert other.store.counters().bytes_put > SIZE // 2, "nothing tells the client that others have them"
    again = other.store.counters().bytes_put
    put(other, b"h", data)
    assert other.store.counters().bytes_put == again, "its own bytes travel once"
    main.close()
    other.close()


def test_neighbours_of_other_volumes_are_left_out(connection: Connection) -> None:
    """A pack has blocks of several volumes."""
    main, other = (open_volume(connection, name, timeout=10) for name in ("main", "other"))
    mine = blocks_of(main, put(main, b"f", os.urandom(SIZE)))
    yours = blocks_of(other, put(other, b"g", os.urandom(SIZE)))
    found = {block for block, _ in main.store.near(*mine[-1], span=4 * MIB)}
    assert mine[-1][0] in found
    assert not found & {block for block, _ in yours}
    main.close()
    other.close()


def test_a_daemon_that_has_forgotten_is_told_again(connection: Connection, server: GrpcServer) -> None:
    data = os.urandom(SIZE)
    writer, reader = (open_volume(connection, "main", timeout=10, cache=0) for _ in range(2))
    attr = put(writer, b"f", data)
    contents = reader.reader(attr)
    assert bytes(contents.read(0, MIB)) == data[:MIB]
    forget(server)
    assert bytes(contents.read(MIB, SIZE - MIB)) == data[MIB:], "with extents that it was told before"
    forget(server)
    assert reader.store.stored_bytes([block for block, _ in blocks_of(reader, attr)]) > 0
    forget(server)
    patched = writer.writer(attr)
    patched.write(10, b"patched")
    patched.flush(durable=True)
    assert bytes(reader.reader(reader.namespace.attr(attr.ino)).read(0, 20))[10:17] == b"patched"
    writer.close()
    reader.close()


def test_a_batch_that_was_seen_may_be_sent_again_without_its_bytes(
    connection: Connection, engine: Engine, server: GrpcServer
) -> None:
    """After a crash of database and daemon the client has nothing but its batches."""
    backend = backend_of(engine)
    data = os.urandom(100_000)
    block = Block(block_id(data), 0, len(data), data)
    [pack] = engine.store.put([block])
    extent = Extent(0, len(data), block.id, 0, pack)
    batch = Batch(7, 1, (Write(Ino(1), (extent,), len(data)),), (pack,))
    stamps = Stamps(backend.secret)
    vet = Vetting(backend, Reach(backend.sessions, whole_store=False), stamps)
    with pytest.raises(MissingBlocks):
        vet([batch], Sender(3, "other", {}))
    good = stamps.of(3, batch, named_in(batch))
    forged = Stamps(b"another store's").of(3, batch, named_in(batch))
    for session, stamp in ((3, forged), (4, good), (3, good[:8])):
        with pytest.raises(MissingBlocks):
            vet([batch], Sender(session, "other", {7: stamp}))
    other = Batch(8, 1, batch.ops, batch.packs)
    with pytest.raises(MissingBlocks):
        vet([other], Sender(3, "other", {8: good}))
    assert vet([batch], Sender(3, "other", {7: good}))[0].ops == batch.ops


def test_stamps_come_with_what_a_client_keeps(connection: Connection) -> None:
    other = open_volume(connection, "other", timeout=10)
    put(other, b"f", os.urandom(SIZE))
    attr = other.namespace.lookup(other.namespace.root, b"f")
    assert attr is not None
    writer = other.writer(attr)
    writer.write(0, os.urandom(2 * MIB))
    writer.flush()
    kept = other.namespace.attachment.kept  # type: ignore[attr-defined]
    named = [batch for batch, _ in kept.after(0) if named_in(batch)]
    assert named
    assert len(kept.stamps_of(named)) == 16 * len(named)
    other.commit()
    assert kept.stamps_of(named) == b"", "what is durable needs none"
    other.close()


def test_the_whole_store_when_that_is_wanted(engine: Engine) -> None:
    engine.namespace_store.create_volume("other")
    with serving(engine, whole_store=True) as server, connected(server) as connection:
        main, other = (open_volume(connection, name, timeout=10) for name in ("main", "other"))
        data = os.urandom(SIZE)
        put(main, b"f", data)
        attr = put(other, b"g", data)
        assert other.store.counters().bytes_put == 0, "what another volume has does not travel"
        assert bytes(other.reader(attr).read(0, SIZE)) == data
        main.close()
        other.close()


def test_with_one_volume_everything_is_its_own(engine: Engine) -> None:
    with serving(engine) as server, connected(server) as connection:
        data = os.urandom(SIZE)
        first = open_volume(connection, timeout=10)
        put(first, b"f", data)
        forget(server)
        second = open_volume(connection, timeout=10)
        put(second, b"g", data)
        assert second.store.counters().bytes_put == 0
        first.close()
        second.close()


def test_what_is_remembered_is_bounded(engine: Engine) -> None:
    engine.namespace_store.create_volume("other")
    reach = Reach(engine.namespace_store, whole_store=False, remembered=100)
    blocks = [BlockId(os.urandom(32)) for _ in range(1000)]
    for block in blocks:
        reach.learn("main", [block])
        assert not reach.unknown("main", [block])
        assert reach.unknown("other", [block]) == {block}
    assert len(reach._young) + len(reach._old) <= 102
    assert not reach.unknown("main", blocks[-40:])
    assert REMEMBERED > 100_000
