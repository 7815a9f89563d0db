"""Attributes, extended attributes, ACLs."""

from __future__ import annotations

import stat

import pytest

from gravitonfs.core import acl
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import Attr, RemoveXattr, SetAttr, SetXattr
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, refused

FULL = (
    acl.AclEntry(acl.USER_OBJ, 7, acl.NO_ID),
    acl.AclEntry(acl.USER, 6, 42),
    acl.AclEntry(acl.GROUP_OBJ, 5, acl.NO_ID),
    acl.AclEntry(acl.MASK, 7, acl.NO_ID),
    acl.AclEntry(acl.OTHER, 4, acl.NO_ID),
)
PLAIN = tuple(entry for entry in FULL if entry.tag in (acl.USER_OBJ, acl.GROUP_OBJ, acl.OTHER))


class AttributesSuite:
    def test_each_alone(self, session: Session) -> None:
        file = session.make(b"f")
        attr: Attr = session.do(SetAttr(file.ino, mode=0o4711))
        assert attr == file._replace(mode=stat.S_IFREG | 0o4711, ctime_ns=session.time)
        attr = session.do(SetAttr(file.ino, uid=1, gid=2))
        assert (attr.uid, attr.gid) == (1, 2)
        attr = session.do(SetAttr(file.ino, atime_ns=-5, mtime_ns=1 << 62, ctime_ns=9))
        assert (attr.atime_ns, attr.mtime_ns, attr.ctime_ns) == (-5, 1 << 62, 9)
        assert session.ns.attr(file.ino) == attr

    def test_of_what_is_gone(self, session: Session) -> None:
        session.fails(Kind.STALE, SetAttr(Ino(999_999), mode=0))


