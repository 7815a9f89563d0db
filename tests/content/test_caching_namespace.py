"""What is asked, what is kept, and what a change that comes at the wrong moment does to it."""

from __future__ import annotations

import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from content.trusting import Trusted
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.content.caching_namespace import CachingNamespace, NotAtHand
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.session import Session as BatchSession
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.errors import GravitonError, NoAttribute, NotFound, Stale, Unavailable
from gravitonfs.ports import ops
from gravitonfs.ports.namespace import EVERYTHING, Change, Touched
from gravitonfs.testing.namespace_suite.driver import Session

MANY = 3500


class Rig:
    """A holder with its cache, on SQLite, and a session beside it that keeps nothing."""

    def __init__(self, path: Path, budget: int = 8 << 20) -> None:
        NamespaceStore.create(path, VolumeFormat(), b"store uuid 16 by")
        self.store = NamespaceStore.open(path)
        self.cache = NamesCache(budget)
        self.then: Callable[[str], None] = lambda method: None
        self.plain = Session(self.store, "plain")
        self.holder = Session(self, "holder")  # type: ignore[arg-type]

    def attach(self, *, label: str) -> CachingNamespace:
        namespace = self.store.attach(label=label, listener=self.cache.listening(None))
        self.trusted = Trusted(namespace, self._answered)
        return CachingNamespace(self.trusted, self.cache)

    def _answered(self, method: str) -> None:
        self.then(method)

    @property
    def ns(self) -> Any:
        return self.holder.ns

    def asked(self, action: Callable[[], object]) -> dict[str, int]:
        self.trusted.calls.clear()
        action()
        return dict(self.trusted.calls)

    def forgotten(self) -> None:
        self.cache.recalling(None)()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "namespace.db")
    yield made
    made.store.close()


def fill(session: Session, parent: Ino, count: int) -> list[bytes]:
    names = [b"file-%05d" % number for number in range(count)]
    for start in range(0, count, 500):
        todo = [
            ops.Create(parent, name, session.ino(), stat.S_IFREG | 0o644, 1, 1)
            for name in names[start : start + 500]
        ]
        session.do(*todo)
    return names


def test_a_directory_is_read_by_pages_once_two_names_were_asked_for(rig: Rig) -> None:
    parent = rig.plain.mkdir(b"d").ino
    names = fill(rig.plain, parent, MANY)
    asked = rig.asked(lambda: [rig.ns.lookup(parent, name) for name in names])
    assert sum(asked.values()) <= 8
    # All of it is known now: what is not there, too.
    assert not rig.asked(lambda: [rig.ns.lookup(parent, b"no" + name) for name in names])
    assert not rig.asked(lambda: [rig.ns.attr(rig.ns.lookup(parent, name).ino) for name in names])
    assert not rig.asked(lambda: rig.ns.entries(parent, b"file-01000", 1000))


def test_a_listing_makes_a_directory_known(rig: Rig) -> None:
    parent = rig.plain.mkdir(b"d").ino
    names = fill(rig.plain, parent, MANY)

    def list_all() -> None:
        after = None
        while page := rig.ns.entries(parent, after, 1000):
            after = page[-1].name

    assert rig.asked(list_all)["entries"] <= 5
    assert not rig.asked(lambda: [rig.ns.lookup(parent, name) for name in [*names, b"none", b"a"]])
    # A thousand inodes' attributes are one question.
    asked = rig.asked(lambda: [rig.ns.xattrs(rig.ns.lookup(parent, name).ino) for name in names])
    assert sum(asked.values()) <= MANY // 1000 + 1


def test_what_was_listed_follows_what_is_done_to_it(rig: Rig) -> None:
    """Links of one inode and directories among the files; each change to what only a listing told of."""
    parent = rig.plain.mkdir(b"d").ino
    names = fill(rig.plain, parent, 20)
    inos = [rig.plain.ns.lookup(parent, name).ino for name in names]
    rig.plain.do(ops.Link(inos[0], parent, b"another"))
    rig.plain.mkdir(b"below", parent=parent)
    rig.plain.write(inos[1], 0, b"data")
    changes: list[ops.Op] = [
        ops.SetAttr(inos[0], mode=0o600),
        ops.Unlink(parent, names[2]),
        ops.Rename(parent, names[3], parent, b"renamed"),
        ops.Rename(parent, names[4], parent, names[5]),
        ops.Truncate(inos[1], 1),
        ops.SetXattr(inos[6], b"user.a", b"1"),
        ops.Unlink(parent, b"another"),
        ops.Link(inos[7], parent, b"again"),
        ops.Create(parent, b"new", rig.holder.ino(), stat.S_IFREG | 0o644, 1, 1),
    ]

    def listed() -> object:
        return rig.ns.entries(parent, None, 1000)

    assert listed() == rig.plain.ns.entries(parent, None, 1000)
    for change in changes:
        rig.holder.do(change)
        page = rig.plain.ns.entries(parent, None, 1000)
        assert listed() == page
        assert [rig.ns.lookup(parent, entry.name) for entry in page] == [entry.attr for entry in page]
        rig.forgotten()
        assert listed() == page
        assert not rig.asked(listed)


