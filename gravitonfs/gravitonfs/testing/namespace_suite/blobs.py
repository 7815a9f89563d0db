"""References to sealed contents as blobs."""

from __future__ import annotations

from gravitonfs.core.hashing import EMPTY_DIGEST
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Kind
from gravitonfs.ports.ops import AddBlobRef, Disclaim, DropBlobRef, Unlink, Write
from gravitonfs.testing.namespace_suite.driver import ROOT, Session, digest, read_content


def sealed(session: Session, data: bytes) -> Ino:
    """A staged file whose writer streamed its digest."""
    ino = session.staged().ino
    session.write(ino, 0, data, expect=0, seal=digest(data))
    return ino


class BlobSuite:
    def test_a_reference_keeps_the_bytes(self, session: Session) -> None:
        data = b"kept as a blob"
        ino = sealed(session, data)
        session.do(AddBlobRef(ino, digest(data), len(data)))
        session.do(Disclaim((ino,)))
        session.reap_all()
        found = session.ns.blob(digest(data), len(data))
        assert found is not None
        assert (found.digest, found.length) == (digest(data), len(data))
        assert found.created_ns > 0
        assert read_content(session.ns, found.content, found.length) == data
        assert session.problems() == []
        session.do(DropBlobRef(digest(data), len(data)))
        session.reap_all()
        assert session.ns.blob(digest(data), len(data)) is None
        assert sum(map(len, session.store.upkeep.extent_rows())) == 0

    def test_files_keep_what_a_dropped_reference_named(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        session.seal(ino)
        session.do(AddBlobRef(ino, digest(b"data"), 4))
        session.do(DropBlobRef(digest(b"data"), 4))
        session.reap_all()
        assert session.read(ino) == b"data"

    def test_a_file_that_is_changed_leaves_the_blob_alone(self, session: Session) -> None:
        ino = session.make(b"f").ino
        session.write(ino, 0, b"data")
        session.seal(ino)
        session.do(AddBlobRef(ino, digest(b"data"), 4))
        session.write(ino, 0, b"D")
        found = session.ns.blob(digest(b"data"), 4)
        assert found is not None
        assert read_content(session.ns, found.content, 4) == b"data"
        session.do(Unlink(ROOT, b"f"))
        session.reap_all()
        assert read_content(session.ns, found.content, 4) == b"data"

    def test_twice_is_once(self, session: Session) -> None:
        one, two = sealed(session, b"same"), sealed(session, b"same")
        session.do(AddBlobRef(one, digest(b"same"), 4))
        session.do(AddBlobRef(two, digest(b"same"), 4))
        assert len(session.ns.blobs(None, 10)) == 1
        session.do(DropBlobRef(digest(b"same"), 4))
        session.fails(Kind.NOT_FOUND, DropBlobRef(digest(b"same"), 4))

    def test_only_sealed_bytes_that_match(self, session: Session) -> None:
        draft = session.make(b"draft").ino
        session.write(draft, 0, b"data")
        session.fails(Kind.CONFLICT, AddBlobRef(draft, digest(b"data"), 4))
        ino = sealed(session, b"data")
        session.fails(Kind.CONFLICT, AddBlobRef(ino, digest(b"else"), 4))
        session.fails(Kind.CONFLICT, AddBlobRef(ino, digest(b"data"), 5))
        session.fails(Kind.INVALID, AddBlobRef(ino, b"short", 4))
        session.fails(Kind.IS_A_DIRECTORY, AddBlobRef(ROOT, digest(b"data"), 4))
        session.fails(Kind.STALE, AddBlobRef(session.ino(), digest(b"data"), 4))
        assert session.ns.blobs(None, 10) == []

    def test_the_empty_blob(self, session: Session) -> None:
        ino = session.make(b"empty").ino
        session.do(AddBlobRef(ino, EMPTY_DIGEST, 0))
        found = session.ns.blob(EMPTY_DIGEST, 0)
        assert found is not None
        assert (found.content, found.length) == (0, 0)
        assert session.problems() == []
        session.do(DropBlobRef(EMPTY_DIGEST, 0))
        assert session.ns.blob(EMPTY_DIGEST, 0) is None

    def test_written_sealed_and_kept_in_one_batch(self, session: Session) -> None:
        ino = session.staged().ino
        write = Write(ino, (session.extent(0, b"one"),), 3, 0, digest(b"one"))
        session.do(write, AddBlobRef(ino, digest(b"one"), 3), Disclaim((ino,)), packs=(session.pack,))
        assert session.ns.blob(digest(b"one"), 3) is not None

    def test_pages_of_them(self, session: Session) -> None:
        wanted = []
        for number in range(7):
            data = b"%d" % number * (number + 1)
            ino = sealed(session, data)
            session.do(AddBlobRef(ino, digest(data), len(data)))
            wanted.append((digest(data), len(data)))
        found: list[tuple[bytes, int]] = []
        while page := session.ns.blobs(found[-1] if found else None, 3):
            found += [(ref.digest, ref.length) for ref in page]
        assert found == sorted(wanted)
