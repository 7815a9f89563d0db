"""Sessions of other processes, and volumes: what daemons ask of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from gravitonfs.core.ids import Ino
from gravitonfs.core.snapshots import DIRECTORY, DIRECTORY_INO, past_content, past_ino
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall
from gravitonfs.ports.ops import Batch, Create, Link, Unlink, Write
from gravitonfs.ports.packs import LooseBlocks, PackRegistry
from gravitonfs.ports.store import SessionStore
from gravitonfs.ports.upkeep import Upkeep
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused
from gravitonfs.testing.namespace_suite.small_maps import sealed

SECRET = bytes(range(32))


class LeasingStore(SessionStore, Protocol):
    @property
    def packs(self) -> PackRegistry: ...
    @property
    def loose(self) -> LooseBlocks: ...
    @property
    def upkeep(self) -> Upkeep: ...
    def attach(
        self,
        volume: str = "main",
        *,
        label: str,
        claims: Claims | None = None,
        listener: Listener | None = None,
        read_only: bool = False,
        resume: int | None = None,
        at: int | None = None,
        leased: bytes | None = None,
        recall: Recall | None = None,
        background: bool = False,
        patience: float | None = None,
        process: str = "",
        journals: bool = False,
    ) -> Namespace: ...
    def set_barrier(self, barrier: Callable[[], None]) -> None: ...
    def close(self) -> None: ...


class LeasingStores(Protocol):
    def open(self) -> LeasingStore: ...


class LeaseSuite:
    def test_a_leased_session_outlives_the_process(self, stores: LeasingStores) -> None:
        store = stores.open()
        session = Session(store, leased=SECRET)
        store.commit()
        session.make(b"f")
        number = session.ns.session
        for turn in range(3):
            store.close()
            store = stores.open()
            [row] = [row for row in store.sessions() if row.number == number]
            assert (row.volume, row.label, row.leased, row.attached) == ("main", "test", True, False)
            assert row.last == session.number
            session.store = store
            session.ns = store.attach(label="test", resume=number, leased=SECRET)
            assert store.state_of(number) == (session.number, session.number)
            [row] = [row for row in store.sessions() if row.number == number]
            assert row.attached
            session.make(b"g%d" % turn)
        assert len(session.names()) == 4
        store.close()

    def test_it_proves_itself_by_its_secret(self, stores: LeasingStores) -> None:
        store = stores.open()
        number = Session(store, leased=SECRET).ns.session
        plain = Session(store).ns.session
        store.commit()
        store.close()
        store = stores.open()
        for wrong, leased in ((number, None), (number, bytes(32)), (plain, SECRET), (plain + 100, SECRET)):
            with refused(Kind.FENCED):
                store.attach(label="x", resume=wrong, leased=leased)
        store.attach(label="x", resume=number, leased=SECRET)
        with refused(Kind.FENCED):
            store.attach(label="x", resume=number, leased=SECRET)
        store.close()

    def test_what_it_claims_is_kept_until_it_ends(self, stores: LeasingStores) -> None:
        store = stores.open()
        session = Session(store, claims=lambda ino: True, leased=SECRET)
        store.commit()
        ino, released = session.make(b"f").ino, session.make(b"g").ino
        staged = session.staged().ino
        session.write(staged, 0, b"half")
        other = Session(store, "other")
        other.do(Unlink(ROOT, b"f"), Unlink(ROOT, b"g"), durable=True)
        assert set(store.claims_of(session.ns.session)) == {ino, released, staged}
        store.close()
        store = stores.open()
        after = Session(store)
        assert after.problems() == []
        assert {after.ns.attr(kept).nlink for kept in (ino, released, staged)} == {0}
        number = session.ns.session
        store.attach(label="again", resume=number, leased=SECRET, claims=lambda ino: True)
        store.release(number, [released, released, Ino(999)])
        with refused(Kind.STALE):
            after.ns.attr(released)
        assert set(store.claims_of(number)) == {ino, staged}
        store.evict(number)
        for gone in (ino, staged):
            with refused(Kind.STALE):
                after.ns.attr(gone)
        assert after.problems() == []
        store.close()

    def test_evicting(self, stores: LeasingStores) -> None:
        store = stores.open()
        one, left = Session(store), Session(store, leased=SECRET)
        store.commit()
        store.evict(one.ns.session)
        with refused(Kind.FENCED):
            one.make(b"f")
        with refused(Kind.FENCED):
            store.state_of(one.ns.session)
        with refused(Kind.FENCED):
            store.release(one.ns.session, [])
        with refused(Kind.NOT_FOUND):
            store.evict(one.ns.session)
        number = left.ns.session
        store.close()
        store = stores.open()
        store.evict(number)
        assert [row for row in store.sessions() if row.number == number] == []
        with refused(Kind.FENCED):
            store.attach(label="x", resume=number, leased=SECRET)
        store.close()
        store = stores.open()
        with refused(Kind.FENCED):
            store.attach(label="x", resume=number, leased=SECRET)
        store.close()

    def test_the_incarnation_rises(self, stores: LeasingStores) -> None:
        store = stores.open()
        first = store.incarnation
        store.close()
        store = stores.open()
        assert store.incarnation > first
        store.close()


class VolumesSuite:
    def test_they_are_apart(self, stores: LeasingStores) -> None:
        store = stores.open()
        made = store.create_volume("other")
        assert (made.name, made.logical_bytes, made.inodes) == ("other", 0, 1)
        assert [row.name for row in store.volume_rows()] == ["main", "other"]
        main, other = Session(store), Session(store, volume="other")
        assert other.ns.root == made.root
        file = main.make(b"f").ino
        main.write(file, 0, b"data")
        theirs = other.make(b"g", parent=made.root).ino
        assert other.names(made.root) == [b"g"]
        with refused(Kind.STALE):
            other.ns.attr(file)
        assert other.ns.lookup(made.root, b"f") is None
        with refused(Kind.NOT_FOUND):
            other.ns.lookup(ROOT, b"f")
        with refused(Kind.NOT_FOUND):
            other.ns.entries(ROOT, None, 10)
        other.fails(Kind.STALE, Link(file, made.root, b"h"))
        other.fails(Kind.STALE, Write(file, (), 0))
        other.fails(Kind.NOT_FOUND, Create(ROOT, b"h", other.ino(), 0o100600, 0, 0))
        assert other.ns.xattrs_of([file, theirs], b"") == []
        content = main.ns.attr(file).content
        assert main.ns.has_content(content)
        assert not other.ns.has_content(content)
        fixed = sealed(main, b"sealed", b"bytes").content
        assert list(main.ns.extents_of([fixed])) == [fixed]
        assert other.ns.extents_of([fixed]) == {}
        main.do(Unlink(ROOT, b"sealed"))
        first = store.create_snapshot("main", "s")
        second = store.create_snapshot("other", "t")
        assert store.snapshot_rows("other") == [second]
        assert first.number == second.number
        assert [entry.name for entry in other.ns.entries(DIRECTORY_INO, None, 9)] == [b"t"]
        assert [a.ino for a in other.ns.resolve([DIRECTORY, b"s"])] == [DIRECTORY_INO]
        with refused(Kind.STALE):
            other.ns.attr(past_ino(second.number, file))
        assert other.ns.attr(past_ino(second.number, theirs)).size == 0
        assert not other.ns.has_content(past_content(second.number, content))
        assert main.ns.has_content(past_content(first.number, content))
        assert [(row.name, row.inodes, row.logical_bytes) for row in store.volume_rows()] == [
            ("main", 2, 4),
            ("other", 2, 0),
        ]
        assert main.problems() == []
        store.close()

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "a b", "x" * 64, "/2", "a\0"])
    def test_names(self, stores: LeasingStores, name: str) -> None:
        store = stores.open()
        with refused(Kind.INVALID):
            store.create_volume(name)
        with refused(Kind.NOT_FOUND):
            store.delete_volume(name)
        with refused(Kind.NOT_FOUND):
            store.attach(name, label="x")
        store.close()

    def test_deleting_frees_all_of_it(self, stores: LeasingStores) -> None:
        store = stores.open()
        for _ in range(2):
            root = store.create_volume("other").root
            session = Session(store, volume="other")
            directory = session.mkdir(b"d", parent=root).ino
            for number in range(5):
                session.write(session.make(b"%d" % number, parent=directory).ino, 0, b"data")
            store.create_snapshot("other", "s")
            session.do(Unlink(directory, b"0"))
            with refused(Kind.BUSY):
                store.delete_volume("other")
            session.ns.detach()
            store.delete_volume("other")
            with refused(Kind.NOT_FOUND):
                store.attach("other", label="x")
            with refused(Kind.NOT_FOUND):
                store.delete_volume("other")
            assert [row.name for row in store.volume_rows()] == ["main"]
            assert Session(store).problems() == []
        store.close()
        store = stores.open()
        assert [row.name for row in store.volume_rows()] == ["main"]
        while store.upkeep.reap(7):
            pass
        assert sum(map(len, store.upkeep.extent_rows())) == 0
        assert Session(store).problems() == []
        with refused(Kind.NOT_PERMITTED):
            store.delete_volume("main")
        store.close()

    def test_they_outlive_the_process(self, stores: LeasingStores) -> None:
        store = stores.open()
        root = store.create_volume("other").root
        with refused(Kind.EXISTS):
            store.create_volume("other")
        session = Session(store, volume="other")
        session.make(b"f", parent=root)
        session.ns.apply([Batch(session.number + 1, 1, ())], durable=True)
        store.close()
        store = stores.open()
        assert Session(store, volume="other").names(root) == [b"f"]
        store.close()


__all__ = ["LeaseSuite", "LeasingStore", "LeasingStores", "VolumesSuite"]