def test_what_others_change_of_what_was_listed_is_asked_for(rig: Rig) -> None:
    parent = rig.plain.mkdir(b"d").ino
    names = fill(rig.plain, parent, 10)
    ino = rig.ns.entries(parent, None, 1000)[3].attr.ino
    rig.plain.do(ops.SetAttr(ino, mode=0o600))
    assert rig.ns.lookup(parent, names[3]).mode == stat.S_IFREG | 0o600
    rig.ns.entries(parent, None, 1000)
    rig.plain.do(ops.SetAttr(ino, mode=0o640))
    assert rig.ns.entries(parent, None, 1000) == rig.plain.ns.entries(parent, None, 1000)


def test_listings_stay_within_the_budget(tmp_path: Path) -> None:
    """And a directory in use is not forgotten for them."""
    rig = Rig(tmp_path / "small.db", budget=1 << 20)
    used = rig.holder.mkdir(b"used").ino
    rig.holder.do(ops.Create(used, b"f", rig.holder.ino(), stat.S_IFREG | 0o644, 1, 1))
    for number in range(8):
        parent = rig.plain.mkdir(b"d%d" % number).ino
        fill(rig.plain, parent, 400)
        assert rig.ns.entries(parent, None, 1000) == rig.plain.ns.entries(parent, None, 1000)
        assert rig.cache.known.size <= rig.cache.known.budget
        assert not rig.asked(lambda: rig.ns.lookup(used, b"f"))
    rig.store.close()


def test_what_the_session_makes_itself_costs_one_call_each(rig: Rig) -> None:
    def work() -> None:
        parent = rig.holder.mkdir(b"d").ino
        for number in range(50):
            name = b"%d" % number
            assert rig.ns.lookup(parent, name) is None
            made = rig.holder.make(name, parent=parent)
            assert rig.ns.lookup(parent, name) == made
            changed = rig.holder.do(ops.SetAttr(made.ino, mode=0o600))
            assert rig.ns.attr(made.ino) == changed
            rig.holder.do(ops.Rename(parent, name, parent, b"moved" + name))
        assert len(rig.ns.entries(parent, None, 100)) == 50
        assert rig.ns.parent(parent) == (ROOT_INO, b"d")
        assert rig.ns.resolve([b"d", b"moved7"])[1].mode & 0o777 == 0o600

    rig.holder.ino()
    asked = rig.asked(work)
    apply = asked.pop("apply")
    assert apply == 151
    assert asked.pop("grant", 0) <= 1
    assert sum(asked.values()) <= 2, asked  # of the root, which was there before


def test_a_directory_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "namespace.db", budget=400_000)
    parent = rig.plain.mkdir(b"d").ino
    names = fill(rig.plain, parent, MANY)
    for name in names[::7]:
        assert rig.ns.lookup(parent, name) == rig.plain.ns.lookup(parent, name)
    assert rig.cache.known.size <= 400_000
    asked = rig.asked(lambda: [rig.ns.lookup(parent, name) for name in names[:50]])
    assert sum(asked.values()) <= 51  # no pages in vain
    rig.store.close()


