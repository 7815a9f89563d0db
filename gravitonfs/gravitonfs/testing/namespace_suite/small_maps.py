"""The maps of many small contents at once."""

from __future__ import annotations

from gravitonfs.core.ids import ContentId
from gravitonfs.ports.namespace import SMALL_CONTENT
from gravitonfs.ports.ops import Attr, Truncate, Unlink
from gravitonfs.testing.namespace_suite.contents import clone
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, digest


def sealed(session: Session, name: bytes, data: bytes) -> Attr:
    file = session.make(name)
    return session.write(file.ino, 0, data, expect=file.version, seal=digest(data))


class SmallMapsSuite:
    def test_those_that_stay_as_they_are(self, session: Session) -> None:
        wanted = {}
        for number in range(20):
            content = sealed(session, b"f%d" % number, b"bytes %d" % number).content
            wanted[content] = session.ns.extents(content, 0, 0)[0].extents
        assert session.ns.extents_of([*wanted, ContentId(1 << 40)]) == wanted
        assert session.ns.extents_of([]) == {}

    def test_a_draft_is_left_out(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"abc")
        draft = session.write(ino, 3, b"def").content
        assert session.ns.extents_of([draft]) == {}
        clone(session, ino, b"copy")  # frozen by that
        assert len(session.ns.extents_of([draft])[draft]) == 2
        above = session.write(ino, 0, b"A").content
        assert list(session.ns.extents_of([draft, above])) == [draft]

    def test_a_large_one_is_left_out(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"abc")
        session.do(Truncate(ino, SMALL_CONTENT + 1))
        clone(session, ino, b"copy")
        assert session.ns.extents_of([session.ns.attr(ino).content]) == {}

    def test_one_that_nothing_uses_is_left_out(self, session: Session) -> None:
        content = sealed(session, b"f", b"abc").content
        assert list(session.ns.extents_of([content])) == [content]
        session.do(Unlink(ROOT, b"f"))
        session.reap_all()
        assert session.ns.extents_of([content]) == {}