class XattrSuite:
    def test_set_get_list_remove(self, session: Session) -> None:
        ino = session.make(b"f").ino
        attr = session.do(SetXattr(ino, b"user.b", b"2"))
        assert attr.ctime_ns == session.time
        session.do(SetXattr(ino, b"user.a", b""))
        assert session.ns.xattrs(ino) == [(b"user.a", b""), (b"user.b", b"2")]
        assert session.ns.xattr(ino, b"user.b") == b"2"
        session.do(RemoveXattr(ino, b"user.b"))
        with refused(Kind.NO_ATTRIBUTE):
            session.ns.xattr(ino, b"user.b")
        session.fails(Kind.NO_ATTRIBUTE, RemoveXattr(ino, b"user.b"))

    def test_flags(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.fails(Kind.NO_ATTRIBUTE, SetXattr(ino, b"user.a", b"1", 2))
        session.do(SetXattr(ino, b"user.a", b"1", 1))
        session.fails(Kind.EXISTS, SetXattr(ino, b"user.a", b"2", 1))
        session.do(SetXattr(ino, b"user.a", b"3", 2))
        assert session.ns.xattr(ino, b"user.a") == b"3"
        session.fails(Kind.INVALID, SetXattr(ino, b"user.a", b"3", 7))

    def test_limits(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.do(SetXattr(ino, b"user." + b"n" * 250, bytes(64 * 1024)))
        session.fails(Kind.RANGE, SetXattr(ino, b"user." + b"n" * 251, b""))
        session.fails(Kind.RANGE, SetXattr(ino, b"", b""))
        session.fails(Kind.NO_SPACE, SetXattr(ino, b"user.a", bytes(64 * 1024 + 1)))

    def test_all_names_can_be_listed(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.do(*(SetXattr(ino, b"user.%0245d" % number, b"") for number in range(261)))
        session.fails(Kind.NO_SPACE, SetXattr(ino, b"user.%0245d" % 999, b""))

    def test_they_go_with_the_inode(self, session: Session) -> None:
        from gravitonfs.ports.ops import Unlink

        ino = session.make(b"f").ino
        session.do(SetXattr(ino, b"user.a", b"1"))
        session.do(Unlink(ROOT, b"f"))
        assert session.ns.xattrs(ino) == []


class AclSuite:
    def test_an_acl_sets_the_mode(self, session: Session) -> None:
        ino = session.make(b"f", stat.S_IFREG | 0o600).ino
        attr = session.do(SetXattr(ino, acl.ACCESS, acl.serialize(FULL)))
        assert stat.S_IMODE(attr.mode) == 0o774
        assert session.ns.xattr(ino, acl.ACCESS) == acl.serialize(FULL)

    def test_one_that_a_mode_can_say_is_not_kept(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.do(SetXattr(ino, acl.ACCESS, acl.serialize(FULL)))
        attr = session.do(SetXattr(ino, acl.ACCESS, acl.serialize(PLAIN)))
        assert stat.S_IMODE(attr.mode) == 0o754
        assert session.ns.xattrs(ino) == []

    def test_chmod_changes_the_mask(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.do(SetXattr(ino, acl.ACCESS, acl.serialize(FULL)))
        session.do(SetAttr(ino, mode=0o640))
        found = {(e.tag, e.id): e.perm for e in acl.parse(session.ns.xattr(ino, acl.ACCESS))}
        assert found[acl.MASK, acl.NO_ID] == 4
        assert found[acl.GROUP_OBJ, acl.NO_ID] == 5
        assert found[acl.USER, 42] == 6
        assert found[acl.OTHER, acl.NO_ID] == 0

    def test_removal(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.do(SetXattr(ino, acl.ACCESS, acl.serialize(FULL)))
        session.do(RemoveXattr(ino, acl.ACCESS))
        session.do(SetAttr(ino, mode=0o600))
        assert session.ns.xattrs(ino) == []

    def test_a_default_acl_is_inherited(self, session: Session) -> None:
        top = session.mkdir(b"d").ino
        session.do(SetXattr(top, acl.DEFAULT, acl.serialize(FULL)))
        file = session.make(b"f", stat.S_IFREG | 0o640, parent=top)
        assert stat.S_IMODE(file.mode) == 0o640
        found = {(e.tag, e.id): e.perm for e in acl.parse(session.ns.xattr(file.ino, acl.ACCESS))}
        assert (found[acl.USER, 42], found[acl.MASK, acl.NO_ID], found[acl.GROUP_OBJ, acl.NO_ID]) == (6, 4, 5)
        below = session.mkdir(b"sub", parent=top, mode=0o777)
        assert session.ns.xattr(below.ino, acl.DEFAULT) == acl.serialize(FULL)
        assert stat.S_IMODE(below.mode) == 0o774
        link = session.make(b"l", stat.S_IFLNK | 0o777, parent=top, target=b"x")
        assert session.ns.xattrs(link.ino) == []

    def test_a_plain_default_acl_gives_modes_alone(self, session: Session) -> None:
        top = session.mkdir(b"d").ino
        session.do(SetXattr(top, acl.DEFAULT, acl.serialize(PLAIN)))
        file = session.make(b"f", stat.S_IFREG | 0o666, parent=top)
        assert stat.S_IMODE(file.mode) == 0o644
        assert session.ns.xattrs(file.ino) == []

    def test_where_acls_cannot_be(self, session: Session) -> None:
        file = session.make(b"f").ino
        link = session.make(b"l", stat.S_IFLNK | 0o777, target=b"x").ino
        session.fails(Kind.ACCESS_DENIED, SetXattr(file, acl.DEFAULT, acl.serialize(FULL)))
        session.fails(Kind.UNSUPPORTED, SetXattr(link, acl.ACCESS, acl.serialize(FULL)))

    @pytest.mark.parametrize(
        "value",
        [b"\1", b"\1\0\0\0", acl.serialize(FULL)[:-1], acl.serialize(FULL[:-1]), acl.serialize(FULL[:3])],
    )
    def test_nonsense_is_refused(self, session: Session, value: bytes) -> None:
        session.fails(Kind.INVALID, SetXattr(session.make(b"f").ino, acl.ACCESS, value))
