"""Schema versions, damage, dumps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.namespace import schema
from graviton_server.namespace.engine import SqliteEngine
from graviton_server.namespace.redo import SIZE, redo_path
from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import Ino
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.errors import Damaged, FormatError
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Clone, Link, SetXattr, Unlink
from gravitonfs.testing.namespace_suite.attributes import FULL
from gravitonfs.testing.namespace_suite.driver import ROOT, Session
from gravitonfs.testing.namespace_suite.history import picture

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("namespace-*.sql"))
DUMPS = sorted((Path(__file__).parent.parent / "golden").glob("namespace-*.dump"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    result = tmp_path / "namespace.db"
    NamespaceStore.create(result, VolumeFormat(), bytes(16))
    return result


def populate(session: Session) -> None:
    from gravitonfs.core import acl

    directory = session.mkdir(b"directory").ino
    file = session.make(b'file \xff%"\\\n', parent=directory).ino
    session.write(file, 0, b"some bytes")
    session.seal(file)
    session.do(SetXattr(file, b"user.a", b"\0\xff"), SetXattr(file, acl.ACCESS, acl.serialize(FULL)))
    session.do(Clone(file, ROOT, b"copy", session.ino(), 1, 2))
    session.write(session.find(b"copy").ino, 5, b"BYTES")
    session.make(b"link", 0o120777, target=b"directory/\xfe")
    session.make(b"pipe", 0o010600)
    session.do(Link(file, ROOT, b"hard"))


def lose(session: Session) -> None:
    """Something in the trash."""
    ino = session.make(b"lost").ino
    session.write(ino, 0, b"lost bytes")
    session.time += 60 * 10**9
    session.do(Unlink(ROOT, b"lost"))


class TestVersions:
    def test_a_newer_schema_is_named(self, path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version=99")
        connection.close()
        with pytest.raises(
            FormatError, match=r"schema 99.*knows up to \d+.*use graviton \d+\.\d+\.\d+ or newer"
        ):
            NamespaceStore.open(path)

    def test_other_files_are_told_apart(self, tmp_path: Path) -> None:
        other = tmp_path / "other.db"
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE t (x)")
        connection.close()
        with pytest.raises(FormatError, match="no namespace database"):
            NamespaceStore.open(other)
        garbage = tmp_path / "garbage.db"
        garbage.write_bytes(b"not a database at all" * 1000)
        with pytest.raises(Damaged):
            NamespaceStore.open(garbage)

    def test_steps_run_once_and_whole(self, path: Path) -> None:
        def good(engine: SqliteEngine) -> None:
            engine.script("CREATE TABLE extra (x INTEGER);\nINSERT INTO extra VALUES (1);")

        def broken(engine: SqliteEngine) -> None:
            engine.execute("DROP TABLE extra")
            engine.execute("this is no SQL")

        engine = SqliteEngine(path)
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(engine, (*schema.STEPS, good, broken))
        newest = schema.SCHEMA_VERSION + 1
        assert engine.execute("PRAGMA user_version").fetchone() == (newest,)
        assert engine.execute("SELECT count(*) FROM extra").fetchone() == (1,)
        assert schema.migrate(engine, (*schema.STEPS, good)) == newest
        engine.close()

    @pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
    def test_every_schema_is_read_for_ever(self, golden: Path, tmp_path: Path) -> None:
        """The redo log of those that have one included: the names it tells are checked, too."""
        path = tmp_path / "golden.db"
        connection = sqlite3.connect(path)
        connection.executescript(golden.read_text(encoding="utf-8"))
        connection.close()
        names = [b"copy", b"directory", b"hard", b"link", b"pipe"]
        redo = golden.with_suffix(".redo")
        if redo.exists():
            redo_path(path).write_bytes(redo.read_bytes().ljust(SIZE, b"\0"))
            names[-1:] = [b"logged"]
        store = NamespaceStore.open(path)
        session = Session(store)
        assert session.names() == names
        assert store.loose.loose_bytes() == (5 if redo.exists() else 0)
        [directory, file] = session.ns.resolve([b"directory", b'file \xff%"\\\n'])
        assert (file.size, file.nlink, directory.nlink) == (10, 2, 2)
        assert session.ns.content(file.content).kind is ContentKind.SEALED
        copy = session.find(b"copy")
        [region] = session.ns.extents(copy.content, 0, 0)
        assert [(e.offset, e.length) for e in region.extents] == [(0, 5), (5, 5)]
        assert session.ns.readlink(session.find(b"link").ino) == b"directory/\xfe"
        assert dict(session.ns.xattrs(file.ino))[b"user.a"] == b"\0\xff"
        assert session.problems() == []
        lost = session.ns.resolve([TRASH])[0]
        days = session.ns.entries(lost.ino, None, 10)
        in_trash = [entry for day in days for entry in session.ns.entries(day.attr.ino, None, 10)]
        schema_of = int(golden.stem.rpartition("-")[2])
        assert [(e.name, e.attr.size) for e in in_trash] == ([(b"lost", 10)] if schema_of >= 6 else [])
        session.write(copy.ino, 0, b"still changes")
        store.close()


PLANTED = [
    ("UPDATE inodes SET nlink = 5 WHERE ino = {file}", "names and says 5"),
    ("UPDATE inodes SET nlink = 9 WHERE ino = {directory}", "says 9 links"),
    ("DELETE FROM inodes WHERE ino = {file}", "stands for inode"),
    ("UPDATE names SET parent = {file} WHERE ino = {file}", "is no directory"),
    ("INSERT INTO names VALUES ({directory}, x'61', {directory}, 1)", "2 names"),
    ("UPDATE names SET parent = {directory} WHERE ino = {directory}", "cannot be reached"),
    ("DELETE FROM names WHERE ino = {file}", "has no name"),
    ("UPDATE inodes SET size = 11 WHERE ino = {file}", "has 11 bytes and version"),
    ("UPDATE inodes SET content = 77 WHERE ino = {file}", "content 77, which does not exist"),
    ("UPDATE contents SET refs = refs + 1", "times and says"),
    ("UPDATE contents SET digest = NULL WHERE kind = 2", "sealed without a digest"),
    ("UPDATE contents SET base = 99 WHERE base <> 0", "which does not exist or can still change"),
    ("DELETE FROM contents", "rows of extents belong to content"),
    ("UPDATE regions SET data = x'00'", "wrong length"),
    (
        "UPDATE inodes SET size = 3 WHERE content = (SELECT id FROM contents WHERE kind = 0)",
        "behind the end",
    ),
    ("UPDATE regions SET data = CAST(data || data AS BLOB) WHERE seq < 1024", "extents overlap"),
    ("INSERT INTO xattrs VALUES (9999, x'61', 1, x'')", "attributes belong to inode 9999"),
    ("UPDATE inodes SET flags = 0 WHERE ino = {file}", "does not know of its attribute"),
    ("UPDATE inodes SET flags = 7 WHERE ino = {directory}", "says that it has an ACL"),
    ("UPDATE inodes SET mode = mode & ~511 WHERE ino = {file}", "the mode of inode"),
    ("UPDATE xattrs SET value = x'02' WHERE substr(name, 1, 6) = x'73797374656d'", "cannot be read"),
    ("UPDATE volumes SET inodes = inodes + 1", "inodes with"),
    ("UPDATE volumes SET logical_bytes = 0", "inodes with"),
    ("INSERT INTO claims VALUES (9999, 1)", "claims belong to inode 9999"),
    ("UPDATE meta SET value = 17 WHERE key = 'next_ino'", "above all that were granted"),
    ("UPDATE meta SET value = 1 WHERE key = 'next_content'", "above all that were given out"),
    ("UPDATE inodes SET target = NULL", "no target"),
]


@pytest.mark.parametrize(("damage", "said"), PLANTED)
def test_check_finds(path: Path, damage: str, said: str) -> None:
    store = NamespaceStore.open(path)
    session = Session(store)
    populate(session)
    assert session.problems() == []
    file = session.find(b"hard").ino
    directory = session.find(b"directory").ino
    store.change(store.execute, damage.format(file=file, directory=directory))
    assert any(said in problem for problem in session.problems()), session.problems()
    store.close()


class TestDump:
    @pytest.fixture
    def dump(self, path: Path) -> Iterator[bytes]:
        store = NamespaceStore.open(path)
        session = Session(store)
        populate(session)
        session.staged()
        yield b"".join(store.upkeep.dump())
        store.close()

    def test_round_trip(self, path: Path, dump: bytes, tmp_path: Path) -> None:
        store = NamespaceStore.open(path)
        expected = picture(store.attach(label="x"))
        before = store.upkeep.version()
        store.close()
        copy = tmp_path / "copy.db"
        NamespaceStore.load(copy, [dump[start : start + 997] for start in range(0, len(dump), 997)])
        store = NamespaceStore.open(copy)
        session = Session(store)
        assert picture(session.ns) == expected
        assert session.problems() == []
        assert store.upkeep.version() >= before
        assert store.incarnation > 1
        session.make(b"another")
        session.do(Unlink(ROOT, b"hard"))
        store.close()

    def test_it_is_text_that_a_person_can_search(self, dump: bytes) -> None:
        assert b'"directory"' in dump
        assert all(byte == 10 or 32 <= byte < 127 for byte in dump)

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda dump: dump[: len(dump) // 2], "cut off"),
            (lambda dump: dump[: dump.rindex(b'{"end"')], "last line is missing"),
            (lambda dump: dump.replace(b'"directory"', b'"DIRECTORY"'), "do not match"),
            (lambda dump: dump + b"[1]\n", "behind its last line"),
            (lambda dump: b"[1]\n" + dump, "does not belong there"),
            (lambda dump: b"garbage\n" + dump, "cannot be read"),
            (lambda dump: dump.replace(b'"graviton-dump":1', b'"graviton-dump":7'), "format 7"),
        ],
    )
    def test_a_damaged_one_leaves_nothing(
        self, tmp_path: Path, dump: bytes, damage: object, said: str
    ) -> None:
        copy = tmp_path / "copy.db"
        with pytest.raises((Damaged, FormatError), match=said):
            NamespaceStore.load(copy, [damage(dump)])
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith("copy")] == []

    @pytest.mark.parametrize("golden", DUMPS, ids=lambda path: path.stem)
    def test_every_dump_is_read_for_ever(self, golden: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy.db"
        NamespaceStore.load(copy, [golden.read_bytes()])
        store = NamespaceStore.open(copy)
        session = Session(store)
        last = b"pipe" if golden.stem == "namespace-1" else b"logged"
        assert session.names() == [b"copy", b"directory", b"hard", b"link", last]
        assert session.problems() == []
        store.close()

    def test_a_newer_schema_is_named(self, dump: bytes, tmp_path: Path) -> None:
        newer = dump.replace(b'"schema":%d' % schema.SCHEMA_VERSION, b'"schema":99')
        with pytest.raises(FormatError, match=r"schema 99, and this version knows up to \d+"):
            NamespaceStore.load(tmp_path / "x.db", [newer])

    def test_numbers_go_on_behind_those_of_the_dump(self, dump: bytes, tmp_path: Path) -> None:
        copy = tmp_path / "copy.db"
        NamespaceStore.load(copy, [dump])
        store = NamespaceStore.open(copy)
        session = Session(store)
        taken = {Ino(entry.attr.ino) for entry in session.ns.entries(ROOT, None, 100)}
        assert not taken & set(session.ns.grant(100))
        store.close()
