"""A session that is alone writes without asking first; what others changed meanwhile counts all the same."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest

from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK
from gravitonfs.errors import Exists, Kind, NotFound
from gravitonfs.ports.ops import Batch, Create, LooseBlock, Rmdir, SetAttr, SetXattr, Unlink, Write
from gravitonfs.testing.namespace_suite.driver import Session, refused
from harness.postgres import PostgresServer
from namespace.postgres_stores import PostgresStores


@pytest.fixture
def stores(postgres: PostgresServer) -> Iterator[PostgresStores]:
    result = PostgresStores(postgres)
    yield result
    result.close()


class Pair:
    """A session that has made files in a directory, and whoever comes and goes in another process."""

    def __init__(self, stores: PostgresStores) -> None:
        self.store = stores.open()
        self.session = Session(self.store)
        self.directory = self.session.mkdir(b"d", gid=1000).ino
        for number in range(2):
            self.session.make(b"before%d" % number, parent=self.directory)
        self._elsewhere = stores.open()

    def elsewhere(self, *todo: object) -> None:
        visitor = Session(self._elsewhere)
        visitor.do(*todo)  # type: ignore[arg-type]
        visitor.ns.detach()


@pytest.fixture
def pair(stores: PostgresStores) -> Pair:
    return Pair(stores)


def test_a_directory_that_hands_down_its_group(pair: Pair) -> None:
    pair.elsewhere(SetAttr(pair.directory, mode=0o2770, gid=77))
    made = pair.session.make(b"f", parent=pair.directory)
    assert made.gid == 77
    assert pair.session.find(b"f", pair.directory) == made
    assert stat.S_IMODE(pair.session.mkdir(b"sub", parent=pair.directory).mode) & stat.S_ISGID


def test_a_directory_that_hands_down_its_rights(pair: Pair) -> None:
    entries = ((1, 7, 0), (4, 4, 0), (32, 0, 0))
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + b"\xff\xff\xff\xff"
        for tag, rights, _ in entries
    )
    pair.elsewhere(SetXattr(pair.directory, b"system.posix_acl_default", acl))
    for name in (b"f", b"g"):
        assert stat.S_IMODE(pair.session.make(name, 0o100666, pair.directory).mode) == 0o640


def test_a_name_that_is_taken(pair: Pair) -> None:
    session = pair.session
    ino = session.ino()
    pair.elsewhere(Create(pair.directory, b"f", ino, 0o100600, 0, 0))
    with pytest.raises(Exists):
        session.make(b"f", parent=pair.directory)
    assert session.find(b"f", pair.directory).ino == ino
    session.make(b"g", parent=pair.directory)
    assert session.problems() == []


def test_a_directory_that_is_removed(pair: Pair) -> None:
    names = [Unlink(pair.directory, b"before%d" % number) for number in range(2)]
    pair.elsewhere(*names)
    root = pair.session.ns.root
    pair.elsewhere(Rmdir(root, b"d"))
    with pytest.raises(NotFound):
        pair.session.make(b"f", parent=pair.directory)
    assert pair.session.problems() == []


def test_a_snapshot_that_is_kept(pair: Pair) -> None:
    """What comes after it is not in it."""
    version = pair.store.create_snapshot("main", "s").version
    pair.session.make(b"after", parent=pair.directory)
    pair.session.make(b"later", parent=pair.directory)
    then = pair.store.attach(label="past", at=version)
    names = [entry.name for entry in then.entries(pair.directory, None, 10)]
    assert names == [b"before0", b"before1"]
    then.detach()
    assert pair.session.problems() == []


def test_a_session_that_is_evicted(pair: Pair) -> None:
    pair._elsewhere.evict(pair.session.ns.session)
    todo = pair.session.batch(Create(pair.directory, b"f", pair.session.ino(), 0o100600, 0, 0))
    with refused(Kind.FENCED):
        pair.session.ns.apply([todo], durable=True)


def test_a_repeat_is_answered_as_before(pair: Pair) -> None:
    session = pair.session
    todo = session.batch(Create(pair.directory, b"f", session.ino(), 0o100600, 0, 0))
    first = session.ns.apply([todo], durable=True)
    again = session.ns.apply([todo], durable=True)
    assert [reply.results for reply in again] == [reply.results for reply in first]


def test_many_files_with_their_directory_in_one_call(pair: Pair) -> None:
    """Written several times, changed, with a directory below: all of it is there, once."""
    session = pair.session
    blocks = [b"block %d" % number for number in range(3)]

    def extent(data: bytes) -> Extent:
        return Extent(0, len(data), block_id(data), 0, NO_PACK)

    def loose(data: bytes) -> tuple[LooseBlock, ...]:
        return (LooseBlock(block_id(data), 0, len(data), data),)

    directory, below, *files = [session.ino() for _ in range(12)]
    todo: list[Batch] = [
        session.batch(Create(pair.directory, b"new", directory, 0o040755, 1, 2)),
        session.batch(Create(directory, b"below", below, 0o040755, 1, 2)),
    ]
    for number, ino in enumerate(files):
        first, then = blocks[number % 3], blocks[(number + 1) % 3]
        todo.append(session.batch(Create(directory, b"%d" % number, ino, 0o100600, 1, 2)))
        todo.append(session.batch(Write(ino, (extent(first),), len(first)), loose=loose(first)))
        if number % 2:
            todo.append(session.batch(Write(ino, (extent(then),), len(then)), loose=loose(then)))
            todo.append(session.batch(SetAttr(ino, mode=0o640, uid=9)))
    replies = session.ns.apply(todo, durable=True)
    assert [reply.failure for reply in replies] == [None] * len(todo)
    last = {reply.results[0].ino: reply.results[0] for reply in replies}  # type: ignore[union-attr]
    found = {entry.name: entry.attr for entry in session.ns.entries(directory, None, 100)}
    assert len(found) == len(files) + 1
    for number, ino in enumerate(files):
        assert found[b"%d" % number] == last[ino] == session.ns.attr(ino)
    assert session.ns.attr(directory).nlink == 3
    assert session.ns.attr(directory).mtime_ns == max(b.time_ns for b in todo if isinstance(b.ops[0], Create))
    assert set(pair.store.loose.loose_get([block_id(data) for data in blocks])) == set(map(block_id, blocks))
    seals = [
        session.batch(Write(ino, (), last[ino].size, last[ino].version, bytes([number]) * 32, 0))
        for number, ino in enumerate(files)
    ]
    session.ns.apply(seals, durable=True)
    digests = {session.ns.content(last[ino].content).digest for ino in files}
    assert digests == {bytes([number]) * 32 for number in range(len(files))}
    assert session.problems() == []
