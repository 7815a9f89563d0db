"""What a batch from outside may say, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from graviton_server.auth import apptokens, websessions
from graviton_server.http_api import jobboard, uploads
from graviton_server.maintenance import history, scrub
from graviton_server.wiring import Engine
from gravitonfs.client import Client
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import BlockId, Ino, PackNumber
from gravitonfs.errors import (
    Damaged,
    Invalid,
    MissingBlocks,
    NotPermitted,
)
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Batch, Create, LooseBlock, Rewrite, Seal, SetRecord, Write
from rpc.serving import MIB, ROOT, connected, serving


class TestVetting:
    @pytest.fixture
    def namespace(self, engine: Engine) -> Iterator[RemoteNamespace]:
        with serving(engine) as server, connected(server) as connection:
            made = RemoteNamespace(connection, timeout=5)
            yield made
            made.detach()

    @pytest.mark.parametrize(
        "space",
        [apptokens.SPACE, websessions.SPACE, uploads.SPACE, scrub.SPACE, history.SPACE, jobboard.SPACE],
    )
    def test_records_of_the_daemons_own(self, namespace: RemoteNamespace, engine: Engine, space: str) -> None:
        """A forged token would let its maker in as anybody."""
        store = engine.namespace_store
        inside = store.attach(label="inside")
        inside.apply([Batch(1, 1, (SetRecord(space, b"theirs", b"value"),))], durable=True)
        for op in (SetRecord(space, b"forged", b"value"), SetRecord(space, b"theirs", None)):
            with pytest.raises(NotPermitted, match="the daemon's own"):
                namespace.apply([Batch(1, 1, (op,))], durable=True)
        with pytest.raises(NotPermitted, match="the daemon's own"):
            namespace.records(space)
        assert inside.records(space) == [(b"theirs", b"value")]
        inside.detach()

    def test_what_batches_may_not_do(self, namespace: RemoteNamespace) -> None:
        ino = Ino(namespace.grant(1)[0])
        [made] = namespace.apply([Batch(1, 1, (Create(ROOT, b"f", ino, 0o100644, 0, 0),))], durable=False)
        assert made.failure is None
        data = os.urandom(1000)
        block = block_id(data)
        extent = Extent(0, 1000, block, 0, PackNumber(7))
        write = Write(ino, (extent,), 1000)
        with pytest.raises(MissingBlocks) as caught:
            namespace.apply([Batch(2, 1, (write,), (PackNumber(7),))], durable=False)
        assert caught.value.packs == (7,)
        with pytest.raises(MissingBlocks):
            namespace.apply([Batch(2, 1, (write,))], durable=False)
        for bad in (
            LooseBlock(block_id(b"other"), 0, 1000, data),
            LooseBlock(block, 1, 1000, data),
            LooseBlock(block, 0, 999, data),
            LooseBlock(BlockId(b"short"), 0, 1000, data),
            LooseBlock(block, 0, 5 * MIB, bytes(5 * MIB)),
        ):
            with pytest.raises(Invalid):
                namespace.apply([Batch(2, 1, (write,), (), (bad,))], durable=False)
        sealing = Write(ino, (extent._replace(hint=PackNumber(0)),), 1000, seal=bytes(32))
        good = LooseBlock(block, 0, 1000, data)
        [reply] = namespace.apply([Batch(2, 1, (sealing,), (), (good,))], durable=True)
        assert reply.failure is None
        attr = namespace.attr(ino)
        assert namespace.content(attr.content).digest is None
        for op in (Seal(attr.content, attr.version, bytes(32)), Rewrite(attr.content, attr.version, ())):
            with pytest.raises(NotPermitted):
                namespace.apply([Batch(3, 1, (op,))], durable=False)
        with pytest.raises(Invalid):
            namespace.apply([Batch(3, 1, (SetRecord("x", b"k", bytes(100_000)),))], durable=False)
        [reply] = namespace.apply([Batch(3, 1, (SetRecord("x", b"k", b"v"),))], durable=False)
        assert reply.failure is None


class TestDigests:
    def test_that_of_a_file_of_one_block_is_believed(self, engine: Engine) -> None:
        """This side has hashed the block; the file is sealed at once."""
        with serving(engine) as server, Client(f"graviton://{server.address}", timeout=5) as client:
            for name in ("f", "copy"):  # the second time the block is known
                client.write_bytes(name, b"bytes" * 200)
                info = client.volume.namespace.content(
                    client.volume.namespace.resolve([name.encode()])[0].content
                )
                assert (info.kind, info.digest) == (ContentKind.SEALED, block_id(b"bytes" * 200))

    def test_a_false_one_is_not(self, engine: Engine) -> None:
        data = os.urandom(1000)
        block, other = block_id(data), block_id(b"other")
        loose = (LooseBlock(block, 0, 1000, data), LooseBlock(other, 0, 5, b"other"))
        whole = Extent(0, 1000, block, 0, PackNumber(0))
        with serving(engine) as server, Client(f"graviton://{server.address}", timeout=5) as client:
            volume = client.volume
            for number, (extents, end, seal) in enumerate(
                (
                    ((whole,), 1000, other),
                    ((whole._replace(length=999),), 999, block),
                    ((whole._replace(length=1001),), 1001, block),
                    ((whole._replace(length=999, block_offset=1),), 999, block),
                    ((whole._replace(offset=1),), 1001, block),
                    ((whole,), 1001, block),
                    ((whole, Extent(1000, 5, other, 0, PackNumber(0))), 1005, block),
                    ((), 0, block),
                )
            ):
                made = volume.submit_for_attr(Create(ROOT, b"f%d" % number, volume.new_ino(), 0o100644, 0, 0))
                op = Write(made.ino, extents, end, made.version, seal)
                volume.session.submit((op,), loose=loose)
                attr = volume.namespace.attr(made.ino)
                assert volume.namespace.content(attr.content).digest is None

    def test_one_is_for_the_whole_file_alone(self, engine: Engine) -> None:
        """Somebody else has written behind it meanwhile."""
        data = os.urandom(1000)
        block = block_id(data)
        loose = (LooseBlock(block, 0, 1000, data),)
        whole = Extent(0, 1000, block, 0, PackNumber(0))
        with serving(engine) as server, Client(f"graviton://{server.address}", timeout=5) as client:
            volume = client.volume
            made = volume.submit_for_attr(Create(ROOT, b"f", volume.new_ino(), 0o100644, 0, 0))
            longer = Write(made.ino, (whole._replace(offset=1000),), 2000)
            volume.session.submit((longer,), loose=loose)
            volume.session.submit((Write(made.ino, (whole,), 1000, made.version, block),), loose=loose)
            attr = volume.namespace.attr(made.ino)
            assert attr.size == 2000
            assert volume.namespace.content(attr.content).digest is None


class TestLyingExtents:
    def test_a_file_is_never_short(self, engine: Engine) -> None:
        """An extent that reaches behind its block is damage of its own file, and nobody else's."""
        with serving(engine) as server, Client(f"graviton://{server.address}", timeout=5) as client:
            client.write_bytes("f", os.urandom(1000))
            volume = client.volume
            attr = volume.namespace.attr(Ino(client.stat("f").ino))
            [region] = volume.namespace.extents(attr.content, 0, 0)
            lying = (region.extents[0]._replace(length=5000),)
            block = LooseBlock(region.extents[0].block, 0, 1000, client.read_bytes("f"))
            made = volume.submit_for_attr(Create(ROOT, b"g", volume.new_ino(), 0o100644, 0, 0))
            volume.session.submit((Write(made.ino, lying, 5000),), loose=(block,))
            with pytest.raises(Damaged, match="behind the end"):
                client.read_bytes("g")
            assert len(client.read_bytes("f")) == 1000