def test_only_what_is_known_is_answered_where_nothing_may_be_waited_for(rig: Rig) -> None:
    ino = rig.plain.make(b"f").ino
    with rig.ns.only_known():
        for question in (
            lambda: rig.ns.lookup(ROOT_INO, b"f"),
            lambda: rig.ns.attr(ino),
            lambda: rig.ns.entries(ROOT_INO, None, 10),
            lambda: rig.ns.xattr(ino, b"user.x"),
            lambda: rig.ns.readlink(ino),
            lambda: rig.ns.parent(ino),
            lambda: rig.ns.resolve([b"f"]),
            rig.ns.usage,
            lambda: rig.ns.content(7),
        ):
            with pytest.raises(NotAtHand):
                question()
    rig.ns.entries(ROOT_INO, None, 10)
    rig.ns.xattrs(ino)
    with rig.ns.only_known():
        assert rig.ns.lookup(ROOT_INO, b"f").ino == ino
        assert rig.ns.lookup(ROOT_INO, b"g") is None
        assert len(rig.ns.entries(ROOT_INO, None, 10)) == 1
        with pytest.raises(NoAttribute):
            rig.ns.xattr(ino, b"user.x")
        answers: list[object] = []
        # Another thread may wait meanwhile.
        thread = threading.Thread(target=lambda: answers.append(rig.ns.usage()))
        thread.start()
        thread.join()
        assert answers


def test_without_the_lease_everything_is_asked_and_nothing_kept(rig: Rig) -> None:
    rig.trusted.until = 0.0
    ino = rig.holder.make(b"f").ino
    for _ in range(3):
        assert rig.asked(lambda: rig.ns.lookup(ROOT_INO, b"f"))["lookup"] == 1
        assert rig.asked(lambda: rig.ns.attr(ino))["attr"] == 1
        assert rig.asked(lambda: rig.ns.entries(ROOT_INO, None, 9))["entries"] == 1
    rig.plain.do(ops.Rename(ROOT_INO, b"f", ROOT_INO, b"g"))
    rig.trusted.until = float("inf")
    assert rig.ns.lookup(ROOT_INO, b"f") is None
    # The lease ends by itself: what was known is asked again.
    assert not rig.asked(lambda: rig.ns.lookup(ROOT_INO, b"f"))
    rig.trusted.until = time.monotonic() - 1
    assert rig.asked(lambda: rig.ns.lookup(ROOT_INO, b"f")) == {"lookup": 1}


def test_what_was_asked_before_the_recall_is_not_kept(rig: Rig) -> None:
    rig.plain.make(b"f")

    def recalled(method: str) -> None:
        rig.then = lambda method: None
        rig.trusted.until = 0.0
        rig.forgotten()
        rig.plain.do(ops.Unlink(ROOT_INO, b"f"))
        rig.trusted.until = float("inf")  # and has it again before the answer has come

    rig.then = recalled
    assert rig.ns.lookup(ROOT_INO, b"f") is not None
    assert rig.ns.lookup(ROOT_INO, b"f") is None


@pytest.mark.parametrize("everything", [False, True])
def test_what_was_told_while_a_question_was_under_way_wins(rig: Rig, everything: bool) -> None:
    ino = rig.plain.make(b"f").ino

    def told(method: str) -> None:
        rig.then = lambda method: None
        rig.plain.do(ops.SetAttr(ino, mode=0o600))
        change = EVERYTHING if everything else Change(Touched.ATTR, ino, Ino(0), b"")
        rig.cache.listening(None)([change])

    rig.then = told
    assert rig.ns.attr(ino).mode & 0o777 == 0o644
    assert rig.ns.attr(ino).mode & 0o777 == 0o600


def test_a_batch_that_may_have_been_applied_makes_everything_doubtful(rig: Rig) -> None:
    rig.holder.make(b"f")

    def away(method: str) -> None:
        if method == "apply":
            raise Unavailable("the answer is lost")

    rig.then = away
    with pytest.raises(Unavailable):
        rig.holder.make(b"g")
    rig.then = lambda method: None
    assert rig.ns.lookup(ROOT_INO, b"g") is not None
    assert rig.asked(lambda: rig.ns.lookup(ROOT_INO, b"g")) == {"lookup": 1}
    rig.holder.make(b"h")
    rig.ns.lookup(ROOT_INO, b"g")
    assert not rig.asked(lambda: rig.ns.lookup(ROOT_INO, b"g"))


def test_a_removed_directory_is_gone(rig: Rig) -> None:
    made = rig.holder.mkdir(b"d")
    rig.holder.do(ops.Rmdir(ROOT_INO, b"d"))
    with pytest.raises(NotFound):
        rig.ns.lookup(made.ino, b"x")
    with pytest.raises(Stale):
        rig.ns.attr(made.ino)


