"""The redo log: what a durable batch was acknowledged by, before the database has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace.redo import RECORD_MAX, SECTOR, SIZE, RedoLog, read_records, redo_path
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import BlockId
from gravitonfs.errors import Damaged
from gravitonfs.ports.ops import Clone, Create, Disclaim, LooseBlock, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session

EPOCH = b"epoch-01"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NamespaceStore]:
    """A store whose group is committed by nobody but the test, with one that is committed already."""
    path = tmp_path / "live" / "namespace.db"
    path.parent.mkdir()
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    opened = NamespaceStore.open(path, group_seconds=3600)
    yield opened
    opened.close()


def start(store: NamespaceStore, **options: object) -> Session:
    session = Session(store, **options)
    session.ino()
    store.commit()
    return session


def crashed(store: NamespaceStore, name: str = "crashed") -> Path:
    """The files as a crash at this moment leaves them."""
    folder = store.path.parent.parent / name
    shutil.copytree(store.path.parent, folder, ignore=shutil.ignore_patterns("*-shm"))
    return folder / store.path.name


def names_after(path: Path) -> list[bytes]:
    found = NamespaceStore.open(path)
    session = Session(found)
    assert session.problems() == []
    names: list[bytes] = session.names()
    found.close()
    return names


def test_a_durable_batch_needs_no_commit_of_the_database(store: NamespaceStore) -> None:
    session = start(store)
    commits = store.counters()["commits"]
    session.make(b"before")
    session.do(Create(ROOT, b"durable", session.ino(), 0o100644, 0, 0), durable=True)
    session.make(b"lost")
    assert store.counters()["commits"] == commits
    assert store.counters()["log_records"] == 1
    assert names_after(crashed(store)) == [b"before", b"durable"]


def test_records_are_applied_once_however_often_the_start_is_cut_short(store: NamespaceStore) -> None:
    session = start(store)
    for number in range(20):
        session.do(Create(ROOT, b"f%02d" % number, session.ino(), 0o100644, 0, 0), durable=True)
    path = crashed(store)
    assert len(names_after(path)) == 20
    assert len(names_after(path)) == 20


def test_the_next_commit_voids_what_the_log_has(store: NamespaceStore) -> None:
    session = start(store)
    session.do(Create(ROOT, b"first", session.ino(), 0o100644, 0, 0), durable=True)
    session.do(Unlink(ROOT, b"first"))
    store.commit()
    assert names_after(crashed(store)) == []
    session.do(Create(ROOT, b"second", session.ino(), 0o100644, 0, 0), durable=True)
    assert names_after(crashed(store, "again")) == [b"second"]


def test_loose_blocks_contents_and_numbers_come_back(store: NamespaceStore) -> None:
    session = start(store)
    block = LooseBlock(BlockId(b"b" * 32), 0, 5, b"hello")
    file = session.make(b"file")
    session.do(Clone(file.ino, ROOT, b"copy", session.ino(), 1, 2), loose=(block,), durable=True)
    usage = session.ns.usage()
    found = NamespaceStore.open(crashed(store))
    after = Session(found)
    assert found.loose.loose_get([block.id])[block.id].payload == b"hello"
    assert after.ns.usage() == usage
    assert after.ns.grant(1)[0] > file.ino
    after.make(b"new")
    assert after.problems() == []
    found.close()


def test_numbers_that_a_batch_granted_itself_are_not_given_again(
    store: NamespaceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copied tree takes more than was reserved: the reservation is in the log, as the copy is."""
    monkeypatch.setattr("graviton_server.namespace.numbers.STEP", 8)
    session = Session(store)
    top = session.mkdir(b"top")
    for number in range(60):
        session.make(b"f%d" % number, parent=top.ino)
    store.numbers.rolled_back()
    store.commit()
    session.do(Clone(top.ino, ROOT, b"copy", session.ino(), 1, 2), durable=True)
    for number in range(3):
        session.do(Clone(top.ino, ROOT, b"copy%d" % number, session.ino(), 1, 2), durable=True)
    found = NamespaceStore.open(crashed(store))
    after = Session(found)
    taken = {row[0] for row in found.execute("SELECT ino FROM inodes")}
    assert not taken & set(after.ns.grant(200))
    assert after.problems() == []
    found.close()


def test_who_had_an_inode_open_is_not_asked_again(store: NamespaceStore) -> None:
    """The inode stays until its session ends, as it was decided when the batch was applied."""
    opened: set[int] = set()
    session = start(store, claims=lambda ino: ino in opened)
    file = session.make(b"file")
    opened.add(file.ino)
    removed = session.do(Unlink(ROOT, b"file"))
    assert removed.kept
    opened.clear()
    session.do(durable=True)
    assert names_after(crashed(store)) == []
    session.do(Disclaim((file.ino,)), durable=True)
    assert names_after(crashed(store, "again")) == []


def test_a_session_resumes_behind_a_logged_batch(store: NamespaceStore) -> None:
    session = start(store)
    batch = session.batch(Create(ROOT, b"file", session.ino(), 0o100644, 0, 0))
    [answer] = session.ns.apply([batch], durable=True)
    found = NamespaceStore.open(crashed(store))
    resumed = found.attach(label="again", resume=session.ns.session)
    [again] = resumed.apply([batch], durable=True)
    assert again.results == answer.results
    found.close()


