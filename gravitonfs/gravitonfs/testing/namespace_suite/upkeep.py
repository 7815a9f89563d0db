"""Background work: trees that go, roots of a mark, candidates, checks."""

from __future__ import annotations

from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.ops import Append, Clone, Create, Disclaim, Link, RemoveTree, Rewrite, Truncate, Unlink
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, patterns, refused

LATE = 1 << 62


def tree(session: Session, width: int = 3, depth: int = 3) -> Ino:
    top = session.mkdir(b"top").ino
    level = [top]
    for _ in range(depth):
        below = []
        for parent in level:
            for number in range(width):
                below.append(session.mkdir(b"d%d" % number, parent=parent).ino)
                file = session.make(b"f%d" % number, parent=parent).ino
                session.write(file, 0, b"data")
        level = below
    return top


class ReapSuite:
    def test_a_tree_is_gone_at_once_and_freed_later(self, session: Session) -> None:
        before = session.ns.usage()
        links = session.ns.attr(ROOT).nlink
        top = tree(session)
        removed = session.do(RemoveTree(ROOT, b"top"))
        assert (removed.ino, removed.links) == (top, 0)
        assert session.ns.lookup(ROOT, b"top") is None
        assert session.ns.attr(ROOT).nlink == links
        session.fails(Kind.NOT_FOUND, Create(top, b"x", session.ino(), 0o100600, 0, 0))
        while freed := session.store.upkeep.reap(5):
            assert freed <= 5
            assert session.problems() == []
        assert session.ns.usage() == before
        assert sum(map(len, session.store.upkeep.extent_rows())) == 0

    def test_names_elsewhere_keep_a_file(self, session: Session) -> None:
        top = tree(session, 1, 1)
        file = session.find(b"f0", top).ino
        session.do(Link(file, ROOT, b"kept"))
        session.do(RemoveTree(ROOT, b"top"))
        session.reap_all()
        assert session.find(b"kept").nlink == 1
        assert session.read(file) == b"data"

    def test_an_open_file_is_kept_and_its_session_told(self, store: Store) -> None:
        told: list[Change] = []
        opened: set[int] = set()
        session = Session(store, claims=lambda ino: ino in opened, listener=told.extend)
        top = tree(session, 1, 1)
        file = session.find(b"f0", top).ino
        opened.add(file)
        session.do(RemoveTree(ROOT, b"top"))
        session.reap_all()
        assert session.ns.attr(file).nlink == 0
        assert session.read(file) == b"data"
        assert file in {change.ino for change in told}
        session.do(Disclaim((file,)))
        with refused(Kind.STALE):
            session.ns.attr(file)

    def test_removetree_of_a_file(self, session: Session) -> None:
        session.make(b"f")
        session.do(RemoveTree(ROOT, b"f"))
        session.fails(Kind.NOT_FOUND, RemoveTree(ROOT, b"f"))
        assert session.names() == []

    def test_contents_are_freed_when_nothing_uses_them(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        copy = session.do(Clone(ino, ROOT, b"g", session.ino(), 0, 0)).ino
        session.write(copy, 1, b"#")
        session.do(Unlink(ROOT, b"f"))
        session.reap_all()
        assert session.read(copy) == b"d#ta"
        session.do(Truncate(copy, 0))
        session.reap_all()
        assert list(session.store.upkeep.extent_rows()) == []

    def test_a_content_that_nothing_uses_is_not_read_as_holes(self, session: Session) -> None:
        ino = session.make(b"f").ino
        content = session.write(ino, 0, b"data").content
        session.do(Unlink(ROOT, b"f"))
        with refused(Kind.STALE):
            session.ns.extents(content, 0, 0)
        session.reap_all()
        with refused(Kind.STALE):
            session.ns.extents(content, 0, 0)


class UpkeepSuite:
    def test_every_block_in_use_is_a_root(self, session: Session) -> None:
        ino = session.make(b"f").ino
        wanted = set()
        for offset, data in zip(range(0, 1000, 10), patterns(), strict=False):
            wanted.add(session.extent(offset, data).block)
            session.write(ino, offset, data)
        copy = session.do(Clone(ino, ROOT, b"g", session.ino(), 0, 0)).ino
        session.write(copy, 0, b"covers all of it" * 100)
        rows = [row for page in session.store.upkeep.extent_rows() for row in page]
        assert wanted <= {extent.block for row in rows for extent in row.extents}

    def test_the_roots_are_of_one_moment(self, session: Session) -> None:
        """Folding and rewriting while they are read does not hide what was there all along."""
        ino = session.make(b"f").ino
        for offset, data in zip(range(0, 600, 10), patterns(), strict=False):
            session.write(ino, offset, data)
        wanted = {e.block for m in session.ns.extents(session.ns.attr(ino).content, 0, 0) for e in m.extents}
        pages = session.store.upkeep.extent_rows()
        found = set()
        for page in pages:
            session.write(ino, 0, b"now folded")
            for _ in range(70):
                session.write(ino, 0, b"again")
            found |= {extent.block for row in page for extent in row.extents}
        assert wanted <= found

    def test_candidates_for_rechunking(self, session: Session) -> None:
        upkeep = session.store.upkeep
        ino = session.make(b"f").ino
        session.write(ino, 0, b"-" * 4000)
        for offset, data in zip(range(0, 4000, 100), patterns(), strict=False):
            session.write(ino, offset, data)
        attr = session.ns.attr(ino)
        assert upkeep.fragmented(0, 10) == []
        [found] = upkeep.fragmented(LATE, 10)
        assert (found.content, found.version, found.length) == (attr.content, attr.version, 4000)
        assert found.extents >= 40
        whole = session.read(ino)
        session.do(Rewrite(attr.content, attr.version, (session.extent(0, whole),)), packs=(session.pack,))
        assert upkeep.fragmented(LATE, 10) == []
        assert session.read(ino) == whole

    def test_a_log_written_line_by_line_is_not_fragmented_by_its_rows(self, session: Session) -> None:
        ino = session.make(b"log").ino
        for _ in range(100):
            session.do(Append(ino, (session.extent(0, b"x"),), 1), packs=(session.pack,))
        assert len(session.read(ino)) == 100
        rows = [row for page in session.store.upkeep.extent_rows() for row in page]
        assert len(rows) <= 65

    def test_contents_without_a_digest(self, session: Session) -> None:
        upkeep = session.store.upkeep
        one, two = session.make(b"1").ino, session.make(b"2").ino
        session.write(one, 0, b"first")
        attr = session.write(two, 0, b"second")
        assert upkeep.undigested(0, 10) == []
        assert len(upkeep.undigested(LATE, 1)) == 1
        session.seal(one)
        assert upkeep.undigested(LATE, 10) == [(attr.content, attr.version, 6)]
        session.do(Clone(two, ROOT, b"3", session.ino(), 0, 0))
        assert upkeep.undigested(LATE, 10) == [(attr.content, attr.version, 6)]
        session.seal(two)
        assert upkeep.undigested(LATE, 10) == []

    def test_a_sealed_copy_does_not_keep_its_base_for_ever(self, session: Session) -> None:
        upkeep = session.store.upkeep
        one = session.make(b"1").ino
        session.write(one, 0, b"old bytes")
        two = session.do(Clone(one, ROOT, b"2", session.ino(), 0, 0)).ino
        session.write(two, 0, b"new bytes")
        session.seal(two)
        session.do(Unlink(ROOT, b"1"))
        for content in upkeep.deep_drafts(10):
            upkeep.flatten(content)
        upkeep.fragmented(LATE, 10)
        session.reap_all()
        blocks = {e.block for page in upkeep.extent_rows() for row in page for e in row.extents}
        assert blocks == {session.extent(0, b"new bytes").block}
        assert session.read(two) == b"new bytes"

    def test_usage_is_exact(self, session: Session) -> None:
        start = session.ns.usage()
        ino = session.make(b"f").ino
        session.write(ino, 10, b"12345")
        assert session.ns.usage() == (start.logical_bytes + 15, start.inodes + 1)
        session.do(Link(ino, ROOT, b"g"))
        session.do(Clone(ino, ROOT, b"h", session.ino(), 0, 0))
        session.do(Truncate(ino, 5))
        session.make(b"l", 0o120777, target=b"x" * 50)
        assert session.ns.usage() == (start.logical_bytes + 20, start.inodes + 3)
        for name in (b"f", b"g", b"h", b"l"):
            session.do(Unlink(ROOT, name))
        assert session.ns.usage() == start


class OriginSuite:
    def test_a_store_knows_when_it_was_made(self, session: Session) -> None:
        founded = session.store.upkeep.founded_ns()
        assert 0 < founded <= session.ns.attr(ROOT).ctime_ns

    def test_a_database_that_was_put_back_gets_another_fence(self, session: Session) -> None:
        """What sessions have is not touched: the incarnation tells them."""
        upkeep = session.store.upkeep
        assert upkeep.fence() == 0
        session.make(b"f")
        upkeep.restored()
        first = upkeep.fence()
        assert first > upkeep.founded_ns()
        upkeep.restored()
        assert upkeep.fence() > first
        assert session.problems() == []
        session.make(b"g")
        assert session.find(b"f").ino != session.find(b"g").ino
