"""Snapshots: taking, listing and deleting them, and what that gives back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gravitonfs.core.ids import Ino
from gravitonfs.core.snapshots import DIRECTORY, is_past, parted
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.ops import (
    Create,
    Link,
    Op,
    RemoveTree,
    Rename,
    Rmdir,
    SetAttr,
    SetXattr,
    Truncate,
    Unlink,
)
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused
from gravitonfs.testing.namespace_suite.history import HistorySuite, RetainingStore, RetainingStores, picture


def held(store: RetainingStore) -> set[bytes]:
    """The blocks that collection keeps."""
    return {extent.block for page in store.upkeep.extent_rows() for row in page for extent in row.extents}


def shown(session: Session, name: str) -> dict[bytes, object]:
    """A snapshot as it is found below the root; with the numbers that its inodes have in the present."""
    ns = session.ns
    steps = ns.resolve([DIRECTORY, name.encode()])
    assert len(steps) == 2
    seen = picture(ns, steps[-1].ino)
    found: dict[bytes, object] = {}
    for path, of_one in seen.items():
        assert isinstance(of_one, tuple)
        attr, *rest = of_one
        assert is_past(attr.ino)
        assert ns.attr(attr.ino) == attr
        live = attr._replace(
            ino=parted(attr.ino)[1], content=parted(attr.content)[1] if attr.content else attr.content
        )
        found[path] = (live, *rest)
    return found


class BrowsingSuite:
    """``.snapshots`` at the root."""

    def test_each_is_found_as_it_was(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        suite = HistorySuite()
        names = suite.build(session)
        before = picture(session.ns)
        store.create_snapshot("main", "first")
        suite.change_everything(session, names)
        middle = picture(session.ns)
        store.create_snapshot("main", "second")
        session.do(RemoveTree(ROOT, b"d"))
        session.reap_all()
        assert shown(session, "first") == before
        assert shown(session, "second") == middle
        store.delete_snapshot("main", "first")
        session.reap_all()
        assert session.ns.resolve([DIRECTORY, b"first"]) == session.ns.resolve([DIRECTORY])
        assert shown(session, "second") == middle
        store.close()

    def test_where_everything_is(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        ns = session.ns
        d = session.mkdir(b"d").ino
        f = session.make(b"f", parent=d).ino
        for name in ("b", "a", "c"):
            store.create_snapshot("main", name)
        assert session.names() == [b"d"]
        directory = ns.lookup(ROOT, DIRECTORY)
        assert directory is not None
        assert (directory.mode, directory.nlink) == (0o040555, 5)
        assert [entry.name for entry in ns.entries(directory.ino, None, 10)] == [b"a", b"b", b"c"]
        assert [entry.name for entry in ns.entries(directory.ino, b"a", 1)] == [b"b"]
        assert ns.parent(directory.ino) == (ROOT, DIRECTORY)
        top, past_d, past_f = ns.resolve([b"b", b"d", b"f"], directory.ino)
        assert ns.parent(top.ino) == (directory.ino, b"b")
        assert ns.parent(past_d.ino) == (top.ino, b"d")
        assert ns.parent(past_f.ino) == (past_d.ino, b"f")
        other = ns.resolve([DIRECTORY, b"c", b"d", b"f"])[-1]
        assert len({f, past_f.ino, other.ino}) == 3
        assert ns.lookup(d, DIRECTORY) is None
        assert ns.lookup(top.ino, DIRECTORY) is None
        assert ns.resolve([DIRECTORY, b"none", b"x"]) == [ns.attr(directory.ino)]
        store.close()

    def test_none_of_it_can_be_changed(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        f = session.make(b"f").ino
        session.write(f, 0, b"bytes")
        session.mkdir(b"d")
        store.create_snapshot("main", "s")
        directory, top, past = session.ns.resolve([DIRECTORY, b"s", b"f"])
        changes: list[Op] = [
            Create(top.ino, b"n", session.ino(), 0o100644, 0, 0),
            Create(directory.ino, b"n", session.ino(), 0o040755, 0, 0),
            Unlink(top.ino, b"f"),
            Rmdir(directory.ino, b"s"),
            Rmdir(ROOT, DIRECTORY),
            RemoveTree(ROOT, DIRECTORY),
            Rename(ROOT, DIRECTORY, ROOT, b"n"),
            Rename(top.ino, b"f", ROOT, b"n"),
            Rename(ROOT, b"f", top.ino, b"n"),
            Link(past.ino, ROOT, b"n"),
            Link(f, top.ino, b"n"),
            SetAttr(past.ino, mode=0o600),
            Truncate(past.ino, 0),
            SetXattr(past.ino, b"user.a", b"b"),
        ]
        for change in changes:
            session.fails(Kind.READ_ONLY, change)
        for name in (
            Create(ROOT, DIRECTORY, session.ino(), 0o040755, 0, 0),
            Link(f, ROOT, DIRECTORY),
            Rename(ROOT, b"d", ROOT, DIRECTORY),
        ):
            failure = session.fails(Kind.EXISTS if not isinstance(name, Rename) else Kind.READ_ONLY, name)
            assert "snapshots" in failure.message
        assert session.names() == [b"d", b"f"]
        assert session.problems() == []
        store.close()

    def test_what_is_deleted_is_not_read_as_empty(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        session.write(session.make(b"f").ino, 0, b"bytes")
        store.create_snapshot("main", "s")
        _, top, past = session.ns.resolve([DIRECTORY, b"s", b"f"])
        session.do(Unlink(ROOT, b"f"))
        assert session.ns.content(past.content).length == 5
        store.delete_snapshot("main", "s")
        session.reap_all()
        for question in (
            lambda: session.ns.extents(past.content, 0, 0),
            lambda: session.ns.attr(past.ino),
            lambda: session.ns.entries(top.ino, None, 10),
        ):
            with refused(Kind.STALE):
                question()
        store.close()


class SnapshotSuite:
    def test_they_are_listed_with_what_was_in_them(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        assert store.snapshot_rows("main") == []
        session.write(session.make(b"f").ino, 0, b"12345")
        first = store.create_snapshot("main", "first")
        session.make(b"g")
        second = store.create_snapshot("main", "2026-11-25T14:00 +1")
        assert store.snapshot_rows("main") == [first, second]
        assert (first.name, first.logical_bytes, first.inodes, first.scheduled) == ("first", 5, 2, False)
        assert second.inodes == 3
        assert second.created_ns > first.created_ns
        store.close()
        store = stores.open()
        assert store.snapshot_rows("main") == [first, second]
        then = store.attach(label="past", at=first.version)
        assert [entry.name for entry in then.entries(ROOT, None, 10)] == [b"f"]
        store.close()

    @pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a\0", "x" * 101, "end ", "tab\t", "é"])
    def test_names_are_checked(self, stores: RetainingStores, name: str) -> None:
        store = stores.open()
        with refused(Kind.INVALID):
            store.create_snapshot("main", name)
        store.close()

    def test_what_is_there_or_not_there(self, stores: RetainingStores) -> None:
        store = stores.open()
        Session(store)
        store.create_snapshot("main", "s")
        with refused(Kind.EXISTS):
            store.create_snapshot("main", "s")
        with refused(Kind.NOT_FOUND):
            store.create_snapshot("other", "s")
        with refused(Kind.NOT_FOUND):
            store.delete_snapshot("main", "t")
        assert [row.name for row in store.snapshot_rows("main")] == ["s"]
        store.close()

    def test_a_number_is_never_anothers(self, stores: RetainingStores) -> None:
        store = stores.open()
        first = store.create_snapshot("main", "s")
        store.delete_snapshot("main", "s")
        assert store.create_snapshot("main", "s").number > first.number
        store.close()

    def test_deleting_frees_what_only_that_one_saw(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        files: list[Ino] = [session.make(b"f%d" % number).ino for number in range(3)]
        for generation in range(3):
            for ino in files:
                session.do(Truncate(ino, 0))
                session.write(ino, 0, b"generation %d of %d" % (generation, ino))
                session.do(SetXattr(ino, b"user.g", b"%d" % generation))
            store.create_snapshot("main", f"s{generation}")
        session.do(Truncate(files[0], 0))
        session.do(Unlink(ROOT, b"f1"))
        pictures = {
            row.name: picture(store.attach(label="past", at=row.version))
            for row in store.snapshot_rows("main")
        }
        session.reap_all()
        everything = held(store)
        store.delete_snapshot("main", "s1")
        session.reap_all()
        less = held(store)
        assert less < everything
        for row in store.snapshot_rows("main"):
            assert picture(store.attach(label="past", at=row.version)) == pictures[row.name]
        assert session.problems() == []
        store.delete_snapshot("main", "s0")
        store.delete_snapshot("main", "s2")
        session.reap_all()
        assert session.problems() == []
        for name in session.names():
            session.do(Unlink(ROOT, name))
        session.reap_all()
        assert held(store) == set()
        store.close()

    def test_what_they_hold_is_counted(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        f, g = session.make(b"f").ino, session.make(b"g").ino
        session.write(f, 0, b"12345")
        session.write(g, 0, b"123")
        assert store.upkeep.held_by_snapshots() == (0, 0)
        store.create_snapshot("main", "s")
        store.create_snapshot("main", "t")
        assert store.upkeep.held_by_snapshots() == (2, 0)
        session.do(SetAttr(g, mode=0o600))
        assert store.upkeep.held_by_snapshots() == (2, 0)
        session.do(Unlink(ROOT, b"f"))
        assert store.upkeep.held_by_snapshots() == (2, 5)
        session.write(g, 1, b"x")
        assert store.upkeep.held_by_snapshots() == (2, 8)
        for name in ("s", "t"):
            store.delete_snapshot("main", name)
        session.reap_all()
        assert store.upkeep.held_by_snapshots() == (0, 0)
        store.close()

    def test_purging_goes_on_after_a_restart(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        for number in range(50):
            session.write(session.make(b"%d" % number).ino, 0, b"bytes of %d" % number)
        store.create_snapshot("main", "s")
        for number in range(50):
            session.do(Unlink(ROOT, b"%d" % number))
        session.reap_all()
        assert len(held(store)) == 50
        store.delete_snapshot("main", "s")
        assert store.upkeep.reap(20) == 20
        store.close()
        store = stores.open()
        session = Session(store)
        session.reap_all()
        assert held(store) == set()
        assert session.problems() == []
        store.close()

    def test_without_snapshots_nothing_is_kept_again(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        store.create_snapshot("main", "s")
        store.delete_snapshot("main", "s")
        session.reap_all()
        d = session.mkdir(b"d").ino
        session.do(SetAttr(d, mode=0o700))
        session.do(Rmdir(ROOT, b"d"))
        store.create_snapshot("main", "t")
        assert store.upkeep.reap(100) == 0
        store.close()

    def test_others_are_told(self, stores: RetainingStores) -> None:
        store = stores.open()
        told: list[Change] = []

        def listen(changes: Sequence[Change]) -> None:
            told.extend(changes)

        watching = Session(store, listener=listen)
        store.create_snapshot("main", "s")
        store.delete_snapshot("main", "s")
        heard = [*told, *watching.ns.watch(0)]
        assert any(change.name == b"s" for change in heard)
        store.close()