def test_many_threads_at_once_end_with_the_truth(tmp_path: Path) -> None:
    """Every answer is delayed at random, so that changes overtake questions and the other way round."""
    rig = Rig(tmp_path / "namespace.db", budget=60_000)
    places = [ROOT_INO, rig.plain.mkdir(b"x").ino, rig.plain.mkdir(b"y").ino]
    names = [b"n%d" % number for number in range(8)]
    chance = random.Random(5)
    rig.then = lambda method: time.sleep(chance.random() * 0.001)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        own = random.Random()
        try:
            while not stop.is_set():
                place, name = own.choice(places), own.choice(names)
                try:
                    found = rig.ns.lookup(place, name)
                    if found is not None:
                        rig.ns.attr(found.ino)
                        rig.ns.xattrs(found.ino)
                    rig.ns.entries(place, None, own.choice((2, 100)))
                except GravitonError:
                    pass  # gone meanwhile
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(400):
            change(rig, chance, places, names)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    rig.then = lambda method: None
    compare(rig, places, names)
    rig.store.close()


def change(rig: Rig, chance: random.Random, places: list[Ino], names: list[bytes]) -> None:
    """One change by the holder, who sees it at once."""
    place, name, to, new = *random_name(chance, places, names), *random_name(chance, places, names)
    session = rig.holder
    try:
        match chance.randrange(6):
            case 0 | 1:
                made = session.make(name, parent=place)
                assert rig.ns.lookup(place, name) == made
            case 2:
                session.do(ops.Unlink(place, name))
                assert rig.ns.lookup(place, name) is None
            case 3:
                session.do(ops.Rename(place, name, to, new))
                assert rig.ns.lookup(to, new) is not None
            case 4:
                found = rig.ns.lookup(place, name)
                if found is not None:
                    changed = session.do(ops.SetAttr(found.ino, mode=chance.randrange(0o777)))
                    assert rig.ns.attr(found.ino) == changed
            case 5:
                found = rig.ns.lookup(place, name)
                if found is not None:
                    session.do(ops.SetXattr(found.ino, b"user.a", name))
                    assert rig.ns.xattr(found.ino, b"user.a") == name
    except GravitonError:
        pass  # it is there, or not there


def random_name(chance: random.Random, places: list[Ino], names: list[bytes]) -> tuple[Ino, bytes]:
    return chance.choice(places), chance.choice(names)


def compare(rig: Rig, places: list[Ino], names: list[bytes]) -> None:
    for place in places:
        assert rig.ns.attr(place) == rig.plain.ns.attr(place)
        assert rig.ns.entries(place, None, 100) == rig.plain.ns.entries(place, None, 100)
        for name in names:
            found = rig.ns.lookup(place, name)
            assert found == rig.plain.ns.lookup(place, name)
            if found is not None:
                assert rig.ns.attr(found.ino) == rig.plain.ns.attr(found.ino)
                assert rig.ns.xattrs(found.ino) == rig.plain.ns.xattrs(found.ino)


def test_what_nobody_waits_for_goes_with_the_next_batch(rig: Rig) -> None:
    """And by itself after a while; what it fails with is told to nobody."""
    session = BatchSession(rig.ns)
    sizes: list[int] = []
    apply = rig.trusted.apply

    def counted(batches: Any, *, durable: bool) -> Any:
        sizes.append(len(batches))
        return apply(batches, durable=durable)

    rig.trusted.apply = counted  # type: ignore[method-assign]
    made = session.submit_for_attr(ops.Create(ROOT_INO, b"f", session.new_ino(), 0o100644, 0, 0))
    session.submit_later(ops.SetAttr(made.ino, mode=0o600))
    session.submit_later(ops.SetAttr(Ino(1 << 40), mode=0o600))
    session.submit((ops.SetAttr(made.ino, uid=5),))
    assert sizes == [1, 3]
    found = rig.plain.ns.attr(made.ino)
    assert (found.mode & 0o777, found.uid) == (0o600, 5)
    session.submit_later(ops.SetAttr(made.ino, mode=0o644))
    deadline = time.monotonic() + 30
    while rig.plain.ns.attr(made.ino).mode & 0o777 != 0o644:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    session.submit_later(ops.SetAttr(made.ino, mode=0o640))
    sizes.clear()
    session.submit((ops.Create(ROOT_INO, b"g", session.new_ino(), 0o100644, 0, 0),))
    assert sizes == [1]  # a file that is made does not take it along: the more wait, the less each costs
    session.commit()
    assert rig.plain.ns.attr(made.ino).mode & 0o777 == 0o640
