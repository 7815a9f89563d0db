"""Every kind of damage is made for real; fsck finds exactly that, mends it, and finds nothing after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.maintenance.reports import Checked
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import SetXattr
from harness.postgres import PostgresServer
from maintenance.damaged import PostgresRig, SqliteRig, Tree, mkdir, put, tree
from maintenance.rig import MIB, noise

LOST = "/.graviton-lost"


class Case:
    """A tree with directories, a large and a small file, a copy that was changed, attributes."""

    def __init__(self, rig: SqliteRig) -> None:
        self.rig = rig
        self.folder = mkdir(rig, "folder").ino
        self.large = put(rig, self.folder, "large", noise(5 * MIB, 1)).ino
        self.small = put(rig, self.folder, "small", noise(5_000, 2)).ino
        put(rig, rig.root, "other", noise(3 * MIB, 3))
        self.copied = put(rig, rig.root, "copied", noise(2 * MIB, 4)).ino
        rig.clone("copied", "changed")
        rig.patch("changed", 1000, b"so that it is a draft", durable=True)
        rig.volume.submit(SetXattr(self.small, b"user.note", b"value"))
        rig.engine.store.drain_loose()
        rig.reopen()
        self.before = tree(rig)
        assert self.check() == set()

    def content(self, ino: Ino) -> int:
        return self.rig.volume.namespace.attr(ino).content

    def check(self) -> set[str]:
        """Kinds of repair that fsck has in its plan."""
        report = self.rig.maintenance.check()
        assert report.clean == (not report.plan)
        assert all(planned.count and planned.does and planned.loses for planned in report.plan)
        return {planned.kind for planned in report.plan}

    def repair(self) -> Checked:
        report = self.rig.maintenance.check(repair=True, read_data=True)
        assert report.repaired
        again = self.rig.maintenance.check(repair=True)
        assert again.repaired == (), "there is nothing left to do"
        return report

    def mended(self, *kinds: str) -> Tree:
        """What the tree is like after fsck found and mended just this; also when it is opened again."""
        assert self.check() == set(kinds)
        assert self.repair().findings == ()
        self.rig.reopen()
        self.rig.assert_sound()
        return tree(self.rig)

    def without(self, *prefixes: str) -> Tree:
        return {path: what for path, what in self.before.items() if not path.startswith(prefixes)}


def split(found: Tree) -> tuple[Tree, Tree]:
    """What is where it was, and what is in the directory of lost things."""
    lost = {path.removeprefix(LOST): what for path, what in found.items() if path.startswith(LOST + "/")}
    return {path: what for path, what in found.items() if not path.startswith(LOST)}, lost


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def case(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Case]:
    if request.param == "sqlite":
        rig = SqliteRig(scratch / "data")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        rig = PostgresRig(scratch / "data", server)
    yield Case(rig)
    rig.end()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE inodes SET nlink = nlink + 3",
        "UPDATE contents SET refs = refs + 1",
        "UPDATE volumes SET inodes = inodes + 7, logical_bytes = logical_bytes - 1000",
    ],
)
def test_counts(case: Case, damage: str) -> None:
    case.rig.sql(damage)
    assert case.mended("counts") == case.before


def test_a_file_without_a_name_is_named_among_the_lost(case: Case) -> None:
    case.rig.sql(f"DELETE FROM names WHERE ino = {case.large}")
    there, lost = split(case.mended("inode-without-name"))
    assert there == case.without("/folder/large")
    assert lost == {f"/inode-{case.large}": case.before["/folder/large"]}


def test_a_directory_without_a_name_keeps_what_is_in_it(case: Case) -> None:
    case.rig.sql(f"DELETE FROM names WHERE ino = {case.folder}")
    there, lost = split(case.mended("inode-without-name", "counts"))
    assert there == case.without("/folder")
    name = f"/inode-{case.folder}"
    assert lost == {
        name + path.removeprefix("/folder"): what
        for path, what in case.before.items()
        if path.startswith("/folder")
    }


def test_a_file_without_an_inode_has_its_bytes_among_the_lost(case: Case) -> None:
    content = case.content(case.small)
    case.rig.sql(f"DELETE FROM inodes WHERE ino = {case.small}")
    found = case.mended("name-without-inode", "attributes-without-inode", "content-without-inode", "counts")
    there, lost = split(found)
    assert there == case.without("/folder/small")
    assert [(path, what[3]) for path, what in lost.items()] == [
        (f"/content-{content}", case.before["/folder/small"][3])
    ]


def test_a_directory_without_an_inode_loses_no_file(case: Case) -> None:
    case.rig.sql(f"DELETE FROM inodes WHERE ino = {case.folder}")
    there, lost = split(case.mended("name-without-inode", "name-without-directory", "counts"))
    assert there == case.without("/folder")
    assert lost == {
        f"/inode-{case.large}": case.before["/folder/large"],
        f"/inode-{case.small}": case.before["/folder/small"],
    }


def test_a_content_without_its_row_is_made_anew_from_its_extents(case: Case) -> None:
    case.rig.sql(f"DELETE FROM contents WHERE id = {case.content(case.large)}")
    assert case.mended("content-without-row", "extents-without-content") == case.before


def test_what_copies_stand_on_is_made_anew_from_its_extents(case: Case) -> None:
    case.rig.sql(f"DELETE FROM contents WHERE id = {case.content(case.copied)}")
    found = case.mended("content-without-row", "base-without-row", "extents-without-content")
    assert found == case.before


def test_bytes_that_nobody_knows_are_errors_and_never_zeroes(case: Case) -> None:
    content = case.content(case.large)
    case.rig.sql(
        f"DELETE FROM contents WHERE id = {content}", f"DELETE FROM regions WHERE content = {content}"
    )
    assert case.check() == {"content-without-row"}
    report = case.repair()
    assert not report.clean
    assert {finding.kind for finding in report.findings} == {"block-missing", "file-damaged"}
    [file] = [finding for finding in report.findings if finding.kind == "file-damaged"]
    assert (file.path, file.ranges) == ("/folder/large", ((0, 5 * MIB),))
    after = tree(case.rig)
    mode, links, size, _ = case.before["/folder/large"]
    assert after == case.before | {"/folder/large": (mode, links, size, "Damaged")}
    put(case.rig, case.folder, "large", noise(5 * MIB, 1))
    assert tree(case.rig) == case.before
    case.rig.maintenance.collect()
    case.rig.assert_sound()


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        (
            "extents-without-content",
            "INSERT INTO regions SELECT 900, region, seq, born, data FROM regions WHERE content = 1",
        ),
        (
            "attributes-without-inode",
            "INSERT INTO xattrs (ino, name, born, value) SELECT 900, name, born, value FROM xattrs",
        ),
        ("trash-without-inode", "INSERT INTO trash SELECT 900, 1, parent, name, 1 FROM names WHERE ino = 17"),
        ("trash-without-inode", "INSERT INTO trash SELECT ino, 1, parent, name, 1 FROM names"),
        ("size", "UPDATE inodes SET size = size - 7 WHERE size > 4000000"),
    ],
)
def test_rows_that_belong_to_nothing_go(case: Case, kind: str, damage: str) -> None:
    case.rig.sql(damage)
    kinds = [kind] if kind != "size" else [kind, "counts"]
    assert case.mended(*kinds) == case.before


def test_a_directory_has_one_name(case: Case) -> None:
    double = f"SELECT parent, {case.rig.doubled}, ino, born FROM names WHERE ino = {case.folder}"
    case.rig.sql(f"INSERT INTO names (parent, name, ino, born) {double}")
    assert case.mended("directory-with-names", "counts") == case.before


def test_directories_in_a_circle_are_named_among_the_lost(case: Case) -> None:
    """What hangs below them comes along."""
    inner = mkdir(case.rig, "inner", case.folder).ino
    put(case.rig, inner, "deep", b"bytes")
    deepest = mkdir(case.rig, "deepest", inner).ino
    case.rig.reopen()
    before = tree(case.rig)
    case.rig.sql(f"UPDATE names SET parent = {deepest} WHERE ino = {case.folder}")
    there, lost = split(case.mended("directory-in-circle", "counts"))
    assert there == case.without("/folder")
    expected = {
        f"/inode-{case.folder}" + path.removeprefix("/folder"): what
        for path, what in before.items()
        if path.startswith("/folder")
    }
    assert lost == expected


def test_a_pack_that_is_nowhere_is_relied_on_no_more(case: Case) -> None:
    """What was written again since is stored again, instead of being found in it."""
    rig = case.rig
    [number] = {
        extent.hint
        for region in rig.volume.namespace.extents(rig.attr("other").content, 0, 0)
        for extent in region.extents[:1]
    }
    path = rig.pack_file(number)
    rig.close()
    path.unlink()
    rig.open()
    assert case.check() == {"pack-missing"}
    report = case.repair()
    damaged = {finding.path for finding in report.findings if finding.kind == "file-damaged"}
    assert "/other" in damaged
    assert "pack-missing" not in {finding.kind for finding in report.findings}
    after = tree(rig)
    assert {path for path, what in after.items() if what[3] == "Damaged"} == damaged
    assert {path: what for path, what in after.items() if path not in damaged} == case.without(*damaged)
    for path in damaged:
        parent = case.folder if path.startswith("/folder/") else rig.root
        data = case.before[path][3]
        assert isinstance(data, bytes)
        put(rig, parent, path.rsplit("/", 1)[1], data)
    assert {path: what[3] for path, what in tree(rig).items()} == {
        path: what[3] for path, what in case.before.items()
    }
    rig.maintenance.collect()
    rig.assert_sound()


def test_a_pack_without_a_row_gets_one(case: Case) -> None:
    case.rig.sql("DELETE FROM packs WHERE number = (SELECT min(number) FROM packs WHERE blocks > 0)")
    if isinstance(case.rig, PostgresRig):  # an embedded volume has done it at its start
        report = case.rig.maintenance.check()
        assert "unclaimed" in {planned.kind for planned in report.plan}
        assert case.repair().findings == ()
    assert tree(case.rig) == case.before
    case.rig.assert_sound()


def test_nothing_is_removed_where_the_disk_is_not_there(case: Case) -> None:
    """An empty directory in its place is no sign that the packs are gone."""
    rig = case.rig
    hidden = rig.objects().parent / "hidden"
    hidden.mkdir()
    for name in ("packs", "store"):
        shutil.move(rig.objects() / name, hidden / name)
    report = rig.maintenance.check(repair=True)
    assert not report.clean
    assert "pack-missing" not in {planned.kind for planned in report.plan}
    for name in ("packs", "store"):
        shutil.rmtree(rig.objects() / name, ignore_errors=True)
        shutil.move(hidden / name, rig.objects() / name)
    rig.reopen()
    assert tree(rig) == case.before


def test_only_what_was_agreed_on_is_done(case: Case) -> None:
    case.rig.sql(f"DELETE FROM names WHERE ino = {case.large}", "UPDATE contents SET refs = refs + 1")
    assert case.check() == {"inode-without-name", "counts"}
    report = case.rig.maintenance.check(repair=True, agreed=["counts"])
    assert {planned.kind for planned in report.plan} == {"inode-without-name"}
    assert LOST not in tree(case.rig)


def test_what_is_in_the_trash_comes_back_though_its_directory_is_gone(case: Case) -> None:
    """Removed names of a directory whose inode is lost afterwards."""
    rig = case.rig
    names = f"SELECT ino, 1, parent, name, 1 FROM names WHERE ino = {case.large}"
    rig.sql(
        f"INSERT INTO trash {names}",
        f"DELETE FROM names WHERE ino = {case.large}",
        f"UPDATE inodes SET nlink = 0 WHERE ino = {case.large}",
    )
    assert case.check() == set()
    rig.sql(f"DELETE FROM inodes WHERE ino = {case.folder}")
    there, lost = split(
        case.mended("name-without-inode", "name-without-directory", "trash-without-directory", "counts")
    )
    assert there == case.without("/folder")
    assert list(lost) == [f"/inode-{case.small}"]
    assert rig.volume.namespace.attr(case.large).size == 5 * MIB
