"""The trash: what goes there, how it is found, brought back and erased, and who sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.core.trash import DIRECTORY, is_trash, trash_parted
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import (
    Clone,
    Create,
    Disclaim,
    Link,
    Op,
    Publish,
    Removed,
    RemoveTree,
    Rename,
    RenameMode,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
)
from gravitonfs.ports.upkeep import TrashUsage
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from gravitonfs.testing.namespace_suite.history import RetainingStore, picture

_AGE = 10 * 10**9
_LONG = 60 * 10**9
_EVER = 1 << 62


class TrashStore(RetainingStore, Protocol):
    trash_age_ns: int | None


class TrashStores(Protocol):
    def open(self) -> TrashStore: ...


def aged(session: Session) -> None:
    """What there is is no longer new."""
    session.time += _LONG


def today(session: Session) -> Ino:
    """The one day there is."""
    directory = session.find(DIRECTORY)
    entries = session.ns.entries(directory.ino, None, 10)
    assert len(entries) == 1
    return entries[0].attr.ino


def shown(session: Session, top: Ino | None = None) -> dict[bytes, bytes]:
    """Paths in the trash, and the bytes of files; every name listed is found, at the place it has."""
    found: dict[bytes, bytes] = {}
    pending = [(b"", today(session) if top is None else top)]
    while pending:
        path, directory = pending.pop()
        for name, attr, _ in session.ns.entries(directory, None, 1000):
            assert is_trash(attr.ino)
            assert session.find(name, directory) == attr == session.ns.attr(attr.ino)
            assert session.ns.parent(attr.ino) == (directory, name)
            kind = attr.mode & 0o170000
            if kind == 0o040000:
                pending.append((path + name + b"/", attr.ino))
            found[path + name + (b"/" if kind == 0o040000 else b"")] = (
                session.read(attr.ino) if kind == 0o100000 else b""
            )
    return found


def _seen(of_one: object) -> tuple[Any, ...]:
    assert isinstance(of_one, tuple)
    return of_one


def at(session: Session, *path: bytes) -> tuple[Ino, bytes]:
    """Parent and name of something in the trash."""
    top = today(session)
    steps = session.ns.resolve(path[:-1], top)
    assert len(steps) == len(path) - 1
    return (steps[-1].ino if steps else top), path[-1]


class TrashSuite:
    @pytest.fixture
    def keeping(self, stores: TrashStores) -> Iterator[Session]:
        store = stores.open()
        store.trash_age_ns = _AGE
        session = Session(store)
        yield session
        assert session.problems() == []
        store.close()
        opened = stores.open()
        assert [problem.what for problem in opened.upkeep.check()] == []
        opened.close()

    def build(self, session: Session) -> tuple[Ino, Ino]:
        d = session.mkdir(b"d", mode=0o750).ino
        e = session.mkdir(b"e", d).ino
        for number, parent in enumerate((ROOT, d, e)):
            session.write(session.make(b"f", parent=parent).ino, 0, b"file %d" % number)
        session.make(b"l", 0o120777, parent=e, target=b"there")
        aged(session)
        return d, e

    def test_a_removed_file_is_found_by_day_and_path_and_comes_back(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        before = keeping.find(b"f", e)
        usage = keeping.ns.usage()
        assert keeping.do(Unlink(e, b"f")) == Removed(before.ino, 0, False)
        assert keeping.ns.usage() == usage
        assert keeping.names() == [b"d", b"f"]
        assert DIRECTORY not in keeping.names()
        assert shown(keeping) == {b"d/": b"", b"d/e/": b"", b"d/e/f": b"file 2"}
        parent, name = at(keeping, b"d", b"e", b"f")
        told = keeping.store.upkeep.path(before.ino)
        assert told.startswith(b"/.trash/20")
        assert told.endswith(b"/d/e/f")
        assert keeping.do(Rename(parent, name, d, b"back")) == Removed(Ino(0), 0, False)
        after = keeping.find(b"back", d)
        assert after == before._replace(ctime_ns=keeping.time)
        assert keeping.ns.entries(keeping.find(DIRECTORY).ino, None, 10) == []
        assert keeping.store.upkeep.trash_usage() == TrashUsage(0, 0)

    def test_what_stands_in_the_trash_is_as_it_was(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        keeping.do(SetXattr(keeping.find(b"f", d).ino, b"user.a", b"1"))
        keeping.do(Unlink(d, b"f"))
        keeping.do(Unlink(e, b"l"))
        assert keeping.do(Unlink(ROOT, b"f")).kept is False
        top = today(keeping)
        parent, _ = at(keeping, b"d", b"f")
        assert keeping.ns.attr(parent).mode == 0o041750
        found = keeping.find(b"f", parent)
        assert keeping.ns.xattrs(found.ino) == [(b"user.a", b"1")]
        assert keeping.ns.xattr(found.ino, b"user.a") == b"1"
        link = keeping.ns.resolve([b"d", b"e", b"l"], top)[-1]
        assert keeping.ns.readlink(link.ino) == b"there"
        assert keeping.ns.has_content(found.content)
        assert keeping.ns.content(found.content).length == found.size
        # A directory that others may no longer enter keeps them out of what was removed from it as well.
        keeping.do(SetAttr(d, mode=0o700))
        assert keeping.ns.attr(parent).mode == 0o041700

    def test_what_lived_for_a_moment_is_not_kept(self, keeping: Session) -> None:
        keeping.write(keeping.make(b"journal").ino, 0, b"x")
        keeping.mkdir(b"d")
        keeping.do(Unlink(ROOT, b"journal"))
        keeping.do(Rmdir(ROOT, b"d"))
        keeping.mkdir(b"t")
        keeping.do(RemoveTree(ROOT, b"t"))
        keeping.reap_all()
        assert keeping.ns.usage().inodes == 1
        assert keeping.store.upkeep.trash_usage() == TrashUsage(0, 0)

    def test_a_young_directory_is_kept_for_the_path_of_what_was_in_it(self, keeping: Session) -> None:
        self.build(keeping)
        new = keeping.mkdir(b"new").ino
        keeping.do(Rename(ROOT, b"f", new, b"f"))
        keeping.do(Unlink(new, b"f"))
        keeping.do(Rmdir(ROOT, b"new"))
        assert shown(keeping) == {b"new/": b"", b"new/f": b"file 0"}

    def test_names_of_the_same_file_are_not_lost_before_the_last(self, keeping: Session) -> None:
        self.build(keeping)
        f = keeping.find(b"f").ino
        keeping.do(Link(f, ROOT, b"g"))
        assert keeping.do(Unlink(ROOT, b"f")) == Removed(f, 1, False)
        assert keeping.store.upkeep.trash_usage().inodes == 0
        keeping.do(Unlink(ROOT, b"g"))
        assert shown(keeping) == {b"g": b"file 0"}

    def test_what_is_replaced_goes_there_too(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        keeping.do(Rename(ROOT, b"f", d, b"f"))
        assert shown(keeping) == {b"d/": b"", b"d/f": b"file 1"}
        keeping.do(Clone(keeping.find(b"f", d).ino, e, b"l", keeping.ino(), 0, 0, replace=True))
        assert set(shown(keeping)) == {b"d/", b"d/f", b"d/e/", b"d/e/l"}
        keeping.mkdir(b"empty")
        aged(keeping)
        keeping.do(Unlink(e, b"l"))
        keeping.do(Unlink(e, b"f"))
        keeping.do(Rename(ROOT, b"empty", d, b"e"))
        keeping.reap_all()
        assert len([path for path in shown(keeping) if path.startswith(b"d/e@")]) == 4
        staged = keeping.staged().ino
        keeping.make(b"link", 0o120777, target=b"x")
        aged(keeping)
        keeping.do(Publish(staged, ROOT, b"link"))
        assert b"link" in shown(keeping)

    def test_one_name_removed_several_times(self, keeping: Session) -> None:
        for number in range(3):
            keeping.write(keeping.make(b"f").ino, 0, b"version %d" % number)
            aged(keeping)
            keeping.do(Unlink(ROOT, b"f"))
        keeping.mkdir(b"f")
        top = today(keeping)
        found = shown(keeping)
        # A directory of this name lives: all three have a mark.
        assert sorted(found.values()) == [b"version 0", b"version 1", b"version 2"]
        assert all(name.startswith(b"f@2") for name in found)
        keeping.do(Rmdir(ROOT, b"f"))
        found = shown(keeping)
        assert found[b"f"] == b"version 2"
        first = next(name for name, data in found.items() if data == b"version 0")
        assert keeping.find(first, top).size == 9
        keeping.do(Rename(top, first, ROOT, b"f"))
        assert keeping.read(keeping.find(b"f").ino) == b"version 0"
        long = b"n" * 255
        for _ in range(2):
            keeping.make(long)
            aged(keeping)
            keeping.do(Unlink(ROOT, long))
        assert sum(name.startswith(b"n" * 200) for name in shown(keeping)) == 2

    def test_a_tree_removed_file_by_file_comes_back_whole(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        keeping.make(b"old", parent=d)
        aged(keeping)
        before = picture(keeping.ns)
        for parent, name in ((e, b"f"), (e, b"l"), (d, b"f"), (d, b"old")):
            keeping.do(Unlink(parent, name))
        keeping.do(Rmdir(d, b"e"))
        keeping.do(Rmdir(ROOT, b"d"))
        keeping.reap_all()
        assert set(shown(keeping)) == {
            b"d/", b"d/old", b"d/f", b"d/e/", b"d/e/f", b"d/e/l"
        }  # fmt: skip
        keeping.do(Rename(*at(keeping, b"d"), ROOT, b"d"))
        after = picture(keeping.ns)
        assert after.keys() == before.keys()
        for path, seen in before.items():
            (attr, *rest), (now, *rest_now) = _seen(seen), _seen(after[path])
            assert rest == rest_now
            assert attr._replace(ctime_ns=now.ctime_ns, mtime_ns=now.mtime_ns) == now
        assert keeping.ns.entries(keeping.find(DIRECTORY).ino, None, 10) == []

    def test_a_tree_removed_as_a_whole(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        keeping.do(Unlink(e, b"l"))
        before = picture(keeping.ns, d)
        usage = keeping.ns.usage()
        keeping.do(RemoveTree(ROOT, b"d"))
        keeping.reap_all()
        assert keeping.ns.usage() == usage
        assert keeping.store.upkeep.trash_usage() == TrashUsage(5, 12)
        keeping.fails(Kind.NOT_FOUND, Create(d, b"new", keeping.ino(), 0o100644, 0, 0))
        assert shown(keeping)[b"d/e/f"] == b"file 2"
        keeping.do(Rename(*at(keeping, b"d", b"e", b"f"), ROOT, b"taken"))
        keeping.do(Rename(*at(keeping, b"d", b"e"), ROOT, b"e"))
        keeping.do(Rename(*at(keeping, b"d"), ROOT, b"back"))
        assert set(picture(keeping.ns, keeping.find(b"back").ino)) == {b"", b"/f"}
        assert keeping.names(e) == []
        assert {b"", b"/f", b"/e", b"/e/f"} == set(before)
        assert shown(keeping) == {b"e/": b"", b"e/l": b""}

    def test_nothing_is_overwritten_and_nothing_comes_where_nobody_finds_it(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        keeping.do(Unlink(ROOT, b"f"))
        keeping.make(b"f")
        place = at(keeping, b"f")
        for mode in (RenameMode.REPLACE, RenameMode.NOREPLACE):
            keeping.fails(Kind.EXISTS, Rename(*place, ROOT, b"f", mode))
        keeping.fails(Kind.INVALID, Rename(*place, ROOT, b"f", RenameMode.EXCHANGE))
        keeping.do(RemoveTree(ROOT, b"d"))
        keeping.fails(Kind.NOT_FOUND, Rename(*place, d, b"f"))
        keeping.fails(Kind.NOT_FOUND, Rename(*place, e, b"f"))
        keeping.fails(Kind.NOT_FOUND, Rename(*at(keeping, b"d"), e, b"circle"))
        assert shown(keeping)[b"f"] == b"file 0"

    def test_none_of_it_can_be_changed(self, keeping: Session) -> None:
        d, _ = self.build(keeping)
        keeping.do(Unlink(d, b"f"))
        top = today(keeping)
        directory = keeping.find(DIRECTORY)
        parent, name = at(keeping, b"d", b"f")
        inside = keeping.find(name, parent)
        changes: list[Op] = [
            Create(top, b"n", keeping.ino(), 0o100644, 0, 0),
            Create(directory.ino, b"n", keeping.ino(), 0o040755, 0, 0),
            Rename(ROOT, b"f", parent, b"n"),
            Rename(parent, name, top, b"n"),
            Rename(ROOT, DIRECTORY, ROOT, b"n"),
            Rename(top, b"d", ROOT, b"n"),
            Link(inside.ino, ROOT, b"n"),
            SetAttr(inside.ino, mode=0o777),
            SetXattr(inside.ino, b"user.a", b"1"),
            Rmdir(ROOT, DIRECTORY),
            RemoveTree(ROOT, DIRECTORY),
            RemoveTree(top, b"d"),
            Rmdir(directory.ino, keeping.ns.entries(directory.ino, None, 1)[0].name),
        ]
        for change in changes:
            keeping.fails(Kind.READ_ONLY, change)
        keeping.fails(Kind.EXISTS, Create(ROOT, DIRECTORY, keeping.ino(), 0o040755, 0, 0))
        keeping.fails(Kind.IS_A_DIRECTORY, Unlink(top, b"d"))
        keeping.fails(Kind.NOT_A_DIRECTORY, Rmdir(parent, name))
        keeping.fails(Kind.NOT_EMPTY, Rmdir(top, b"d"))
        keeping.fails(Kind.NOT_FOUND, Unlink(top, b"none"))
        assert shown(keeping) == {b"d/": b"", b"d/f": b"file 1"}

    def test_what_is_removed_there_is_erased(self, keeping: Session) -> None:
        _, e = self.build(keeping)
        f = keeping.find(b"f", e)
        keeping.do(Unlink(e, b"f"))
        keeping.do(Unlink(e, b"l"))
        keeping.do(Rmdir(keeping.find(b"d").ino, b"e"))
        usage = keeping.ns.usage()
        keeping.fails(Kind.NOT_EMPTY, Rmdir(*at(keeping, b"d", b"e")))
        keeping.do(Unlink(*at(keeping, b"d", b"e", b"f")))
        keeping.do(Unlink(*at(keeping, b"d", b"e", b"l")))
        keeping.do(Rmdir(*at(keeping, b"d", b"e")))
        keeping.reap_all()
        after = keeping.ns.usage()
        assert (after.inodes, after.logical_bytes) == (usage.inodes - 3, usage.logical_bytes - f.size)
        keeping.do(RemoveTree(ROOT, b"d"))
        keeping.do(Unlink(*at(keeping, b"d", b"f")))
        keeping.do(RemoveTree(*at(keeping, b"d")))
        keeping.reap_all()
        assert keeping.ns.usage().inodes == 2

    def test_what_is_open_is_kept_when_it_is_erased(self, stores: TrashStores) -> None:
        store = stores.open()
        store.trash_age_ns = _AGE
        opened: set[Ino] = set()
        told: list[Ino] = []
        session = Session(store)
        other = Session(
            store,
            claims=opened.__contains__,
            listener=lambda changes: told.extend(change.ino for change in changes),
        )
        f = session.make(b"f").ino
        session.write(f, 0, b"bytes")
        aged(session)
        opened.add(f)
        assert session.do(Unlink(ROOT, b"f", claim=True)) == Removed(f, 0, True)
        session.do(Disclaim((f,)))
        assert other.ns.attr(f).nlink == 0
        assert store.upkeep.erase_trash(_EVER, 10) == 1
        assert f in told
        assert other.read(f) == b"bytes"
        opened.clear()
        other.do(Disclaim((f,)))
        session.fails(Kind.STALE, SetAttr(f, mode=0o600))
        assert session.problems() == []
        store.close()

    def test_the_oldest_goes_first_and_in_steps(self, keeping: Session) -> None:
        d, e = self.build(keeping)
        upkeep = keeping.store.upkeep
        keeping.do(Unlink(e, b"f"))
        keeping.do(Unlink(d, b"f"))
        middle = keeping.ns.attr(keeping.find(b"f").ino).ino
        keeping.do(Unlink(ROOT, b"f"))
        assert set(shown(keeping)) == {b"d/", b"d/f", b"d/e/", b"d/e/f", b"f"}
        assert upkeep.erase_trash(0, 10) == 0
        assert upkeep.erase_trash(_EVER, 2) == 2
        assert shown(keeping) == {b"f": b"file 0"}
        assert trash_parted(at(keeping, b"f")[0])[1] == ROOT_INO
        assert middle == trash_parted(keeping.find(b"f", today(keeping)).ino)[1]
        keeping.do(RemoveTree(ROOT, b"d"))
        assert b"d/" in shown(keeping)
        assert upkeep.erase_trash(_EVER, 10) == 2
        assert upkeep.erase_trash(_EVER, 10) == 0
        keeping.reap_all()
        assert keeping.ns.usage().inodes == 1

    def test_a_snapshot_sees_what_was_removed_and_erased_since(self, keeping: Session) -> None:
        store = keeping.store
        assert hasattr(store, "create_snapshot")
        d, _ = self.build(keeping)
        before = picture(keeping.ns)
        version = store.create_snapshot("main", "s").version
        keeping.do(Unlink(d, b"f"))
        keeping.do(Rename(*at(keeping, b"d", b"f"), d, b"f"))
        keeping.do(Unlink(ROOT, b"f"))
        keeping.do(RemoveTree(ROOT, b"d"))
        then = store.attach(label="past", at=version)
        assert picture(then) == before
        while store.upkeep.erase_trash(_EVER, 10):
            pass
        keeping.reap_all()
        assert picture(then) == before
        then.detach()

    def test_a_dump_has_it(self, keeping: Session) -> None:
        _, e = self.build(keeping)
        keeping.do(Unlink(e, b"f"))
        assert b"d/e/f" in shown(keeping)
        lines = b"".join(keeping.store.upkeep.dump()).splitlines()
        start = lines.index(b'{"table":"trash","columns":["ino","volume","parent","name","removed"]}')
        assert b'{"%":"f"}' in lines[start + 1]

    def test_what_went_before_a_crash_is_there_after_it(self, stores: TrashStores) -> None:
        store = stores.open()
        store.trash_age_ns = _AGE
        session = Session(store)
        _, e = self.build(session)
        session.do(Unlink(e, b"f"), durable=True)
        store.close()
        store = stores.open()
        session = Session(store)
        assert shown(session)[b"d/e/f"] == b"file 2"
        parent, name = at(session, b"d", b"e", b"f")
        assert session.find(name, parent).size == 6
        assert session.problems() == []
        store.close()
