"""Creating, linking, removing and renaming."""

from __future__ import annotations

import stat

import pytest

from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import Create, Link, Rename, RenameMode, Rmdir, Truncate, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused


class NamesSuite:
    def test_create_gives_every_attribute(self, session: Session) -> None:
        ino = session.ino()
        attr = session.do(Create(ROOT, b"dev", ino, stat.S_IFCHR | 0o620, 5, 6, rdev=0x501), time_ns=123)
        assert attr == (ino, stat.S_IFCHR | 0o620, 1, 5, 6, 0x501, 0, 123, 123, 123, 123, 0, 0)
        assert session.ns.lookup(ROOT, b"dev") == attr
        assert session.ns.attr(ino) == attr

    @pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFDIR])
    def test_create_of_each_type(self, session: Session, kind: int) -> None:
        assert session.make(b"x", kind | 0o600).mode == kind | 0o600

    def test_a_symlink_has_a_target_and_its_length(self, session: Session) -> None:
        attr = session.make(b"l", stat.S_IFLNK | 0o777, target=b"to/there")
        assert attr.size == 8
        assert session.ns.readlink(attr.ino) == b"to/there"
        with refused(Kind.INVALID):
            session.ns.readlink(ROOT)

    def test_targets_are_bounded(self, session: Session) -> None:
        assert session.make(b"l", stat.S_IFLNK | 0o777, target=b"x" * 4095).size == 4095
        session.fails(Kind.NAME_TOO_LONG, Create(ROOT, b"m", session.ino(), 0o120777, 0, 0, 0, b"x" * 4096))
        session.fails(Kind.INVALID, Create(ROOT, b"m", session.ino(), 0o120777, 0, 0, 0, b""))

    def test_an_existing_name_is_refused(self, session: Session) -> None:
        first = session.make(b"a")
        session.fails(Kind.EXISTS, Create(ROOT, b"a", session.ino(), 0o100600, 0, 0))
        assert session.find(b"a") == first

    @pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
    def test_names_that_are_none(self, session: Session, name: bytes) -> None:
        session.fails(Kind.INVALID, Create(ROOT, name, session.ino(), 0o100600, 0, 0))

    def test_names_have_at_most_255_bytes(self, session: Session) -> None:
        session.make(b"\xff" * 255)
        session.fails(Kind.NAME_TOO_LONG, Create(ROOT, b"x" * 256, session.ino(), 0o100600, 0, 0))
        session.fails(Kind.NAME_TOO_LONG, Rename(ROOT, b"\xff" * 255, ROOT, b"x" * 256))
        assert session.names() == [b"\xff" * 255]

    def test_numbers_must_be_granted_and_unused(self, session: Session) -> None:
        taken = session.make(b"a").ino
        session.fails(Kind.INVALID, Create(ROOT, b"b", taken, 0o100600, 0, 0))
        session.fails(Kind.INVALID, Create(ROOT, b"b", Ino(1 << 60), 0o100600, 0, 0))
        session.fails(Kind.INVALID, Create(ROOT, b"b", Ino(0), 0o100600, 0, 0))

    def test_only_directories_take_names(self, session: Session) -> None:
        file = session.make(b"f")
        session.fails(Kind.NOT_A_DIRECTORY, Create(file.ino, b"x", session.ino(), 0o100600, 0, 0))
        with refused(Kind.NOT_A_DIRECTORY):
            session.ns.lookup(file.ino, b"x")
        with refused(Kind.NOT_A_DIRECTORY):
            session.ns.entries(file.ino, None, 10)
        with refused(Kind.NOT_FOUND):
            session.ns.lookup(Ino(999_999), b"x")
        with refused(Kind.STALE):
            session.ns.attr(Ino(999_999))

    def test_directories_count_links_and_times(self, session: Session) -> None:
        before = session.ns.attr(ROOT)
        session.mkdir(b"d")
        after = session.ns.attr(ROOT)
        assert (after.nlink, after.mtime_ns, after.ctime_ns) == (before.nlink + 1, session.time, session.time)
        session.make(b"f")
        assert session.ns.attr(ROOT).nlink == before.nlink + 1
        session.do(Rmdir(ROOT, b"d"))
        assert session.ns.attr(ROOT).nlink == before.nlink
        assert session.ns.attr(ROOT).mtime_ns == session.time

    def test_setgid_is_inherited(self, session: Session) -> None:
        top = session.mkdir(b"d", mode=0o2775, gid=77)
        assert session.make(b"f", parent=top.ino, gid=5).gid == 77
        below = session.mkdir(b"sub", parent=top.ino, gid=5)
        assert (below.gid, below.mode & stat.S_ISGID) == (77, stat.S_ISGID)

    def test_hard_links(self, session: Session) -> None:
        file = session.make(b"a")
        linked = session.do(Link(file.ino, ROOT, b"b"))
        assert (linked.nlink, linked.ctime_ns, linked.mtime_ns) == (2, session.time, file.mtime_ns)
        removed = session.do(Unlink(ROOT, b"a"))
        assert (removed.ino, removed.links, removed.kept) == (file.ino, 1, False)
        assert session.find(b"b").nlink == 1

    def test_links_that_cannot_be(self, session: Session) -> None:
        file, directory = session.make(b"f"), session.mkdir(b"d")
        session.fails(Kind.EXISTS, Link(file.ino, ROOT, b"d"))
        session.fails(Kind.NOT_PERMITTED, Link(directory.ino, ROOT, b"e"))
        session.fails(Kind.STALE, Link(Ino(999_999), ROOT, b"e"))

    def test_links_have_a_limit(self, session: Session) -> None:
        file = session.make(b"0")
        for start in range(1, 65_000, 1000):
            stop = min(start + 1000, 65_000)
            session.do(*(Link(file.ino, ROOT, b"%d" % number) for number in range(start, stop)))
        session.fails(Kind.TOO_MANY_LINKS, Link(file.ino, ROOT, b"one more"))
        assert session.ns.attr(file.ino).nlink == 65_000

    def test_unlink(self, session: Session) -> None:
        file = session.make(b"f")
        session.mkdir(b"d")
        removed = session.do(Unlink(ROOT, b"f"))
        assert (removed.ino, removed.links, removed.kept) == (file.ino, 0, False)
        assert session.ns.lookup(ROOT, b"f") is None
        with refused(Kind.STALE):
            session.ns.attr(file.ino)
        session.fails(Kind.NOT_FOUND, Unlink(ROOT, b"f"))
        session.fails(Kind.IS_A_DIRECTORY, Unlink(ROOT, b"d"))

    def test_rmdir(self, session: Session) -> None:
        directory = session.mkdir(b"d")
        session.make(b"f", parent=directory.ino)
        session.fails(Kind.NOT_EMPTY, Rmdir(ROOT, b"d"))
        session.fails(Kind.NOT_A_DIRECTORY, Rmdir(directory.ino, b"f"))
        session.do(Unlink(directory.ino, b"f"))
        assert session.do(Rmdir(ROOT, b"d")).ino == directory.ino
        session.fails(Kind.NOT_FOUND, Create(directory.ino, b"x", session.ino(), 0o100600, 0, 0))

    def test_entries_come_in_pages_by_bytes(self, session: Session) -> None:
        directory = session.mkdir(b"d").ino
        names = [*sorted(b"%x" % (number * 7919) for number in range(50)), b"\xfe\xff"]
        for name in names:
            session.make(name, parent=directory)
        found, after = [], None
        while page := session.ns.entries(directory, after, 7):
            found += page
            after = page[-1].name
        assert [entry.name for entry in found] == sorted(names)
        assert all(entry.attr == session.ns.lookup(directory, entry.name) for entry in found)

    def test_resolve_goes_as_far_as_it_can(self, session: Session) -> None:
        one = session.mkdir(b"1")
        two = session.mkdir(b"2", parent=one.ino)
        file = session.make(b"f", parent=two.ino)
        steps = session.ns.resolve([b"1", b"2", b"f"])
        assert [step.ino for step in steps] == [one.ino, two.ino, file.ino]
        assert [step.ino for step in session.ns.resolve([b"2", b"f"], one.ino)] == [two.ino, file.ino]
        assert len(session.ns.resolve([b"1", b"nothing", b"f"])) == 1
        assert len(session.ns.resolve([b"1", b"2", b"f", b"x"])) == 3
        assert session.ns.resolve([]) == []

    def test_parent_and_path(self, session: Session) -> None:
        directory = session.mkdir(b"d")
        file = session.make(b"f", parent=directory.ino)
        assert session.ns.parent(file.ino) == (directory.ino, b"f")
        assert session.ns.parent(ROOT) is None
        assert session.store.upkeep.path(file.ino) == b"/d/f"
        assert session.store.upkeep.path(ROOT) == b"/"
        assert session.store.upkeep.path(session.staged().ino).startswith(b"#")

    def test_a_failed_batch_leaves_nothing(self, session: Session) -> None:
        before = session.ns.attr(ROOT)
        usage = session.ns.usage()
        failure = session.fails(
            Kind.NOT_FOUND,
            Create(ROOT, b"a", session.ino(), 0o100600, 0, 0),
            Unlink(ROOT, b"nothing"),
            Create(ROOT, b"b", session.ino(), 0o100600, 0, 0),
        )
        assert failure.op == 1
        assert session.names() == []
        assert session.ns.attr(ROOT) == before
        assert session.ns.usage() == usage

    def test_a_number_too_large_is_an_error_like_others(self, session: Session) -> None:
        session.fails(Kind.INVALID, Create(ROOT, b"a", session.ino(), 0o100600, 1 << 64, 0))
        session.fails(Kind.FILE_TOO_LARGE, Truncate(session.make(b"f").ino, 1 << 62))


