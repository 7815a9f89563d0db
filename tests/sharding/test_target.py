"""A daemon as a target: the suite of targets over real calls, and what a shard does with packs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from graviton_server.grpc_api.server import GrpcServer, serve
from graviton_server.packs.format import (
    Records,
    encode_header,
    encode_record,
    encode_trailer,
    new_uuid,
    pack_key,
)
from graviton_server.targets.shard import ShardSettings, ShardTarget
from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.client import Client
from gravitonfs.core.codec import RAW
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Exists, FormatError, GravitonError, Invalid, NotFound, Unavailable, Unsupported
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.target import Target
from gravitonfs.testing.target_suite import TargetSuite
from replication.rig import AT_ONCE, TWO, Store, write
from rpc.served import SETTINGS

ROUTER = bytes(range(16, 32))
OTHER = bytes(range(32, 48))


class Served:
    """An engine behind a port."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.server: GrpcServer = serve(engine, SETTINGS)
        self.address = f"graviton://{self.server.address}"
        self._opened: list[ShardTarget] = []

    def target(self, router: bytes = ROUTER, name: str = "s1", *, create: bool = False) -> ShardTarget:
        made = ShardTarget(ShardSettings(self.address), name, router, create=create)
        self._opened.append(made)
        return made

    def rows(self) -> dict[PackNumber, PackState]:
        return {row.number: row.state for row in self.engine.namespace_store.packs.rows()}

    def close(self) -> None:
        for target in self._opened:
            target.close()
        self.server.stop(0)


@pytest.fixture
def served(scratch: Path) -> Iterator[Served]:
    options = EngineOptions(maintenance=AT_ONCE)
    with open_embedded(scratch / "shard", create=True, options=options) as engine:
        made = Served(engine)
        yield made
        made.close()


@pytest.fixture
def copied(scratch: Path) -> Iterator[Callable[[], tuple[Served, Store]]]:
    """A shard that keeps two copies of each pack itself."""
    store = Store(scratch / "copied", TWO)
    made: list[Served] = []

    def make() -> tuple[Served, Store]:
        made.append(Served(store.open()))
        return made[-1], store

    yield make
    for one in made:
        one.close()
    store.close()


def a_pack(*bodies: bytes) -> tuple[str, bytes]:
    uuid = new_uuid()
    header = encode_header(uuid, ROUTER)
    data, records = bytearray(header), Records()
    for body in bodies or (os.urandom(100_000),):
        block = block_id(body, b"")
        records.add(block, len(data), len(body), len(body), RAW)
        data += encode_record(block, RAW, len(body), len(body)) + body
    footer = records.encode()
    return pack_key(uuid), bytes(data) + footer + encode_trailer(len(data), footer, header)


def put(target: Target, key: str, image: bytes) -> None:
    target.put(key, BytesIO(image), len(image))


class TestShardTarget(TargetSuite):
    @pytest.fixture
    def target(self, served: Served) -> Target:
        return served.target(create=True)


class TestShardOfCopies(TargetSuite):
    @pytest.fixture
    def target(self, copied: Callable[[], tuple[Served, Store]]) -> Target:
        return copied()[0].target(create=True)


# --- whose it is -------------------------------------------------------------------------------------


def test_a_shard_is_one_routers_under_one_name(served: Served) -> None:
    with pytest.raises(NotFound, match="nobody's shard"):
        served.target()
    served.target(create=True)
    served.target()
    for router, name in ((OTHER, "s1"), (ROUTER, "s2")):
        for create in (True, False):
            with pytest.raises(FormatError, match="is the shard 's1' of the store"):
                served.target(router, name, create=create)


def test_a_shard_has_no_files_of_its_own(served: Served) -> None:
    served.target(create=True)
    with pytest.raises(Unsupported, match="the shard 's1' of another store"):
        Client(served.address, timeout=10).write_bytes("file", b"x")


def test_a_store_with_files_and_the_router_itself_are_refused(served: Served) -> None:
    with pytest.raises(Invalid, match="leads to the router itself"):
        served.target(served.engine.namespace_store.store_uuid, create=True)
    volume = served.engine.volume("test")
    write(volume, "file", b"x")
    volume.close()
    with pytest.raises(Exists, match="files of its own"):
        served.target(create=True)
    assert served.engine.namespace_store.replicas.router() == b""


def test_every_call_says_whose_shard_is_meant(served: Served) -> None:
    """A daemon that was put in another's place is found out by those that are connected already."""
    target = served.target(create=True)
    key, image = a_pack()
    put(target, key, image)
    target._claimant.router = OTHER
    calls: list[Callable[[], object]] = [
        lambda: put(target, key, image),
        lambda: target.get(key, 0, 10),
        lambda: target.head(key),
        lambda: target.head("store"),
        lambda: target.delete(key),
        lambda: list(target.list("packs/")),
        target.space,
        lambda: target.fault(key, len(image)),
    ]
    for call in calls:
        with pytest.raises(FormatError):
            call()
    target._claimant.router = ROUTER
    assert bytes(target.get(key, 0, len(image))) == image