class TestReliance:
    def test_it_is_where_the_blocks_are(self, engine: Engine) -> None:
        """A client that lists no pack, or another one, does not get its blocks collected."""
        with serving(engine) as server, connected(server) as connection:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                client.write_bytes("f", os.urandom(2 * MIB))
                attr = client.volume.namespace.attr(Ino(client.stat("f").ino))
                [region] = client.volume.namespace.extents(attr.content, 0, 0)
            [pack] = {extent.hint for extent in region.extents}
            row = engine.namespace_store.packs.get(pack)
            assert row is not None
            relied = row.relied_ns
            engine.namespace_store.execute("UPDATE packs SET relied = 1")
            engine.namespace_store.packs.load()
            namespace = RemoteNamespace(connection, timeout=5)
            ino = Ino(namespace.grant(1)[0])
            ops = (Create(ROOT, b"g", ino, 0o100644, 0, 0), Write(ino, region.extents, attr.size))
            [reply] = namespace.apply([Batch(1, 1, ops)], durable=True)
            assert reply.failure is None
            row = engine.namespace_store.packs.get(pack)
            assert row is not None
            assert row.relied_ns > relied
            namespace.detach()


class TestDeduplication:
    def test_what_is_sent_unasked_is_not_stored_twice(self, engine: Engine) -> None:
        with serving(engine) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                data = os.urandom(50_000)
                client.write_bytes("f", data)
                engine.store.drain_loose()
                stored = engine.store.counters().bytes_put
                before = dict(server.tallies.operations()).get("BlockService.Missing")
                for number in range(5):
                    client.write_bytes(f"copy{number}", data)
                assert engine.namespace_store.loose.loose_bytes() == 0
                assert engine.store.counters().bytes_put == stored
                assert dict(server.tallies.operations()).get("BlockService.Missing") == before
                assert client.read_bytes("copy3") == data
                attr = client.volume.namespace.attr(Ino(client.stat("copy3").ino))
                [region] = client.volume.namespace.extents(attr.content, 0, 0)
                assert all(extent.hint for extent in region.extents)
        assert list(engine.namespace_store.upkeep.check()) == []