class RenameSuite:
    def test_moves_a_name(self, session: Session) -> None:
        file, directory = session.make(b"f"), session.mkdir(b"d")
        removed = session.do(Rename(ROOT, b"f", directory.ino, b"g"))
        assert removed.ino == 0
        assert session.names() == [b"d"]
        moved = session.find(b"g", directory.ino)
        assert (moved.ino, moved.ctime_ns, moved.mtime_ns) == (file.ino, session.time, file.mtime_ns)

    def test_replaces_a_file(self, session: Session) -> None:
        new, old = session.make(b"new"), session.make(b"old")
        removed = session.do(Rename(ROOT, b"new", ROOT, b"old"))
        assert (removed.ino, removed.links, removed.kept) == (old.ino, 0, False)
        assert session.find(b"old").ino == new.ino
        assert session.names() == [b"old"]

    def test_two_names_of_one_inode(self, session: Session) -> None:
        file = session.make(b"a")
        session.do(Link(file.ino, ROOT, b"b"))
        assert session.do(Rename(ROOT, b"a", ROOT, b"b")).ino == 0
        assert session.names() == [b"a", b"b"]

    def test_noreplace(self, session: Session) -> None:
        session.make(b"a")
        session.make(b"b")
        session.fails(Kind.EXISTS, Rename(ROOT, b"a", ROOT, b"b", RenameMode.NOREPLACE))
        session.do(Rename(ROOT, b"a", ROOT, b"c", RenameMode.NOREPLACE))
        assert session.names() == [b"b", b"c"]

    def test_types_must_agree(self, session: Session) -> None:
        session.make(b"f")
        directory = session.mkdir(b"d")
        session.fails(Kind.IS_A_DIRECTORY, Rename(ROOT, b"f", ROOT, b"d"))
        session.fails(Kind.NOT_A_DIRECTORY, Rename(ROOT, b"d", ROOT, b"f"))
        session.fails(Kind.NOT_FOUND, Rename(ROOT, b"x", ROOT, b"y"))
        session.make(b"inside", parent=directory.ino)
        session.mkdir(b"e")
        session.fails(Kind.NOT_EMPTY, Rename(ROOT, b"e", ROOT, b"d"))

    def test_a_directory_over_an_empty_one(self, session: Session) -> None:
        links = session.ns.attr(ROOT).nlink
        one = session.mkdir(b"1")
        session.make(b"f", parent=one.ino)
        two = session.mkdir(b"2")
        assert session.do(Rename(ROOT, b"1", ROOT, b"2")).ino == two.ino
        assert session.find(b"2").ino == one.ino
        assert session.ns.attr(ROOT).nlink == links + 1

    def test_directory_links_move_along(self, session: Session) -> None:
        one, two = session.mkdir(b"1"), session.mkdir(b"2")
        session.mkdir(b"x", parent=one.ino)
        session.do(Rename(one.ino, b"x", two.ino, b"x"))
        assert session.ns.attr(one.ino).nlink == 2
        assert session.ns.attr(two.ino).nlink == 3

    def test_never_below_itself(self, session: Session) -> None:
        one = session.mkdir(b"1")
        two = session.mkdir(b"2", parent=one.ino)
        three = session.mkdir(b"3", parent=two.ino)
        session.fails(Kind.INVALID, Rename(ROOT, b"1", three.ino, b"x"))
        session.fails(Kind.INVALID, Rename(ROOT, b"1", one.ino, b"x"))
        session.fails(Kind.INVALID, Rename(two.ino, b"3", ROOT, b"1", RenameMode.EXCHANGE))

    def test_exchange(self, session: Session) -> None:
        directory, other = session.mkdir(b"d"), session.mkdir(b"o")
        file = session.make(b"f", parent=other.ino)
        session.do(Rename(ROOT, b"d", other.ino, b"f", RenameMode.EXCHANGE))
        assert session.find(b"d").ino == file.ino
        assert session.find(b"f", other.ino).ino == directory.ino
        assert session.ns.attr(other.ino).nlink == 3
        session.fails(Kind.NOT_FOUND, Rename(ROOT, b"d", ROOT, b"x", RenameMode.EXCHANGE))
