"""The bytes of files: writes, truncation, bases, seals, copies, staged contents."""

from __future__ import annotations

import stat

from gravitonfs.core.extents import REGION, hole
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import (
    Append,
    Clone,
    Publish,
    Rewrite,
    Seal,
    SetAttr,
    SetXattr,
    Truncate,
    Unlink,
    Write,
)
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, digest, refused


def clone(session: Session, source: Ino, name: bytes, **fields: object) -> Ino:
    attr = session.do(Clone(source, ROOT, name, session.ino(), 0, 0, **fields))  # type: ignore[arg-type]
    assert attr.ino
    return Ino(attr.ino)


class DataSuite:
    def test_a_new_file_has_no_content(self, session: Session) -> None:
        file = session.make(b"f")
        assert (file.size, file.content, file.version) == (0, 0, 0)
        assert session.ns.extents(file.content, 0, 10) == []
        assert session.ns.content(ContentId(0)).length == 0

    def test_a_write_shows_and_changes_the_version(self, session: Session) -> None:
        file = session.make(b"f")
        attr = session.write(file.ino, 0, b"hello")
        assert (attr.size, attr.mtime_ns, attr.ctime_ns) == (5, session.time, session.time)
        assert attr == session.ns.attr(file.ino)
        again = session.write(file.ino, 1, b"a")
        assert (again.content, again.version) != (attr.content, attr.version)
        assert session.read(file.ino) == b"hallo"
        info = session.ns.content(again.content)
        assert (info.kind, info.length, info.version) == (ContentKind.DRAFT, 5, again.version)

    def test_a_gap_reads_as_zeroes(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 10, b"x")
        assert session.read(ino) == bytes(10) + b"x"

    def test_holes_hide(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"abcdef")
        session.do(Write(ino, (hole(1, 3),), 4))
        assert session.read(ino) == b"a\0\0\0ef"

    def test_the_writer_may_set_the_times(self, session: Session) -> None:
        file = session.make(b"f")
        attr = session.write(file.ino, 0, b"x", mtime_ns=0)
        assert (attr.mtime_ns, attr.ctime_ns) == (file.mtime_ns, file.ctime_ns)
        attr = session.write(file.ino, 0, b"y", mtime_ns=file.ctime_ns + 5)
        assert (attr.mtime_ns, attr.ctime_ns) == (file.ctime_ns + 5, file.ctime_ns + 5)

    def test_over_region_borders(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, REGION - 3, b"abcdef")
        attr = session.ns.attr(ino)
        maps = session.ns.extents(attr.content, 0, 1)
        assert [(m.region, [(e.offset, e.length) for e in m.extents]) for m in maps] == [
            (0, [(REGION - 3, 3)]),
            (1, [(REGION, 3)]),
        ]
        assert session.ns.extents(attr.content, 1, 1) == maps[1:]

    def test_append_goes_to_the_end(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"one")
        attr = session.do(Append(ino, (session.extent(0, b"two"),), 3), packs=(session.pack,))
        assert attr.size == 6
        assert session.read(ino) == b"onetwo"

    def test_limits(self, session: Session) -> None:
        ino = session.make(b"f").ino
        limit = session.ns.format.max_file_size
        extent = session.extent(limit, b"x")
        session.fails(Kind.FILE_TOO_LARGE, Write(ino, (extent,), limit + 1), packs=(session.pack,))
        session.fails(Kind.FILE_TOO_LARGE, Truncate(ino, limit + 1))
        assert session.do(Truncate(ino, limit)).size == limit

    def test_extents_that_are_none(self, session: Session) -> None:
        ino = session.make(b"f").ino
        good = session.extent(0, b"abc")
        for bad in (good._replace(offset=-1), good._replace(length=0), good._replace(offset=1)):
            session.fails(Kind.INVALID, Write(ino, (bad,), 3))
        session.fails(Kind.INVALID, Write(ino, (good, good._replace(offset=1), good), 9))
        session.fails(Kind.IS_A_DIRECTORY, Write(ROOT, (good,), 3))
        session.fails(Kind.INVALID, Truncate(session.make(b"p", stat.S_IFIFO | 0o600).ino, 1))

    def test_truncate(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"abcdef")
        attr = session.do(Truncate(ino, 2))
        assert (attr.size, attr.mtime_ns) == (2, session.time)
        session.do(Truncate(ino, 4))
        assert session.read(ino) == b"ab\0\0"
        empty = session.do(Truncate(ino, 0))
        assert (empty.size, empty.content) == (0, 0)
        assert empty.version > attr.version
        kept = session.do(Truncate(ino, 3, keep_times=True))
        assert kept.mtime_ns == empty.mtime_ns
        assert session.read(ino) == bytes(3)

    def test_truncate_far_up_and_down(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"start")
        session.write(ino, 3 * REGION, b"far")
        session.do(Truncate(ino, REGION + 1))
        session.do(Truncate(ino, 4 * REGION))
        maps = session.ns.extents(session.ns.attr(ino).content, 0, 10)
        assert [m.region for m in maps] == [0]

    def test_same_size_is_no_change_of_bytes(self, session: Session) -> None:
        ino = session.make(b"f").ino
        before = session.write(ino, 0, b"abc")
        after = session.do(Truncate(ino, 3))
        assert (after.content, after.version) == (before.content, before.version)


