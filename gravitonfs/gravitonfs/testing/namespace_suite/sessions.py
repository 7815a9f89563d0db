"""Batches exactly once, refusals, durability, what sessions claim and what they are told."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import Gap, Kind, MissingBlocks
from gravitonfs.ports.namespace import Change, Touched
from gravitonfs.ports.ops import (
    Batch,
    Create,
    Disclaim,
    LooseBlock,
    Publish,
    Rename,
    Retain,
    Rmdir,
    SetRecord,
    Truncate,
    Unlink,
    Write,
)
from gravitonfs.ports.packs import PackState
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, Stores, digest, refused


class ExactlyOnceSuite:
    def test_a_repeat_returns_the_recorded_answer(self, session: Session) -> None:
        batch = session.batch(Create(ROOT, b"f", session.ino(), 0o100600, 0, 0))
        [first] = session.ns.apply([batch], durable=False)
        session.do(Unlink(ROOT, b"f"))
        [again] = session.ns.apply([batch], durable=False)
        assert again.results == first.results
        assert session.names() == []

    def test_failures_are_recorded_too(self, session: Session) -> None:
        batch = session.batch(Unlink(ROOT, b"f"))
        [first] = session.ns.apply([batch], durable=False)
        session.make(b"f")
        [again] = session.ns.apply([batch], durable=False)
        assert again.failure == first.failure
        assert first.failure is not None
        assert session.names() == [b"f"]

    def test_a_gap_is_refused(self, session: Session) -> None:
        session.make(b"a")
        early = Batch(session.number + 2, 1, (Create(ROOT, b"c", session.ino(), 0o100600, 0, 0),))
        with pytest.raises(Gap) as caught:
            session.ns.apply([early], durable=False)
        assert caught.value.last == session.number
        session.make(b"b")
        assert session.ns.apply([early], durable=False)[0].failure is None
        assert session.names() == [b"a", b"b", b"c"]

    def test_batches_before_a_refused_one_stay(self, session: Session) -> None:
        good = session.batch(Create(ROOT, b"a", session.ino(), 0o100600, 0, 0))
        gap = Batch(session.number + 5, 1, ())
        with pytest.raises(Gap):
            session.ns.apply([good, gap], durable=False)
        assert session.names() == [b"a"]
        assert session.ns.apply([good], durable=False)[0].failure is None

    def test_missing_blocks_use_no_number(self, session: Session) -> None:
        ino = session.make(b"f").ino
        extent = session.extent(0, b"abc")
        dead = session.store.packs.begin(b"x" * 16, "suite", PackState.LIVE)
        session.store.packs.abandon(dead)
        batch = session.batch(Write(ino, (extent,), 3), packs=(session.pack, dead, PackNumber(999_999)))
        with pytest.raises(MissingBlocks) as caught:
            session.ns.apply([batch], durable=False)
        assert caught.value.packs == (dead, 999_999)
        assert session.ns.attr(ino).size == 0
        fixed = Batch(batch.number, batch.time_ns, batch.ops, (session.pack,))
        assert session.ns.apply([fixed], durable=False)[0].failure is None

    def test_durable_through(self, session: Session) -> None:
        [reply] = session.ns.apply([session.batch()], durable=True)
        assert reply.durable_through == reply.number
        [reply] = session.ns.apply([session.batch()], durable=False)
        assert reply.durable_through <= reply.number

    def test_answers_survive(self, stores: Stores) -> None:
        store = stores.open()
        session = Session(store)
        batch = session.batch(Create(ROOT, b"f", session.ino(), 0o100600, 0, 0))
        [first] = session.ns.apply([batch], durable=True)
        number = session.ns.session
        store.close()
        store = stores.open()
        resumed = store.attach(label="again", resume=number)
        [again] = resumed.apply([batch], durable=False)
        assert again.results == first.results
        with pytest.raises(Gap) as caught:
            resumed.apply([Batch(3, 1, ())], durable=False)
        assert caught.value.last == 1
        store.close()

    def test_a_session_that_has_ended_is_fenced(self, store: Store) -> None:
        session = Session(store)
        session.ns.detach()
        session.ns.detach()
        with refused(Kind.FENCED):
            session.do(Create(ROOT, b"f", Ino(20), 0o100600, 0, 0))
        with refused(Kind.FENCED):
            store.attach(label="x", resume=12345)

    def test_read_only(self, store: Store) -> None:
        session = Session(store, read_only=True)
        with refused(Kind.READ_ONLY):
            session.do(Create(ROOT, b"f", Ino(20), 0o100600, 0, 0))
        with refused(Kind.NOT_FOUND):
            store.attach("nothing", label="x")

    def test_numbers_are_never_given_twice(self, stores: Stores) -> None:
        given: list[int] = []
        for _ in range(3):
            store = stores.open()
            session = Session(store)
            given += session.ns.grant(1000)
            given += session.ns.grant(3_000_000)
            store.close()
        assert len(set(given)) == len(given)

    def test_threads(self, store: Store) -> None:
        """Sessions of several threads: every batch applies once, and the end is consistent."""
        failures: list[BaseException] = []

        def work(index: int) -> None:
            try:
                session = Session(store, label=str(index))
                for number in range(60):
                    name = b"%d-%d" % (index, number)
                    ino = session.make(name).ino
                    session.write(ino, 0, name)
                    session.do(Rename(ROOT, name, ROOT, b"shared"), durable=number % 20 == 0)
                    session.names()
            except BaseException as error:  # noqa: BLE001  # told by the test below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        check = Session(store)
        assert check.names() == [b"shared"]
        assert check.problems() == []


class DurabilitySuite:
    def test_the_barrier_comes_before_each_commit(self, store: Store) -> None:
        calls: list[str] = []
        store.set_barrier(lambda: calls.append("barrier"))
        session = Session(store)
        session.do(Create(ROOT, b"f", session.ino(), 0o100600, 0, 0), durable=True)
        assert calls
        calls.clear()
        session.ns.apply([], durable=True)
        assert calls == []

    def test_registry_calls_from_the_barrier(self, store: Store) -> None:
        """A pack store seals packs and opens new ones while it syncs."""
        numbers: list[int] = []

        def barrier() -> None:
            numbers.append(store.packs.begin(len(numbers).to_bytes(16, "big"), "suite", PackState.LIVE))

        store.set_barrier(barrier)
        session = Session(store)
        session.do(durable=True)
        store.set_barrier(lambda: None)
        assert [row.number for row in store.packs.rows()] == numbers

    def test_a_commit_that_fails_is_a_refusal(self, store: Store) -> None:
        """What was applied before stays; the batch that wanted it has not happened, its number is free."""
        from gravitonfs.errors import NoSpace

        def barrier() -> None:
            raise NoSpace("no room for packs")

        theirs: list[Change] = []
        session = Session(store)
        Session(store, "other", listener=theirs.extend)
        ino = session.ino()
        session.make(b"before")
        theirs.clear()
        store.set_barrier(barrier)
        with refused(Kind.NO_SPACE):
            session.do(Create(ROOT, b"f", ino, 0o100600, 0, 0), durable=True)
        assert session.names() == [b"before"]
        assert theirs == []
        store.set_barrier(lambda: None)
        session.number -= 1
        session.do(Create(ROOT, b"g", ino, 0o100600, 0, 0), durable=True)
        assert session.names() == [b"before", b"g"]
        assert session.problems() == []

    def test_what_was_closed_is_there_again(self, stores: Stores) -> None:
        store = stores.open()
        session = Session(store)
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        usage = session.ns.usage()
        store.close()
        store = stores.open()
        session = Session(store)
        assert session.read(session.find(b"f").ino) == b"data"
        assert session.ns.usage() == usage
        store.close()


class OrphanSuite:
    def test_an_open_file_outlives_its_name(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        usage = session.ns.usage()
        assert session.do(Unlink(ROOT, b"f", claim=True)).kept
        assert session.ns.attr(ino).nlink == 0
        session.write(ino, 0, b"more data")
        assert session.read(ino) == b"more data"
        session.do(Disclaim((ino,)))
        with refused(Kind.STALE):
            session.ns.attr(ino)
        assert session.ns.usage() == (usage.logical_bytes - 4, usage.inodes - 1)

    def test_what_is_retained_outlives_sessions_and_the_store(self, stores: Stores) -> None:
        store = stores.open()
        session = Session(store)
        kept, gone = session.staged().ino, session.staged().ino
        session.write(kept, 0, b"half of it")
        session.do(Retain(kept))
        session.ns.detach()
        store.close()
        store = stores.open()
        session = Session(store)
        with refused(Kind.STALE):
            session.ns.attr(gone)
        assert session.read(kept) == b"half of it"
        session.do(Truncate(kept, 11))
        assert session.problems() == []
        session.do(Publish(kept, ROOT, b"whole"))
        assert session.read(session.find(b"whole").ino) == b"half of it\0"
        assert session.problems() == []
        store.close()

    def test_what_is_retained_is_let_go(self, session: Session) -> None:
        usage = session.ns.usage()
        ino = session.staged().ino
        session.do(Retain(ino))
        session.do(Disclaim((ino,)))
        assert session.ns.attr(ino).nlink == 0
        session.do(Retain(ino, False))
        session.fails(Kind.STALE, Retain(ino))
        assert session.ns.usage() == usage

    def test_other_sessions_are_asked(self, store: Store) -> None:
        opened: set[int] = set()
        other = Session(store, "other", claims=lambda ino: ino in opened)
        session = Session(store)
        ino, gone = session.make(b"f").ino, session.make(b"g").ino
        opened.add(ino)
        assert session.do(Unlink(ROOT, b"f")).kept
        assert not session.do(Unlink(ROOT, b"g")).kept
        session.do(Disclaim((ino, gone)))
        assert other.ns.attr(ino).nlink == 0
        other.do(Disclaim((ino,)))
        with refused(Kind.STALE):
            session.ns.attr(ino)

    def test_the_last_claim_counts(self, store: Store) -> None:
        one = Session(store, "1", claims=lambda ino: True)
        two = Session(store, "2", claims=lambda ino: True)
        ino = one.make(b"f").ino
        one.do(Unlink(ROOT, b"f"))
        one.ns.detach()
        assert two.ns.attr(ino).ino == ino
        two.ns.detach()
        three = Session(store)
        with refused(Kind.STALE):
            three.ns.attr(ino)
        assert three.problems() == []

    def test_replaced_and_removed_ones(self, session: Session) -> None:
        old = session.make(b"old").ino
        session.make(b"new")
        removed = session.do(Rename(ROOT, b"new", ROOT, b"old", claim=True))
        assert (removed.ino, removed.links, removed.kept) == (old, 0, True)
        session.do(Disclaim((old,)))

    def test_an_open_directory(self, store: Store) -> None:
        session = Session(store, claims=lambda ino: True)
        ino = session.mkdir(b"d").ino
        assert session.do(Rmdir(ROOT, b"d")).kept
        assert session.ns.attr(ino).nlink == 0
        assert session.ns.entries(ino, None, 10) == []
        session.fails(Kind.NOT_FOUND, Create(ino, b"x", session.ino(), 0o100600, 0, 0))
        session.do(Disclaim((ino,)))
        assert session.problems() == []

    def test_staged_inodes_go_with_their_session(self, store: Store) -> None:
        session = Session(store)
        usage = session.ns.usage()
        ino = session.staged().ino
        session.write(ino, 0, b"half", expect=0, seal=digest(b"half"))
        session.ns.detach()
        after = Session(store)
        with refused(Kind.STALE):
            after.ns.attr(ino)
        assert after.ns.usage() == usage

    def test_and_with_their_process(self, stores: Stores) -> None:
        store = stores.open()
        session = Session(store)
        usage = session.ns.usage()
        session.staged()
        kept = session.make(b"f").ino
        session.do(Unlink(ROOT, b"f", claim=True), durable=True)
        store.close()
        store = stores.open()
        after = Session(store)
        with refused(Kind.STALE):
            after.ns.attr(kept)
        assert after.ns.usage() == usage
        assert after.problems() == []
        store.close()


class ListenerSuite:
    def test_others_are_told_and_oneself_is_not(self, store: Store) -> None:
        mine: list[Change] = []
        theirs: list[Change] = []
        session = Session(store, "me", listener=mine.extend)
        Session(store, "other", listener=theirs.extend)
        file = session.make(b"f")
        assert Change(Touched.ENTRY, file.ino, ROOT, b"f") in theirs
        assert any(change.touched & Touched.ATTR and change.ino == ROOT for change in theirs)
        theirs.clear()
        session.write(file.ino, 0, b"x")
        assert theirs == [Change(Touched.ATTR | Touched.DATA, file.ino, Ino(0), b"")]
        theirs.clear()
        session.do(Rename(ROOT, b"f", ROOT, b"g"))
        assert {change.name for change in theirs if change.touched & Touched.ENTRY} == {b"f", b"g"}
        assert mine == []

    def test_failed_batches_tell_nothing(self, store: Store) -> None:
        theirs: list[Change] = []
        session = Session(store)
        Session(store, "other", listener=theirs.extend)
        session.fails(
            Kind.NOT_FOUND, Create(ROOT, b"f", session.ino(), 0o100600, 0, 0), Unlink(ROOT, b"nothing")
        )
        assert theirs == []

    def test_a_listener_may_ask_back(self, store: Store) -> None:
        """It runs without the lock, and what it is told of is there."""
        seen: list[int] = []
        other: Session

        def look(name: bytes) -> None:
            seen.append(other.find(name).ino)

        def listener(changes: Sequence[Change]) -> None:
            for change in changes:
                if change.touched & Touched.ENTRY:
                    thread = threading.Thread(target=look, args=(change.name,))
                    thread.start()
                    thread.join(10)

        other = Session(store, "other", listener=listener)
        session = Session(store)
        assert seen == []
        assert [session.make(b"f").ino] == seen

    def test_watch_ends(self, session: Session) -> None:
        assert list(session.ns.watch(0)) == []


class RecordSuite:
    def test_records(self, session: Session) -> None:
        session.do(
            SetRecord("locks", b"/a", b"1"), SetRecord("locks", b"/b", b"2"), SetRecord("x", b"/a", b"3")
        )
        assert session.ns.records("locks") == [(b"/a", b"1"), (b"/b", b"2")]
        assert session.ns.records("locks", b"/b") == [(b"/b", b"2")]
        session.do(SetRecord("locks", b"/a", None))
        assert session.ns.records("locks") == [(b"/b", b"2")]

    def test_prefixes_of_any_bytes(self, session: Session) -> None:
        for key in (b"\xff", b"\xff\xff", b"\xffa", b"a", b""):
            session.do(SetRecord("x", key, b"v"))
        assert [key for key, _ in session.ns.records("x", b"\xff")] == [b"\xff", b"\xffa", b"\xff\xff"]
        assert len(session.ns.records("x")) == 5

    def test_expectations(self, session: Session) -> None:
        session.do(SetRecord("x", b"k", b"1", b""))
        session.fails(Kind.CONFLICT, SetRecord("x", b"k", b"2", b""))
        session.do(SetRecord("x", b"k", b"2", b"1"))
        session.fails(Kind.CONFLICT, SetRecord("x", b"k", None, b"1"))
        session.do(SetRecord("x", b"k", None, b"2"))
        assert session.ns.records("x") == []


class PackSuite:
    def test_a_pack_lives_and_dies(self, store: Store) -> None:
        packs = store.packs
        number = packs.begin(b"u" * 16, "me", PackState.STORING)
        row = packs.get(number)
        assert row is not None
        assert (row.uuid, row.state, row.owner, row.length) == (b"u" * 16, PackState.STORING, "me", 0)
        packs.sealed(number, 1000, 10, b"footer")
        packs.sealed(number, 1000, 10, b"footer")
        assert packs.publish(number)
        assert packs.publish(number)  # repeated, as after an answer that got lost
        row = packs.get(number)
        assert row is not None
        assert (row.state, row.length, row.blocks) == (PackState.LIVE, 1000, 10)
        assert not packs.deleting(number)
        later = packs.clock_ns() + 1
        assert packs.condemn([number, PackNumber(999)], row.relied_ns) == []
        assert packs.condemn([number, PackNumber(999)], later) == [number]
        assert packs.condemn([number], later) == []
        packs.deleted(number)
        assert packs.get(number) is not None
        assert packs.deleting(number)
        packs.deleted(number)
        assert packs.get(number) is None

    def test_an_abandoned_one_is_not_published(self, store: Store) -> None:
        number = store.packs.begin(b"u" * 16, "me", PackState.STORING)
        store.packs.abandon(number)
        assert not store.packs.publish(number)
        assert store.packs.deleting(number)

    def test_rows_in_pages_and_numbers_never_again(self, stores: Stores) -> None:
        store = stores.open()
        numbers = [store.packs.begin(bytes([n]) * 16, "me", PackState.LIVE) for n in range(7)]
        assert [row.number for row in store.packs.rows(numbers[1], 3)] == numbers[2:5]
        last = numbers[-1]
        store.packs.abandon(last)
        assert store.packs.deleting(last)
        store.packs.deleted(last)
        store.close()
        store = stores.open()
        assert store.packs.begin(b"z" * 16, "me", PackState.LIVE) > last
        assert [row.number for row in store.packs.rows()][:-1] == numbers[:-1]
        store.close()

    def test_the_clock_does_not_go_back(self, store: Store) -> None:
        times = [store.packs.clock_ns() for _ in range(100)]
        assert times == sorted(times)


class LooseSuite:
    def block(self, data: bytes) -> LooseBlock:
        from gravitonfs.core.hashing import block_id

        return LooseBlock(block_id(data), 0, len(data), data)

    def test_they_come_with_a_batch_and_are_dropped_later(self, session: Session) -> None:
        loose = session.store.loose
        blocks = [self.block(b"%d" % number * 100) for number in range(100)]
        session.do(loose=tuple(blocks))
        session.do(loose=tuple(blocks[:3]))
        size = sum(len(block.payload) for block in blocks)
        assert loose.loose_bytes() == size
        ids = [block.id for block in blocks]
        found = loose.loose_get([*ids, self.block(b"unknown").id])
        assert {key: value.payload for key, value in found.items()} == {b.id: b.payload for b in blocks}
        page = loose.loose_page(250)
        assert [block.id for block in page] == ids[: len(page)]
        assert 1 <= len(page) <= 3
        assert len(loose.loose_page(0)) == 1
        loose.loose_drop(ids[:50])
        loose.loose_drop(ids[:50])
        assert loose.loose_bytes() == sum(len(block.payload) for block in blocks[50:])
        assert session.store.upkeep.loose_ids() == ids[50:]

    def test_a_failed_batch_brings_none(self, session: Session) -> None:
        session.fails(Kind.NOT_FOUND, Unlink(ROOT, b"nothing"), loose=(self.block(b"x"),))
        assert session.store.loose.loose_bytes() == 0
        assert session.store.loose.loose_page(1000) == []

    def test_they_outlive_the_process(self, stores: Stores) -> None:
        store = stores.open()
        Session(store).do(loose=(self.block(b"kept"),), durable=True)
        store.close()
        store = stores.open()
        assert store.loose.loose_bytes() == 4
        assert [bytes(block.payload) for block in store.loose.loose_page(100)] == [b"kept"]
        store.close()
