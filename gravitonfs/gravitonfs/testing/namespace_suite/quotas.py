"""Quotas: what counts, what is refused, and that counting again finds the same."""

from __future__ import annotations

from typing import Protocol

from gravitonfs.core.ids import Ino
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import (
    Clone,
    Create,
    Link,
    Publish,
    RemoveTree,
    Rename,
    RenameMode,
    Rmdir,
    Truncate,
    Unlink,
)
from gravitonfs.ports.quotas import Quotas
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, refused


class QuotaStore(Store, Protocol):
    trash_age_ns: int | None

    @property
    def quotas(self) -> Quotas: ...


class QuotaStores(Protocol):
    def open(self) -> QuotaStore: ...

    def spoil(self, directory: Ino, size: int, inodes: int, *, counting: bool = False) -> None:
        """Write this into the quota's row, with the store closed."""


def usage(store: QuotaStore, directory: Ino) -> tuple[int, int]:
    """As it is kept, which is also what counting again finds."""
    found = store.quotas.check("main", directory, repair=False)
    assert found.right, found
    assert not found.row.counting
    return found.row.bytes, found.row.inodes


class QuotaSuite:
    # --- what counts ---------------------------------------------------------------------------------

    def test_everything_below_counts(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        assert store.quotas.rows("main") == []
        assert store.quotas.set("main", top, 1000, 10) == (top, 1000, 10, 0, 0, False)
        inner = session.mkdir(b"inner", top).ino
        file = session.make(b"file", parent=inner).ino
        session.write(file, 0, b"12345")
        session.make(b"elsewhere")
        assert usage(store, top) == (5, 2)
        session.write(file, 3, b"67890")
        assert usage(store, top) == (8, 2)
        session.do(Truncate(file, 20))
        assert usage(store, top) == (20, 2)
        session.do(Truncate(file, 0))
        assert usage(store, top) == (0, 2)
        session.do(Unlink(inner, b"file"))
        session.do(Rmdir(top, b"inner"))
        assert usage(store, top) == (0, 0)
        store.close()

    def test_what_was_there_before_counts(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        deep = top
        for _ in range(5):
            deep = session.mkdir(b"d", deep).ino
        file = session.make(b"file", parent=deep).ino
        session.write(file, 0, b"12345")
        session.do(Link(file, top, b"again"))
        row = store.quotas.set("main", top, None, 3)
        assert row == (top, None, 3, 5, 6, False)
        session.fails(Kind.QUOTA, Create(deep, b"more", session.ino(), 0o100644, 0, 0))
        session.write(file, 0, bytes(100))
        assert usage(store, top) == (100, 6)
        store.close()

    def test_nested(self, stores: QuotaStores) -> None:
        """The nearest and all above it."""
        store = stores.open()
        session = Session(store)
        outer = session.mkdir(b"outer").ino
        inner = session.mkdir(b"inner", outer).ino
        store.quotas.set("main", inner, 100, None)
        store.quotas.set("main", outer, 150, None)
        store.quotas.set("main", ROOT, 180, None)
        one = session.make(b"one", parent=inner).ino
        two = session.make(b"two", parent=outer).ino
        three = session.make(b"three").ino
        session.fails(Kind.QUOTA, Truncate(one, 101))
        session.do(Truncate(one, 100))
        session.fails(Kind.QUOTA, Truncate(two, 51))
        session.do(Truncate(two, 50))
        session.fails(Kind.QUOTA, Truncate(three, 31))
        session.do(Truncate(three, 30))
        assert (usage(store, inner), usage(store, outer)) == ((100, 1), (150, 3))
        assert usage(store, ROOT) == (180, 5)
        session.do(Truncate(one, 99))
        session.do(Truncate(three, 31))
        store.quotas.delete("main", outer)
        session.do(Truncate(one, 0))
        session.do(Truncate(two, 140))
        assert (usage(store, inner), usage(store, ROOT)) == ((0, 1), (171, 5))
        assert [row.directory for row in store.quotas.rows("main")] == [ROOT, inner]
        store.close()

    def test_a_full_quota_takes_what_takes_away(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        file = session.make(b"file", parent=top).ino
        session.write(file, 0, bytes(50))
        session.mkdir(b"d", top)
        store.quotas.set("main", top, 10, 1)
        session.write(file, 10, b"the same size")
        session.do(Rename(top, b"d", top, b"e"))
        session.do(Truncate(file, 40))
        session.fails(Kind.QUOTA, Truncate(file, 41))
        session.do(Rmdir(top, b"e"))
        session.do(Unlink(top, b"file"))
        assert usage(store, top) == (0, 0)
        store.close()

    def test_a_batch_is_refused_whole(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, 10, None)
        ino = session.ino()
        failure = session.fails(
            Kind.QUOTA, Create(top, b"file", ino, 0o100644, 0, 0), Truncate(ino, 5), Truncate(ino, 11)
        )
        assert failure.op == 2
        assert session.names(top) == []
        assert usage(store, top) == (0, 0)
        session.do(Create(top, b"file", ino, 0o100644, 0, 0), Truncate(ino, 10))
        assert usage(store, top) == (10, 1)
        store.close()

    # --- moves ---------------------------------------------------------------------------------------

    def test_moves_move_the_usage(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        a, b = session.mkdir(b"a").ino, session.mkdir(b"b").ino
        store.quotas.set("main", a, 1000, None)
        store.quotas.set("main", b, 60, None)
        tree = session.mkdir(b"tree", a).ino
        file = session.make(b"file", parent=tree).ino
        session.write(file, 0, bytes(50))
        session.do(Rename(a, b"tree", b, b"tree"))
        assert (usage(store, a), usage(store, b)) == ((0, 0), (50, 2))
        session.fails(Kind.QUOTA, Truncate(file, 61))
        session.do(Rename(tree, b"file", a, b"file"))
        assert (usage(store, a), usage(store, b)) == ((50, 1), (0, 1))
        session.do(Truncate(file, 61))
        session.fails(Kind.QUOTA, Rename(a, b"file", b, b"file"))
        session.do(Truncate(file, 60), Rename(a, b"file", b, b"tree", RenameMode.EXCHANGE))
        assert (usage(store, a), usage(store, b)) == ((0, 1), (60, 1))
        other = session.make(b"other", parent=a).ino
        session.do(Truncate(other, 7))
        session.do(Rename(a, b"other", b, b"tree"))
        assert (usage(store, a), usage(store, b)) == ((0, 1), (7, 1))
        session.do(Rename(b, b"tree", ROOT, b"out"))
        assert (usage(store, a), usage(store, b)) == ((0, 1), (0, 0))
        store.close()

    def test_a_directory_with_a_quota_moves(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        a, b = session.mkdir(b"a").ino, session.mkdir(b"b").ino
        inner = session.mkdir(b"inner", a).ino
        for directory in (a, b, inner):
            store.quotas.set("main", directory, 100, None)
        file = session.make(b"file", parent=inner).ino
        session.do(Truncate(file, 40))
        session.do(Rename(a, b"inner", b, b"moved"))
        session.do(Truncate(file, 50))
        assert (usage(store, a), usage(store, b), usage(store, inner)) == ((0, 0), (50, 2), (50, 1))
        store.close()

    def test_links_across_are_refused(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        inside = session.mkdir(b"inside", top).ino
        store.quotas.set("main", ROOT, 10_000, None)
        store.quotas.set("main", top, 1000, None)
        file = session.make(b"file", parent=top).ino
        outside = session.make(b"outside").ino
        session.fails(Kind.CROSS_VOLUME, Link(file, ROOT, b"link"))
        session.fails(Kind.CROSS_VOLUME, Link(outside, top, b"link"))
        session.do(Link(file, inside, b"link"))
        session.do(Link(outside, ROOT, b"link"))
        session.fails(Kind.CROSS_VOLUME, Rename(inside, b"link", ROOT, b"moved"))
        session.fails(Kind.CROSS_VOLUME, Rename(top, b"inside", ROOT, b"moved"))
        session.do(Truncate(file, 5))
        assert usage(store, top) == (5, 2)
        session.do(Unlink(top, b"file"))
        assert usage(store, top) == (5, 2)
        session.do(Rename(top, b"inside", ROOT, b"moved"))
        assert (usage(store, top), usage(store, ROOT)) == ((0, 0), (5, 4))
        store.close()

    def test_files_with_names_outside_hinder_a_quota(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        file = session.make(b"file", parent=top).ino
        session.do(Link(file, ROOT, b"outside"))
        with refused(Kind.INVALID):
            store.quotas.set("main", top, 1000, None)
        assert store.quotas.rows("main") == []
        store.quotas.set("main", ROOT, 1000, None)
        session.do(Truncate(file, 10))
        assert usage(store, ROOT) == (10, 2)
        store.close()

    # --- whole trees, staged files, open files -------------------------------------------------------

    def test_trees(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, 100, None)
        store.quotas.set("main", ROOT, None, None)
        tree = session.mkdir(b"tree", top).ino
        file = session.make(b"file", parent=tree).ino
        session.do(Truncate(file, 40))
        session.do(Link(file, top, b"kept"))
        session.do(Clone(tree, top, b"copy", session.ino(), 0, 0))
        assert usage(store, top) == (80, 4)
        session.fails(Kind.QUOTA, Clone(tree, top, b"more", session.ino(), 0, 0))
        session.fails(Kind.QUOTA, Clone(file, top, b"more", session.ino(), 0, 0))
        before = usage(store, ROOT)
        session.do(RemoveTree(top, b"copy"))
        assert usage(store, top) == (40, 2)
        session.do(RemoveTree(top, b"tree"))
        assert usage(store, top) == (40, 1)
        session.do(Unlink(top, b"kept"))
        assert usage(store, top) == (0, 0)
        assert usage(store, ROOT)[0] <= before[0]
        session.reap_all()
        assert (usage(store, top), usage(store, ROOT)) == ((0, 0), (0, 1))
        assert session.problems() == []
        store.close()

    def test_staged_files_count_where_they_are_published(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, 100, 2)
        store.quotas.set("main", ROOT, 1000, None)
        first, second = session.staged().ino, session.staged().ino
        session.do(Truncate(first, 60))
        session.do(Truncate(second, 90))
        assert usage(store, ROOT) == (150, 3)
        session.do(Publish(first, top, b"file"))
        session.fails(Kind.QUOTA, Publish(second, top, b"other"))
        assert usage(store, top) == (60, 1)
        session.do(Publish(second, top, b"file"), Truncate(first, 95))
        assert (usage(store, top), usage(store, ROOT)) == ((95, 1), (95, 2))
        third = session.staged().ino
        session.fails(Kind.QUOTA, Truncate(third, 906))
        session.do(Truncate(third, 905))
        store.close()

    def test_an_open_file_without_a_name_counts_for_the_volume(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, 100, None)
        store.quotas.set("main", ROOT, 100, None)
        file = session.make(b"file", parent=top).ino
        session.do(Truncate(file, 60))
        session.do(Unlink(top, b"file", claim=True))
        assert (usage(store, top), usage(store, ROOT)) == ((0, 0), (60, 2))
        session.fails(Kind.QUOTA, Truncate(file, 101))
        session.do(Truncate(file, 100))
        session.ns.detach()
        again = Session(store)
        again.reap_all()
        assert usage(store, ROOT) == (0, 1)
        store.close()

    # --- many batches in a call ----------------------------------------------------------------------

    def test_batches_of_one_call(self, stores: QuotaStores) -> None:
        """Each is refused by itself, where those before it have used up the room."""
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, None, 3)
        d, file = session.ino(), session.ino()
        batches = [
            session.batch(Create(top, b"d", d, 0o40755, 0, 0)),
            session.batch(Create(d, b"file", file, 0o100644, 0, 0)),
            session.batch(Truncate(file, 10)),
            session.batch(Create(d, b"two", session.ino(), 0o100644, 0, 0)),
            session.batch(Create(top, b"three", session.ino(), 0o100644, 0, 0)),
            session.batch(Unlink(d, b"two")),
            session.batch(Create(top, b"three", session.ino(), 0o100644, 0, 0)),
        ]
        replies = session.ns.apply(batches, durable=True)
        failed = [reply.failure is not None and reply.failure.kind for reply in replies]
        assert failed == [False, False, False, False, "quota", False, False]
        assert usage(store, top) == (10, 3)
        store.close()

    # --- keeping them --------------------------------------------------------------------------------

    def test_they_survive(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        store.quotas.set("main", top, 100, 5)
        file = session.make(b"file", parent=top).ino
        session.do(Truncate(file, 60), durable=True)
        rows = store.quotas.rows("main")
        store.close()
        store = stores.open()
        assert store.quotas.rows("main") == rows == [(top, 100, 5, 60, 1, False)]
        session = Session(store)
        session.fails(Kind.QUOTA, Truncate(file, 101))
        assert store.quotas.set("main", top, None, 5) == (top, None, 5, 60, 1, False)
        session.do(Truncate(file, 101))
        assert usage(store, top) == (101, 1)
        store.close()

    def test_of_what_there_is(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        file = session.make(b"file").ino
        with refused(Kind.NOT_A_DIRECTORY):
            store.quotas.set("main", file, 1, 1)
        with refused(Kind.NOT_FOUND):
            store.quotas.set("main", Ino(987_654), 1, 1)
        with refused(Kind.NOT_FOUND):
            store.quotas.delete("main", ROOT)
        with refused(Kind.NOT_FOUND):
            store.quotas.check("main", ROOT, repair=True)
        with refused(Kind.NOT_FOUND):
            store.quotas.rows("other")
        with refused(Kind.INVALID):
            store.quotas.set("main", ROOT, -5, None)
        gone = session.mkdir(b"gone").ino
        store.quotas.set("main", gone, 1, 1)
        session.do(Rmdir(ROOT, b"gone"))
        store.quotas.set("main", ROOT, 1, 1)
        assert [row.directory for row in store.quotas.rows("main")] == [ROOT]
        store.close()

    def test_what_is_wrong_is_found_and_counted_anew(self, stores: QuotaStores) -> None:
        """By ``check`` and ``mend``, as ``fsck --repair`` asks them."""
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        session.write(session.make(b"f", parent=top).ino, 0, b"12345")
        for directory in (ROOT, top):
            store.quotas.set("main", directory, 1000, 100)
        assert session.problems() == []
        store.close()
        stores.spoil(top, 3, 7)
        store = stores.open()
        [problem] = store.upkeep.check()
        assert problem.what == f"the quota of directory {top} says 3 bytes in 7 inodes, and there are 5 in 1"
        [mend] = store.upkeep.plan()
        assert store.upkeep.mend((mend.kind,), ()) == ["what 1 quotas have used is counted anew"]
        assert list(store.upkeep.check()) == []
        assert usage(store, top) == (5, 1)
        store.close()

    def test_counting_that_nobody_ended_is_ended_once(self, stores: QuotaStores) -> None:
        store = stores.open()
        session = Session(store)
        top = session.mkdir(b"top").ino
        session.write(session.make(b"f", parent=top).ino, 0, b"12345")
        store.quotas.set("main", top, 1000, 100)
        store.close()
        stores.spoil(top, 0, 0, counting=True)
        store = stores.open()
        session = Session(store)
        session.write(session.make(b"more", parent=top).ino, 0, b"678")
        assert list(store.upkeep.check()) == []
        for _ in range(2):
            store.quotas.check("main", top, repair=True)
            assert usage(store, top) == (8, 2)
        store.close()

    # --- with a trash --------------------------------------------------------------------------------

    def test_what_is_removed_counts_again_when_it_comes_back(self, stores: QuotaStores) -> None:
        """File by file or as a whole; for the volume's quota it counts all the time."""
        store = stores.open()
        store.trash_age_ns = 0
        session = Session(store)
        top = session.mkdir(b"top").ino
        inner = session.mkdir(b"inner", top).ino
        for name in (b"a", b"b"):
            session.write(session.make(name, parent=inner).ino, 0, b"12345")
        store.quotas.set("main", ROOT, 1000, 100)
        store.quotas.set("main", top, 1000, 10)
        store.quotas.set("main", inner, 1000, 10)
        day = session.find(TRASH).ino
        for whole in (True, False):
            if whole:
                session.do(RemoveTree(top, b"inner"))
            else:
                session.do(Unlink(inner, b"a"))
                session.do(Unlink(inner, b"b"))
                assert usage(store, inner) == (0, 0)
                session.do(Rmdir(top, b"inner"))
            assert usage(store, top) == (0, 0)
            assert usage(store, ROOT) == (10, 4)
            parent = self._day(session, day, b"top")
            session.do(Rename(parent, b"inner", top, b"inner"))
            assert usage(store, top) == (10, 3)
            assert usage(store, inner) == (10, 2)
            assert usage(store, ROOT) == (10, 4)
        session.do(RemoveTree(top, b"inner"))
        parent = self._day(session, day, b"top")
        within = session.find(b"inner", parent).ino
        session.do(Unlink(within, b"a"))
        store.quotas.set("main", top, 4, 10)
        session.fails(Kind.QUOTA, Rename(within, b"b", top, b"b"))
        session.fails(Kind.QUOTA, Rename(parent, b"inner", top, b"inner"))
        store.quotas.set("main", top, 5, 2)
        session.do(Rename(within, b"b", top, b"b"))
        assert usage(store, top) == (5, 1)
        session.do(Rename(parent, b"inner", top, b"inner"))
        assert usage(store, top) == (5, 2)
        assert usage(store, inner) == (0, 0)
        assert session.problems() == []
        store.close()

    def _day(self, session: Session, trash: Ino, *path: bytes) -> Ino:
        [entry] = session.ns.entries(trash, None, 10)
        return session.ns.resolve(path, entry.attr.ino)[-1].ino
