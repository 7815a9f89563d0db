"""The namespace's conformance suite over gRPC on loopback."""

from __future__ import annotations

from gravitonfs.errors import Kind
from gravitonfs.ports.ops import Create, Disclaim, Unlink
from gravitonfs.testing.namespace_suite import (
    attributes,
    blobs,
    contents,
    history,
    names,
    sessions,
    small_maps,
    snapshots,
    upkeep,
)
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, Store, Stores, refused
from rpc.served import ServedStore


class TestNames(names.NamesSuite):
    def test_a_number_too_large_is_an_error_like_others(self, session: Session) -> None:
        """One that no message can carry is refused before it is sent."""
        session.fails(Kind.INVALID, Create(ROOT, b"a", session.ino(), 0o100600, 1 << 63, 0))
        with refused(Kind.INVALID):
            session.do(Create(ROOT, b"a", session.ino(), 0o100600, 1 << 64, 0))
        session.number -= 1
        session.make(b"b")
        assert session.names() == [b"b"]


class TestRename(names.RenameSuite): ...


class TestAttributes(attributes.AttributesSuite): ...


class TestXattrs(attributes.XattrSuite): ...


class TestAcls(attributes.AclSuite): ...


class TestData(contents.DataSuite): ...


class TestSeals(contents.SealSuite): ...


class TestBases(contents.BaseSuite): ...


class TestSmallMaps(small_maps.SmallMapsSuite): ...


class TestClone(contents.CloneSuite): ...


class TestPublish(contents.PublishSuite): ...


class TestBlobs(blobs.BlobSuite): ...


class TestExactlyOnce(sessions.ExactlyOnceSuite):
    def test_answers_survive(self, stores: Stores) -> None:
        """A restart of the daemon: see test_restart, where the session itself comes back."""


class TestDurability(sessions.DurabilitySuite): ...


class TestOrphans(sessions.OrphanSuite):
    def test_other_sessions_are_asked(self, store: Store) -> None:
        """Later than in one process: until a client has answered it counts as having the file open."""
        opened: set[int] = set()
        other = Session(store, "other", claims=lambda ino: ino in opened)
        session = Session(store)
        ino, gone = session.make(b"f").ino, session.make(b"g").ino
        opened.add(ino)
        assert session.do(Unlink(ROOT, b"f")).kept
        session.do(Unlink(ROOT, b"g"))
        with refused(Kind.STALE):
            session.ns.attr(gone)
        session.do(Disclaim((ino, gone)))
        assert other.ns.attr(ino).nlink == 0
        other.do(Disclaim((ino,)))
        with refused(Kind.STALE):
            session.ns.attr(ino)

    def test_and_with_their_process(self, stores: Stores) -> None:
        """Not with the daemon's: a client may come back, until its lease ends."""
        store = stores.open()
        session = Session(store)
        usage = session.ns.usage()
        session.staged()
        kept = session.make(b"f").ino
        session.do(Unlink(ROOT, b"f", claim=True), durable=True)
        store.close()
        served = stores.open()
        assert isinstance(served, ServedStore)
        after = Session(served)
        assert after.ns.attr(kept).nlink == 0
        [left] = [row for row in served.local.sessions() if not row.attached]
        served.local.evict(left.number)
        with refused(Kind.STALE):
            after.ns.attr(kept)
        assert after.ns.usage() == usage
        assert after.problems() == []
        served.close()


class TestListeners(sessions.ListenerSuite): ...


class TestRecords(sessions.RecordSuite): ...


class TestHistory(history.HistorySuite): ...


class TestBrowsing(snapshots.BrowsingSuite): ...


class TestOrigin(upkeep.OriginSuite): ...


class TestReap(upkeep.ReapSuite): ...


class TestUpkeep(upkeep.UpkeepSuite): ...