class SealSuite:
    def test_a_streamed_digest_seals(self, session: Session) -> None:
        file = session.make(b"f")
        attr = session.write(file.ino, 0, b"data", expect=file.version, seal=digest(b"data"))
        info = session.ns.content(attr.content)
        assert (info.kind, info.digest, info.length) == (ContentKind.SEALED, digest(b"data"), 4)
        assert [entry.digest for entry in session.ns.entries(ROOT, None, 10)] == [digest(b"data")]

    def test_it_is_void_when_something_came_between(self, session: Session) -> None:
        file = session.make(b"f")
        session.write(file.ino, 0, b"XX")
        attr = session.write(file.ino, 0, b"data", expect=file.version, seal=digest(b"data"))
        assert session.ns.content(attr.content).kind is ContentKind.DRAFT

    def test_it_is_void_when_the_file_is_longer(self, session: Session) -> None:
        ino = session.make(b"f").ino
        before = session.write(ino, 0, b"longer")
        attr = session.write(ino, 0, b"data", expect=before.version, seal=digest(b"data"))
        assert session.ns.content(attr.content).kind is ContentKind.DRAFT

    def test_a_seal_without_extents(self, session: Session) -> None:
        ino = session.make(b"f").ino
        attr = session.write(ino, 0, b"data")
        after = session.do(Write(ino, (), 4, attr.version, digest(b"data")))
        assert after == attr
        assert session.ns.content(attr.content).digest == digest(b"data")

    def test_the_seal_op(self, session: Session) -> None:
        ino = session.make(b"f").ino
        old = session.write(ino, 0, b"old!")
        new = session.write(ino, 0, b"new!")
        session.fails(Kind.CONFLICT, Seal(new.content, old.version, digest(b"old!")))
        session.do(Seal(new.content, new.version, digest(b"new!")))
        assert session.ns.content(new.content).kind is ContentKind.SEALED
        session.do(Seal(new.content, new.version, digest(b"new!")))
        session.fails(Kind.CONFLICT, Seal(new.content, new.version, digest(b"else")))

    def test_a_sealed_content_never_changes(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        sealed = session.seal(ino)
        for change in (
            lambda: session.write(ino, 1, b"u"),
            lambda: session.do(Truncate(ino, 2)),
            lambda: session.do(Truncate(ino, 9)),
        ):
            copy = clone(session, ino, b"copy", replace=True)
            before = session.ns.content(session.ns.attr(copy).content)
            after = change()
            assert after.content != before.id
            assert session.ns.content(before.id) == before
            session.do(Unlink(ROOT, b"copy"))
            if session.ns.attr(ino).content != sealed.content:
                session.seal(ino)

    def test_rewrite_keeps_version_and_times(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"ab")
        attr = session.write(ino, 2, b"cd")
        session.do(Rewrite(attr.content, attr.version, (session.extent(0, b"abcd"),)), packs=(session.pack,))
        assert session.ns.attr(ino) == attr
        assert session.read(ino) == b"abcd"
        assert len(session.ns.extents(attr.content, 0, 0)[0].extents) == 1
        newer = session.write(ino, 0, b"x")
        session.fails(Kind.CONFLICT, Rewrite(attr.content, attr.version, ()))
        assert session.ns.attr(ino) == newer

    def test_a_part_is_rewritten_and_the_rest_stays(self, session: Session) -> None:
        ino = session.make(b"f").ino
        for at in range(6):
            attr = session.write(ino, at, b"abcdef"[at : at + 1])
        extent = session.extent(1, b"bcd")
        session.do(Rewrite(attr.content, attr.version, (extent,), whole=False), packs=(session.pack,))
        assert session.ns.attr(ino) == attr
        assert session.read(ino) == b"abcdef"
        found = session.ns.extents(attr.content, 0, 0)[0].extents
        assert [(e.offset, e.length) for e in found] == [(0, 1), (1, 3), (4, 1), (5, 1)]
        session.write(ino, 0, b"x")
        session.fails(Kind.CONFLICT, Rewrite(attr.content, attr.version, (extent,), whole=False))


class BaseSuite:
    def test_a_copy_shares_and_both_change_alone(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.write(one, 0, b"common")
        two = clone(session, one, b"2")
        assert session.ns.attr(two).content == session.ns.attr(one).content
        session.write(one, 0, b"C")
        session.write(two, 5, b"N")
        assert session.read(one) == b"Common"
        assert session.read(two) == b"commoN"

    def test_truncating_a_copy(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.write(one, 0, b"abcdef")
        session.write(one, 2 * REGION, b"far")
        two = clone(session, one, b"2")
        session.do(Truncate(two, 3))
        session.do(Truncate(two, 2 * REGION + 3))
        assert [m.region for m in session.ns.extents(session.ns.attr(two).content, 0, 9)] == [0]
        assert session.ns.extents(session.ns.attr(two).content, 0, 0)[0].extents[0].length == 3
        session.do(Truncate(two, 0))
        assert session.read(two) == b""
        assert len(session.ns.extents(session.ns.attr(one).content, 0, 9)) == 2

    def test_truncating_at_a_region_border(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.write(one, REGION - 2, b"abcd")
        two = clone(session, one, b"2")
        session.do(Truncate(two, REGION))
        session.do(Truncate(two, REGION + 2))
        [only] = session.ns.extents(session.ns.attr(two).content, 0, 9)
        assert (only.region, only.extents[-1].end) == (0, REGION)

    def test_a_hole_over_all_that_shows_through(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.write(one, 0, b"abc")
        two = clone(session, one, b"2")
        session.do(Write(two, (hole(0, 3),), 3))
        assert session.read(two) == bytes(3)
        assert session.read(one) == b"abc"

    def test_chains_stay_short_and_right(self, session: Session) -> None:
        ino = session.make(b"0").ino
        expected = bytearray(b"................")
        session.write(ino, 0, bytes(expected))
        session.write(ino, 5 * REGION, b"far")
        session.do(Truncate(ino, 16))
        for number in range(1, 12):
            ino = clone(session, ino, b"%d" % number)
            session.write(ino, number, b"%x" % number)
            expected[number : number + 1] = b"%x" % number
            assert session.read(ino) == bytes(expected)
        assert session.problems() == []

    def test_flatten_changes_nothing_and_frees_the_bases(self, session: Session) -> None:
        upkeep = session.store.upkeep
        ino = session.make(b"0").ino
        session.write(ino, 0, b"base")
        session.write(ino, 3 * REGION, b"far")
        for number in range(3):
            copy = clone(session, ino, b"copy%d" % number)
            session.write(copy, number, b"#")
            session.do(Unlink(ROOT, b"%d" % number))
            session.make(b"%d" % (number + 1))
            ino = copy
        content = session.ns.attr(ino).content
        maps = session.ns.extents(content, 0, 9)
        assert content in upkeep.deep_drafts(10)
        upkeep.flatten(content)
        assert session.ns.extents(content, 0, 9) == maps
        assert content not in upkeep.deep_drafts(10)

    def test_users_of_a_content(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.write(one, 0, b"abc")
        content = session.ns.attr(one).content
        two = clone(session, one, b"2")
        three = clone(session, one, b"3")
        session.write(three, 0, b"x")
        assert sorted(session.store.upkeep.users(content)) == sorted([one, two, three])

    def test_a_hole_of_the_base_that_gets_bytes_does_not_show_behind_the_end(self, session: Session) -> None:
        one = session.make(b"1").ino
        session.do(Truncate(one, 100))
        session.do(Write(one, (hole(0, 100),), 100))
        two = clone(session, one, b"2")
        session.do(Truncate(two, 10))
        attr = session.ns.attr(one)
        zeroes = (session.extent(0, bytes(100)),)
        session.do(Rewrite(attr.content, attr.version, zeroes), packs=(session.pack,))
        assert session.read(two) == bytes(10)
        session.do(Truncate(two, 100))
        assert session.read(two) == bytes(100)


class CloneSuite:
    def test_a_file_with_all_that_belongs_to_it(self, session: Session) -> None:
        one = session.make(b"1", stat.S_IFREG | 0o751, uid=5, gid=6).ino
        session.write(one, 0, b"abc")
        session.do(SetXattr(one, b"user.a", b"v"))
        source = session.do(SetAttr(one, mtime_ns=5, atime_ns=6))
        kept = session.ns.attr(clone(session, one, b"kept", preserve=True))
        assert kept[1:9] == source[1:9]
        fresh = session.ns.attr(clone(session, one, b"fresh"))
        assert (fresh.uid, fresh.gid, fresh.mtime_ns, fresh.mode) == (0, 0, session.time, source.mode)
        assert session.ns.xattrs(fresh.ino) == [(b"user.a", b"v")]
        assert (kept.content, kept.version) == (fresh.content, fresh.version)

    def test_replacing_needs_to_be_asked_for(self, session: Session) -> None:
        one, two = session.make(b"1").ino, session.make(b"2").ino
        session.write(one, 0, b"new")
        session.write(two, 0, b"older")
        session.fails(Kind.EXISTS, Clone(one, ROOT, b"2", session.ino(), 0, 0))
        session.do(Clone(one, ROOT, b"2", session.ino(), 0, 0, replace=True))
        assert session.read(session.find(b"2").ino) == b"new"
        session.mkdir(b"d")
        session.fails(Kind.IS_A_DIRECTORY, Clone(one, ROOT, b"d", session.ino(), 0, 0, replace=True))

    def test_trees(self, session: Session) -> None:
        top = session.mkdir(b"top").ino
        below = session.mkdir(b"below", parent=top).ino
        file = session.make(b"f", parent=below).ino
        session.write(file, 0, b"data")
        session.do(SetXattr(file, b"user.a", b"v"))
        from gravitonfs.ports.ops import Link

        session.do(Link(file, top, b"hard"))
        session.make(b"l", stat.S_IFLNK | 0o777, parent=top, target=b"below/f")
        usage = session.ns.usage()
        copy = session.do(Clone(top, ROOT, b"copy", session.ino(), 0, 0, preserve=True))
        assert copy.nlink == 3
        steps = session.ns.resolve([b"copy", b"below", b"f"])
        hard = session.find(b"hard", copy.ino)
        assert steps[-1] == hard
        assert (hard.nlink, session.read(hard.ino)) == (2, b"data")
        assert hard.ino not in (file, top, below)
        assert session.ns.xattrs(hard.ino) == [(b"user.a", b"v")]
        assert session.ns.readlink(session.find(b"l", copy.ino).ino) == b"below/f"
        assert session.ns.usage() == (usage.logical_bytes + 4, usage.inodes + 4)
        session.write(hard.ino, 0, b"D")
        assert session.read(file) == b"data"
        with refused(Kind.STALE):
            session.ns.attr(Ino(max(session.ns.grant(1))))

    def test_a_directory_alone(self, session: Session) -> None:
        top = session.mkdir(b"top", mode=0o700).ino
        session.make(b"f", parent=top)
        session.mkdir(b"d", parent=top)
        copy = session.do(Clone(top, ROOT, b"copy", session.ino(), 0, 0, tree=False))
        assert (copy.nlink, stat.S_IMODE(copy.mode)) == (2, 0o700)
        assert session.names(copy.ino) == []

    def test_never_into_itself(self, session: Session) -> None:
        top = session.mkdir(b"top").ino
        below = session.mkdir(b"below", parent=top).ino
        session.fails(Kind.INVALID, Clone(top, below, b"x", session.ino(), 0, 0))
        session.do(Clone(below, top, b"beside", session.ino(), 0, 0))
        assert session.names(top) == [b"below", b"beside"]


class PublishSuite:
    def put(self, session: Session, data: bytes) -> Ino:
        ino = session.staged().ino
        session.write(ino, 0, data, expect=0, seal=digest(data))
        return ino

    def test_a_new_name(self, session: Session) -> None:
        staged = self.put(session, b"whole")
        assert session.names() == []
        attr = session.do(Publish(staged, ROOT, b"f"))
        assert (attr.ino, attr.nlink) == (staged, 1)
        assert session.read(session.find(b"f").ino) == b"whole"

    def test_a_file_keeps_what_is_its_own(self, session: Session) -> None:
        from gravitonfs.ports.ops import Link

        old = session.make(b"f", stat.S_IFREG | 0o640, uid=7).ino
        session.write(old, 0, b"old bytes")
        session.do(SetXattr(old, b"user.a", b"v"))
        session.do(Link(old, ROOT, b"g"))
        staged = self.put(session, b"new")
        attr = session.do(Publish(staged, ROOT, b"f"))
        assert (attr.ino, attr.nlink, attr.uid, stat.S_IMODE(attr.mode)) == (old, 2, 7, 0o640)
        assert session.read(old) == b"new"
        assert session.ns.xattrs(old) == [(b"user.a", b"v")]
        with refused(Kind.STALE):
            session.ns.attr(staged)

    def test_expectations(self, session: Session) -> None:
        file = session.make(b"f")
        session.fails(Kind.CONFLICT, Publish(self.put(session, b"1"), ROOT, b"f", absent=True))
        session.fails(Kind.CONFLICT, Publish(self.put(session, b"1"), ROOT, b"none", expect=(1, 1)))
        attr = session.do(Publish(self.put(session, b"1"), ROOT, b"f", expect=(0, 0)))
        session.fails(Kind.CONFLICT, Publish(self.put(session, b"2"), ROOT, b"f", expect=(0, 0)))
        expect = (attr.content, attr.version)
        session.do(Publish(self.put(session, b"2"), ROOT, b"f", expect=expect))
        session.fails(Kind.CONFLICT, Publish(self.put(session, b"3"), ROOT, b"f", expect=expect))
        assert session.read(file.ino) == b"2"
        session.mkdir(b"d")
        session.fails(Kind.IS_A_DIRECTORY, Publish(self.put(session, b"1"), ROOT, b"d"))

    def test_only_what_has_no_name(self, session: Session) -> None:
        session.fails(Kind.INVALID, Publish(session.make(b"f").ino, ROOT, b"g"))

    def test_over_a_symlink(self, session: Session) -> None:
        session.make(b"f", stat.S_IFLNK | 0o777, target=b"x")
        session.do(Publish(self.put(session, b"1"), ROOT, b"f"))
        assert stat.S_ISREG(session.find(b"f").mode)
