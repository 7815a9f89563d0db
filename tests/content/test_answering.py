"""Changes that are answered from memory: what the store has of them, when, and what goes wrong on the way."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from content.trusting import Trusted
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.content import op_log
from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace, NotAtHand
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.session import Session
from gravitonfs.core.extents import Extent
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.errors import GravitonError, MissingBlocks, Stale, Unavailable
from gravitonfs.ports import ops
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.ops import Attr, Batch, Reply, Result
from gravitonfs.testing.namespace_suite import driver
from harness.waiting import wait_until

HOUR = 3600.0
FILE = stat.S_IFREG | 0o644


class Failing:
    """A namespace whose calls of ``apply`` fail as a test says, before or after they are made."""

    def __init__(self, namespace: Any) -> None:
        self._namespace = namespace
        self.plan: list[tuple[GravitonError | None, bool]] = []
        self.calls: list[list[Batch]] = []

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        self.calls.append(list(batches))
        error, after = self.plan.pop(0) if self.plan else (None, False)
        if error is not None and not after:
            raise error
        replies: list[Reply] = self._namespace.apply(batches, durable=durable)
        if error is not None:
            raise error
        return replies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._namespace, name)


class Rig:
    """A sole session that answers its changes, on SQLite, and one beside it that sees what the store has."""

    def __init__(self, path: Path, gather: float = HOUR) -> None:
        NamespaceStore.create(path, VolumeFormat(), b"store uuid 16 by")
        self.store = NamespaceStore.open(path)
        self.plain = driver.Session(self.store, "plain")
        self.heard: list[Change] = []
        self.open: set[Ino] = set()
        self.cache = NamesCache(8 << 20)
        claims = self.open.__contains__
        listener = self.cache.listening(self.heard.extend)
        self.trusted = Trusted(self.store.attach(label="holder", listener=listener, claims=claims))
        self.failing: Any = Failing(self.trusted)
        self.answering = Answering(self.failing, self.cache, claims, listener, gather=gather)
        self.names = CachingNamespace(self.failing, self.cache, self.answering)
        self.session = Session(self.names)
        for name in (b"no", b"neither"):
            assert self.names.lookup(ROOT_INO, name) is None  # then the whole directory is read
        self.make(b"first")  # asked of the store, which tells what has to be known of the root
        self.failing.calls.clear()

    def make(self, name: bytes, parent: Ino = ROOT_INO, mode: int = FILE) -> Attr:
        return self.session.submit_for_attr(ops.Create(parent, name, self.session.new_ino(), mode, 1, 2))

    def write(self, attr: Attr, extents: tuple[Extent, ...]) -> Result:
        """As a writer does that keeps the blocks."""
        todo = (ops.Write(attr.ino, extents, extents[-1].end),)
        kept = driver.kept_of(Batch(0, 0, todo))
        return self.session.submit(todo, packs=(self.plain.pack,), kept=kept)[0]

    def has(self, name: bytes) -> bool:
        return self.plain.ns.lookup(ROOT_INO, name) is not None

    def close(self) -> None:
        self.names.detach()
        self.store.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "namespace.db")
    yield made
    made.close()


def test_a_change_is_answered_at_once_and_applied_before_anything_is_asked(rig: Rig) -> None:
    made = rig.make(b"f")
    assert not rig.failing.calls
    assert not rig.has(b"f")
    assert rig.names.lookup(ROOT_INO, b"f") == made
    rig.names.usage()
    assert rig.plain.ns.lookup(ROOT_INO, b"f") == made


def test_what_was_answered_is_applied_soon_by_itself(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "namespace.db", gather=0.001)
    made = rig.make(b"f")
    wait_until(lambda: rig.has(b"f"), "the change is applied")
    assert rig.plain.ns.lookup(ROOT_INO, b"f") == made
    rig.close()


def test_a_durable_change_takes_along_what_waits_in_one_call(rig: Rig) -> None:
    for name in (b"a", b"b", b"c"):
        rig.make(name)
    rig.session.commit()
    assert [len(call) for call in rig.failing.calls] == [4]
    assert all(rig.has(name) for name in (b"a", b"b", b"c"))


def test_a_recall_applies_what_waits_before_it_returns(rig: Rig) -> None:
    rig.make(b"f")
    rig.trusted.until = 0.0
    rig.cache.recalling(None)()
    assert rig.has(b"f")
    rig.make(b"g")
    assert rig.has(b"g"), "without the lease the store answers"


def test_a_recall_fails_where_the_store_cannot_be_told(rig: Rig) -> None:
    """So that the lease has to run out before anybody else is let in."""
    rig.make(b"f")
    rig.trusted.until = 0.0
    rig.failing.plan = [(Unavailable("away"), False)]
    with pytest.raises(Unavailable):
        rig.cache.recalling(None)()
    rig.names.settle()
    assert rig.has(b"f")


def test_nobody_waits_inside_an_event_loop(rig: Rig) -> None:
    with rig.names.only_known():
        rig.make(b"f")
        with pytest.raises(NotAtHand):
            rig.session.commit()
        with pytest.raises(NotAtHand):
            rig.session.submit((ops.RemoveTree(ROOT_INO, b"f"),))
    assert not rig.failing.calls
    rig.make(b"g")
    rig.session.commit()
    assert rig.has(b"f")
    assert rig.has(b"g")


def test_who_comes_when_there_is_no_room_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(op_log, "OPS_MAX", 10)
    rig = Rig(tmp_path / "namespace.db", gather=0.001)
    gate = threading.Event()
    rig.trusted._then = lambda method: method != "apply" or gate.wait(30)
    for number in range(10):
        rig.make(b"f%d" % number)
    with rig.names.only_known(), pytest.raises(NotAtHand):
        rig.session.submit_for_attr(ops.SetAttr(ROOT_INO, mode=0o700))
    late = threading.Thread(target=rig.make, args=(b"late",))
    late.start()
    late.join(0.05)
    assert late.is_alive()
    gate.set()
    late.join(30)
    rig.names.settle()
    assert rig.has(b"late")
    rig.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_call_whose_outcome_is_unknown_is_made_again_as_it_was(rig: Rig, after: bool) -> None:
    """The one who waited is told; its number never means anything else."""
    rig.make(b"a")
    rig.failing.plan = [(Unavailable("cut"), after)]
    with pytest.raises(Unavailable):
        rig.session.submit((ops.SetXattr(ROOT_INO, b"user.a", b"1"),), durable=True)
    first = rig.failing.calls[0]
    made = rig.make(b"b")
    assert rig.failing.calls[1] == first
    assert rig.plain.ns.lookup(ROOT_INO, b"b") == made
    assert rig.plain.ns.xattr(ROOT_INO, b"user.a") == b"1"
    assert rig.has(b"a")
    assert rig.answering.surprises == 0


def test_what_waits_outlasts_a_store_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path / "namespace.db", gather=0.001)
    rig.failing.plan = [(Unavailable("away"), False)] * 2
    rig.make(b"f")
    wait_until(lambda: rig.has(b"f"), "the change is applied")
    assert caplog.text.count("changes wait for the store: away") == 1
    caplog.clear()
    rig.close()


def test_a_batch_that_is_refused_later_is_told_and_kept(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    kept: list[tuple[int, Batch, str]] = []
    there = threading.Event()

    def keep(session: int, batch: Batch, why: str) -> None:
        kept.append((session, batch, why))
        there.set()

    rig.answering.lost = keep
    rig.make(b"a")
    rig.make(b"b")
    rig.failing.plan = [(MissingBlocks((7,)), False), (MissingBlocks((7,)), False)]
    rig.names.settle()
    assert there.wait(30)
    assert [op.name for _, batch, _ in kept for op in batch.ops] == [b"a"]
    assert not rig.has(b"a")
    assert rig.has(b"b")
    assert rig.names.lookup(ROOT_INO, b"a") is None
    assert "was answered and cannot be applied" in caplog.text
    caplog.clear()
    rig.make(b"c")
    rig.session.commit()
    assert rig.has(b"c")


def test_a_draft_that_was_sealed_meanwhile_is_read_anew(rig: Rig) -> None:
    """Background work is no session: it may seal a content in the moment before a write is applied."""
    made = rig.make(b"f")
    extents = (rig.plain.extent(0, b"old"),)
    rig.session.submit((ops.Write(made.ino, extents, 3),), packs=(rig.plain.pack,))
    rig.names.settle()
    draft = rig.names.attr(made.ino)
    foreseen = rig.write(made, extents)
    assert isinstance(foreseen, Attr)
    assert foreseen.content == draft.content
    rig.plain.seal(made.ino)
    rig.names.settle()
    now = rig.names.attr(made.ino)
    assert now.content != draft.content
    assert now == rig.plain.ns.attr(made.ino)
    with pytest.raises(Stale):
        rig.names.extents(foreseen.content, 0, 0)
    wait_until(lambda: any(change.ino == made.ino for change in rig.heard), "the mount is told")


def test_packs_are_relied_on_only_where_the_store_has_just_agreed_and_their_blocks_are_kept(
    rig: Rig,
) -> None:
    made = rig.make(b"f")
    extents = (rig.plain.extent(0, b"data"),)
    rig.write(made, extents)
    assert len(rig.failing.calls) == 1
    other = rig.make(b"g")
    rig.write(other, extents)
    assert len(rig.failing.calls) == 1
    third = rig.make(b"h")
    rig.session.submit((ops.Write(third.ino, extents, 4),), packs=(rig.plain.pack,))
    assert len(rig.failing.calls) == 2, "nobody could send the blocks again"


def test_a_batch_that_has_failed_makes_the_store_rely_on_nothing(rig: Rig) -> None:
    made = rig.make(b"f")
    extents = (rig.plain.extent(0, b"data"),)
    with pytest.raises(Stale):
        rig.session.submit((ops.Write(Ino(1 << 30), extents, 4),), packs=(rig.plain.pack,))
    rig.session.submit((ops.Write(made.ino, extents, 4),), packs=(rig.plain.pack,))
    assert len(rig.failing.calls) == 2, "the store is asked again"


def test_an_open_file_that_loses_its_name_is_claimed(rig: Rig) -> None:
    made = rig.make(b"f")
    rig.open.add(made.ino)
    removed = rig.session.submit((ops.Unlink(ROOT_INO, b"f"),))[0]
    assert isinstance(removed, ops.Removed)
    assert removed.kept
    rig.open.clear()
    rig.names.settle()
    assert rig.plain.ns.attr(made.ino).nlink == 0
    rig.session.submit((ops.Disclaim((made.ino,)),))
    rig.names.settle()
    with pytest.raises(Stale):
        rig.plain.ns.attr(made.ino)


def test_the_end_of_a_session_is_told(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.make(b"f")
    rig.failing.plan = [(Unavailable("away"), False)]
    rig.names.detach()
    assert "1 changes that were answered are lost: away" in caplog.text
    caplog.clear()


def test_a_commit_without_changes_asks_nothing(rig: Rig) -> None:
    """The fsync of a directory right after the fsync of a file in it."""
    made = rig.make(b"f")
    rig.session.submit((ops.SetAttr(made.ino, mode=0o600),), durable=True)
    rig.session.commit()
    assert len(rig.failing.calls) == 1
    rig.make(b"g")
    rig.session.commit()
    rig.session.commit()
    assert len(rig.failing.calls) == 2
    rig.trusted.until = 0.0
    rig.session.commit()
    assert len(rig.failing.calls) == 3, "others may have changed what this one has seen"
