"""What a retained version still sees, whatever is done after it."""

from __future__ import annotations

from typing import Protocol

from gravitonfs.core import acl
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import (
    Clone,
    Create,
    Link,
    Publish,
    RemoveTree,
    RemoveXattr,
    Rename,
    Rewrite,
    SetAttr,
    SetXattr,
    Truncate,
    Unlink,
)
from gravitonfs.ports.store import SnapshotRow
from gravitonfs.testing.namespace_suite.attributes import FULL
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, read_content, refused


class RetainingStore(Store, Protocol):
    def create_snapshot(self, volume: str, name: str) -> SnapshotRow: ...
    def delete_snapshot(self, volume: str, name: str) -> None: ...
    def snapshot_rows(self, volume: str) -> list[SnapshotRow]: ...


def picture(ns: Namespace, top: Ino = ROOT) -> dict[bytes, object]:
    """All that a reader can see of a tree."""
    result: dict[bytes, object] = {}
    pending = [(b"", top)]
    while pending:
        path, ino = pending.pop()
        attr = ns.attr(ino)
        data = read_content(ns, attr.content, attr.size) if attr.mode & 0o170000 == 0o100000 else b""
        target = ns.readlink(ino) if attr.mode & 0o170000 == 0o120000 else b""
        result[path] = (attr, data, target, ns.xattrs(ino))
        if attr.mode & 0o170000 == 0o040000:
            entries = ns.entries(ino, None, 1000)
            assert all(ns.lookup(ino, entry.name) == entry.attr for entry in entries)
            pending += [(path + b"/" + entry.name, entry.attr.ino) for entry in entries]
    return result


class HistorySuite:
    def build(self, session: Session) -> dict[bytes, Ino]:
        d = session.mkdir(b"d").ino
        names = {b"d": d}
        for number in range(4):
            ino = session.make(b"f%d" % number, parent=d).ino
            session.write(ino, 0, b"contents of %d" % number)
            session.write(ino, REGION - 2, b"tail")
            session.do(Truncate(ino, 30))
            names[b"f%d" % number] = ino
        session.do(SetXattr(names[b"f0"], b"user.a", b"1"))
        session.do(SetXattr(names[b"f1"], acl.ACCESS, acl.serialize(FULL)))
        session.make(b"l", 0o120777, target=b"there")
        session.do(Link(names[b"f2"], ROOT, b"hard"))
        session.do(Clone(names[b"f3"], ROOT, b"copy", session.ino(), 0, 0))
        session.write(names[b"f3"], 1, b"stands on a base")
        return names

    def change_everything(self, session: Session, names: dict[bytes, Ino]) -> None:
        d = names[b"d"]
        for key in (b"f0", b"f1", b"f2", b"f3"):
            for offset in range(70):
                session.write(names[key], offset, b"folded")
            session.do(SetAttr(names[key], mode=0o600, mtime_ns=1))
        session.do(Truncate(names[b"f1"], 3))
        session.do(Truncate(names[b"f2"], 0))
        session.do(SetXattr(names[b"f0"], b"user.a", b"2"), SetXattr(names[b"f0"], b"user.b", b"3"))
        session.do(RemoveXattr(names[b"f1"], acl.ACCESS))
        attr = session.ns.attr(names[b"f3"])
        session.do(Rewrite(attr.content, attr.version, (session.extent(0, b"x" * attr.size),)))
        session.do(Rename(d, b"f0", ROOT, b"moved"))
        session.do(Unlink(ROOT, b"l"))
        session.do(Create(ROOT, b"l", session.ino(), 0o100600, 0, 0))
        session.do(Unlink(ROOT, b"hard"))
        staged = session.staged().ino
        session.write(staged, 0, b"published")
        session.do(Publish(staged, d, b"f1"))
        session.do(Clone(names[b"f0"], ROOT, b"copy", session.ino(), 0, 0, replace=True))

    def test_a_retained_version_does_not_change(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        names = self.build(session)
        before = picture(session.ns)
        version = store.create_snapshot("main", "first").version
        then = store.attach(label="past", at=version)
        assert picture(then) == before
        self.change_everything(session, names)
        assert picture(then) == before
        middle = picture(session.ns)
        assert middle != before
        second = store.create_snapshot("main", "second").version
        session.do(RemoveTree(ROOT, b"d"))
        session.reap_all()
        for content in store.upkeep.deep_drafts(100):
            store.upkeep.flatten(content)
        store.upkeep.fragmented(1 << 62, 100)
        session.reap_all()
        assert picture(then) == before
        assert picture(store.attach(label="past", at=second)) == middle
        assert session.problems() == []
        store.close()

    def test_nothing_is_kept_without_a_snapshot(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        self.change_everything(session, self.build(session))
        session.do(RemoveTree(ROOT, b"d"))
        for name in session.names():
            session.do(Unlink(ROOT, name))
        session.reap_all()
        assert list(store.upkeep.extent_rows()) == []
        store.close()

    def test_the_past_cannot_be_changed(self, stores: RetainingStores) -> None:
        store = stores.open()
        session = Session(store)
        session.make(b"f")
        then = store.attach(label="past", at=store.create_snapshot("main", "s").version)
        with refused(Kind.READ_ONLY):
            then.apply([session.batch(Unlink(ROOT, b"f"))], durable=False)
        with refused(Kind.READ_ONLY):
            then.grant(1)
        assert then.usage() == session.ns.usage()
        session.number -= 1
        session.do(Unlink(ROOT, b"f"))
        assert then.lookup(ROOT, b"f") is not None
        assert then.usage().inodes == session.ns.usage().inodes + 1
        store.close()


class RetainingStores(Protocol):
    def open(self) -> RetainingStore: ...