def test_a_failed_batch_keeps_its_answer(store: NamespaceStore) -> None:
    session = start(store)
    session.make(b"file")
    taken = session.batch(Create(ROOT, b"file", session.ino(), 0o100644, 0, 0))
    [answer] = session.ns.apply([taken], durable=True)
    assert answer.failure is not None
    found = NamespaceStore.open(crashed(store))
    resumed = found.attach(label="again", resume=session.ns.session)
    assert resumed.apply([taken], durable=False)[0].failure == answer.failure
    found.close()


def test_an_unfinished_record_is_passed_over(store: NamespaceStore) -> None:
    session = start(store)
    session.do(Create(ROOT, b"first", session.ino(), 0o100644, 0, 0), durable=True)
    session.do(Create(ROOT, b"torn", session.ino(), 0o100644, 0, 0), durable=True)
    path = crashed(store)
    with redo_path(path).open("r+b") as log:
        log.seek(SECTOR + 60)
        log.write(b"\xff" * 8)
    assert names_after(path) == [b"first"]


def test_damage_before_an_acknowledged_record_is_told(store: NamespaceStore) -> None:
    session = start(store)
    for name in (b"first", b"second", b"third"):
        session.do(Create(ROOT, name, session.ino(), 0o100644, 0, 0), durable=True)
    path = crashed(store)
    with redo_path(path).open("r+b") as log:
        log.seek(SECTOR + 60)
        log.write(b"\xff" * 8)
    with pytest.raises(Damaged, match=r"namespace\.db-redo is damaged at offset 4096"):
        NamespaceStore.open(path)
    redo_path(path).unlink()
    assert names_after(path) == []


def test_what_the_log_cannot_tell_is_committed(store: NamespaceStore) -> None:
    session = start(store)
    commits = store.counters()["commits"]
    pack = session.pack  # a row that no batch has made
    session.do(Create(ROOT, b"file", session.ino(), 0o100644, 0, 0), packs=(pack,), durable=True)
    assert store.counters()["commits"] == commits + 1
    block = LooseBlock(BlockId(b"b" * 32), 0, RECORD_MAX, bytes(RECORD_MAX))
    session.do(Create(ROOT, b"large", session.ino(), 0o100644, 0, 0), loose=(block,), durable=True)
    assert store.counters()["commits"] == commits + 2
    assert names_after(crashed(store)) == [b"file", b"large"]


def test_a_full_log_is_followed_by_a_commit(store: NamespaceStore) -> None:
    session = start(store)
    block = bytes(RECORD_MAX // 2)
    count = 2 * SIZE // len(block)
    for number in range(count):
        loose = LooseBlock(BlockId(number.to_bytes(32, "big")), 0, len(block), block)
        session.do(
            Create(ROOT, b"%03d" % number, session.ino(), 0o100644, 0, 0), loose=(loose,), durable=True
        )
    assert store.counters()["commits"] < count // 4
    assert len(names_after(crashed(store))) == count


def test_a_write_that_fails_is_made_good_by_a_commit(
    store: NamespaceStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = start(store)

    def fails(log: RedoLog, payload: bytes) -> bool:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(RedoLog, "append", fails)
        session.do(Create(ROOT, b"one", session.ino(), 0o100644, 0, 0), durable=True)
    assert "the database is committed instead" in caplog.text
    assert names_after(crashed(store)) == [b"one"]
    session.do(Create(ROOT, b"two", session.ino(), 0o100644, 0, 0), durable=True)
    assert store.counters()["log_records"] == 1
    assert names_after(crashed(store, "again")) == [b"one", b"two"]


def test_without_room_for_the_log_all_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    redo_path(path).mkdir()  # cannot be opened
    with NamespaceStore.open(path).lock:
        pass
    assert "there is no redo log" in caplog.text


def test_records_of_another_epoch_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x-redo"
    log = RedoLog(path, EPOCH)
    assert log.append(b"one")
    assert log.append(b"two" * 5000)
    assert list(read_records(path, EPOCH)) == [b"one", b"two" * 5000]
    assert list(read_records(path, b"epoch-02")) == []
    log.restart(b"epoch-02")
    assert log.empty
    assert log.append(b"three")
    assert list(read_records(path, b"epoch-02")) == [b"three"]
    assert path.stat().st_size == SIZE
    log.close()


def test_a_batch_that_cannot_be_applied_again_stops_the_start(store: NamespaceStore) -> None:
    session = start(store)
    session.do(Create(ROOT, b"file", session.ino(), 0o100644, 0, 0), durable=True)
    path = crashed(store)
    other = NamespaceStore.open(path)
    epoch = other.execute("SELECT epoch FROM redo").fetchone()[0]
    other.close()
    log = RedoLog(redo_path(path), epoch)
    log.append(b"no msgpack")
    log.close()
    with pytest.raises(Damaged, match="cannot be read"):
        NamespaceStore.open(path)