# --- packs -------------------------------------------------------------------------------------------


def test_packs_have_rows_and_are_deleted_for_good(served: Served) -> None:
    target = served.target(create=True)
    packs = [a_pack() for _ in range(3)]
    for key, image in packs:
        put(target, key, image)
        put(target, key, image)
    assert set(served.rows().values()) == {PackState.LIVE}
    assert len(served.rows()) == 3
    assert {item.key for item in target.list("packs/")} == {key for key, _ in packs}
    assert target.fault(packs[0][0], len(packs[0][1])) == ""
    found = served.engine.maintenance.check(read_data=True)
    assert not found.findings
    target.delete(packs[0][0])
    target.delete(packs[0][0])
    assert len(served.rows()) == 2
    with pytest.raises(NotFound):
        target.head(packs[0][0])
    put(target, *packs[0])
    assert bytes(target.get(packs[0][0], 0, 1 << 20)) == packs[0][1]


def test_nothing_but_whole_packs_is_taken_as_one(served: Served) -> None:
    target = served.target(create=True)
    key, image = a_pack()
    other, _ = a_pack()
    for wrong in (image[:-1], image[:50] + b"?" + image[51:-60] + image[-59:] + b"x", b"", image[100:]):
        with pytest.raises(Invalid):
            put(target, key, wrong)
    with pytest.raises(Invalid, match="another header"):
        put(target, other, image)
    assert served.rows() == {}
    assert not list(target.list("packs/"))


def test_a_shard_collects_nothing_by_itself_or_on_command(served: Served) -> None:
    target = served.target(create=True)
    key, image = a_pack()
    put(target, key, image)
    with pytest.raises(Unsupported, match="is a shard"):
        served.engine.maintenance.collect()
    with pytest.raises(Unsupported):
        served.engine.maintenance.collect(dry_run=True)
    assert served.engine.maintenance.settle(30)
    assert bytes(target.get(key, 0, len(image))) == image


@pytest.mark.parametrize(
    "state", [PackState.STORING, PackState.ABANDONED, PackState.CONDEMNED, PackState.DELETING]
)
@pytest.mark.parametrize("then", ["put", "delete"])
def test_what_a_crash_has_left_is_taken_up(served: Served, state: PackState, then: str) -> None:
    """Between any two of the durable steps."""
    target = served.target(create=True)
    registry = served.engine.namespace_store.packs
    key, image = a_pack()
    uuid = bytes.fromhex(key.rpartition("/")[2].removesuffix(".pack").replace("-", ""))
    number = registry.begin(uuid, "engine-0", PackState.STORING)
    served.engine.target.put(key, BytesIO(image), len(image))
    if state is PackState.ABANDONED:
        registry.abandon(number)
    elif state is not PackState.STORING:
        registry.publish(number, len(image), 1, b"f")
        registry.condemn([number], registry.clock_ns() + 10**15)
        if state is PackState.DELETING:
            registry.deleting(number)
    if then == "put":
        put(target, key, image)
        assert list(served.rows().values()) == [PackState.LIVE]
        assert bytes(target.get(key, 0, len(image))) == image
    else:
        target.delete(key)
        assert served.rows() == {}
        with pytest.raises(NotFound):
            target.head(key)


def test_packs_survive_a_start_and_a_new_index(scratch: Path) -> None:
    packs = [a_pack(os.urandom(5000), os.urandom(7000)) for _ in range(4)]
    for _ in range(3):
        with open_embedded(scratch / "shard", create=True) as engine:
            made = Served(engine)
            target = made.target(create=True)
            for key, image in packs:
                put(target, key, image)
            assert engine.store.rebuild_index() in (0, 8)
            assert not engine.maintenance.check(read_data=True).findings
            made.close()


def test_a_shard_of_copies_heals_itself(copied: Callable[[], tuple[Served, Store]]) -> None:
    """Its router is told that the pack is good, and one copy is made anew."""
    served, store = copied()
    target = served.target(create=True)
    key, image = a_pack()
    put(target, key, image)
    files = [path for name in store.zones for path in store.packs(name)]
    assert len(files) == 2
    files[0].write_bytes(image[:5000] + bytes(100) + image[5100:])
    assert target.fault(key, len(image)) == ""
    store.watch.round()
    assert [path.read_bytes() for path in files] == [image, image]
    for path in files:
        path.write_bytes(image[:5000] + bytes(100) + image[5100:])
    assert "is not what was stored" in target.fault(key, len(image))


def test_a_shard_that_is_away_is_named(served: Served) -> None:
    target = served.target(create=True)
    served.server.stop(0)
    with pytest.raises(Unavailable, match="the shard s1"):
        target.get("packs/ab/x.pack", 0, 1)
    with pytest.raises(GravitonError, match="the shard s1"):
        put(target, *a_pack())
