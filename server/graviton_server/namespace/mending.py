"""Putting right what the namespace's own check found, with nothing lost that is still there.

What nobody can reach is given a name in ``.graviton-lost``; bytes that nobody knows any more are named after
a block that does not exist, so that they read as ``EIO`` and never as zeroes. All of it is one transaction.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from blake3 import blake3

from graviton_server.namespace.checking import FIND_IN_CIRCLES, QUOTA_WRONG, SETS, UNREACHABLE, told
from graviton_server.namespace.circles import circles_of
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.regions import DELTA
from graviton_server.namespace.schema import CONTENT_COLUMNS, INODE_COLUMNS
from gravitonfs.content.lost import DIRECTORY
from gravitonfs.core.extents import BASE_MAX, REGION, Extent, pack_row, unpack_row
from gravitonfs.core.ids import NO_PACK, BlockId, Ino
from gravitonfs.ports.upkeep import Mend

LOST: Final = BlockId(blake3(b"graviton: bytes that are lost").digest())
COUNTS: Final = "counts"
_EXAMPLES: Final = 10
_PIECE: Final = 1 << 20
_FROZEN: Final = 1
_LARGEST: Final = 1 << 40
_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o700
_FILE_MODE: Final = stat.S_IFREG | 0o600

Rows = list[Sequence[Any]]
Path = Callable[[Ino], bytes]

_NO_CONTENT: Final = "inode {0} has content {1}, which does not exist"
_NO_BASE: Final = "content {1} stands on content {2}, which does not exist or can still change"
_UNUSED: Final = "content {1} of {2} bytes is used by nothing, and counts {3} uses"
_FIND_UNUSED: Final = (
    "SELECT 0, id, length, refs FROM contents WHERE refs > 0 AND base = 0"
    " AND id NOT IN (SELECT content FROM inodes WHERE content <> 0)"
    " AND id NOT IN (SELECT content FROM inodes_history WHERE content <> 0)"
    " AND id NOT IN (SELECT base FROM contents WHERE base <> 0)"
    " AND id NOT IN (SELECT base FROM contents_history WHERE base <> 0)"
    " AND id NOT IN (SELECT content FROM blob_refs WHERE content <> 0)"
)
_OTHERS: Final = {_UNUSED: _FIND_UNUSED, UNREACHABLE: FIND_IN_CIRCLES}


class Mender:
    """One repair, inside a transaction. ``fresh``: inode numbers that nobody has."""

    def __init__(self, execute: Execute, version: int, fresh: Iterator[Ino]) -> None:
        self.execute = execute
        self._version = version
        self._fresh = fresh
        self._now = time.time_ns()
        self._lost: dict[int, int] = {}

    def ask(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        return list(self.execute(sql, tuple(params)).fetchall())

    def into_lost(self, volume: int, ino: int, label: str) -> None:
        """A name for an inode. One that it has there already is enough."""
        parent, name = self._directory(volume), label.encode()
        if not self.ask("SELECT ino FROM names WHERE parent = ? AND name = ?", (parent, name)):
            self._name(parent, name, ino)

    def _name(self, parent: int, name: bytes, ino: int) -> None:
        insert = "INSERT INTO names (parent, name, ino, born) VALUES (?, ?, ?, ?)"
        self.execute(insert, (parent, name, ino, self._version))

    def _directory(self, volume: int) -> int:
        if volume not in self._lost:
            found = self.ask("SELECT root FROM volumes WHERE id = ?", (volume,))
            found = found or self.ask("SELECT root FROM volumes ORDER BY id LIMIT 1")
            root = found[0][0]
            there = self.ask("SELECT ino FROM names WHERE parent = ? AND name = ?", (root, DIRECTORY))
            if there:
                self._lost[volume] = there[0][0]
            else:
                self._lost[volume] = made = self.inode(_DIRECTORY_MODE, volume)
                self._name(root, DIRECTORY, made)
        return self._lost[volume]

    def inode(self, mode: int, volume: int, content: int = 0, version: int = 0, size: int = 0) -> int:
        """Root's alone. Links are counted in the end."""
        ino, now = next(self._fresh), self._now
        links = 2 if stat.S_ISDIR(mode) else 1
        row = (
            ino,
            mode,
            links,
            0,
            0,
            0,
            size,
            now,
            now,
            now,
            now,
            content,
            version,
            0,
            self._version,
            volume,
        )
        values = ", ".join("?" * len(row))
        self.execute(f"INSERT INTO inodes ({INODE_COLUMNS}) VALUES ({values}, NULL)", row)
        return ino

    def content(self, number: int, length: int, version: int) -> None:
        """A content anew, from the extents that are left of it."""
        row = (number, _FROZEN, length, version, 0, 0, 0, 1, self._now, self._version)
        self.execute(
            f"INSERT INTO contents ({CONTENT_COLUMNS}) VALUES (?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?)", row
        )
        for region in range((length + REGION - 1) // REGION):
            sql = "SELECT seq, data FROM regions WHERE content = ? AND region = ? ORDER BY seq"
            rows = self.ask(sql, (number, region))
            end = min(length, (region + 1) * REGION)
            gaps = list(_gaps([bytes(data) for _, data in rows], region, end))
            seq = 1 + max((seq for seq, _ in rows if seq < DELTA), default=-1)
            for start in range(0, len(gaps), BASE_MAX):
                data = pack_row(region, gaps[start : start + BASE_MAX])
                insert = "INSERT INTO regions (content, region, seq, born, data) VALUES (?, ?, ?, ?, ?)"
                self.execute(insert, (number, region, seq, self._version, data))
                seq += 1


def _gaps(rows: Sequence[bytes], region: int, end: int) -> Iterator[Extent]:
    """What no extent covers, be it a hole: as pieces of the block that does not exist."""
    at = region * REGION
    known = sorted(extent for row in rows for extent in unpack_row(region, row))
    for extent in (*known, Extent(end, 0, LOST, 0, NO_PACK)):
        while at < min(extent.offset, end):
            length = min(_PIECE, min(extent.offset, end) - at)
            yield Extent(at, length, LOST, 0, NO_PACK)
            at += length
        at = max(at, extent.end)


def _make_contents(mender: Mender, rows: Rows) -> None:
    for content in sorted({row[1] for row in rows}):
        sql = "SELECT size, version FROM inodes WHERE content = ? ORDER BY size DESC LIMIT 1"
        for size, version in mender.ask(sql, (content,)):
            if size <= _LARGEST:
                mender.content(content, size, version)


def _make_bases(mender: Mender, rows: Rows) -> None:
    for base in sorted({row[2] for row in rows}):
        if mender.ask("SELECT id FROM contents WHERE id = ?", (base,)):
            continue  # it is there and can change: nothing is known to put that right
        [(limit,)] = mender.ask("SELECT max(base_limit) FROM contents WHERE base = ?", (base,))
        if limit <= _LARGEST:
            mender.content(base, limit, 0)


def _drop_names(mender: Mender, rows: Rows) -> None:
    mender.execute("DELETE FROM names WHERE ino NOT IN (SELECT ino FROM inodes)")


def _move_names(mender: Mender, rows: Rows) -> None:
    for parent, *_ in rows:
        for ino, volume in mender.ask(
            "SELECT n.ino, i.volume FROM names n JOIN inodes i ON i.ino = n.ino WHERE n.parent = ?", (parent,)
        ):
            mender.into_lost(volume, ino, f"inode-{ino}")
        mender.execute("DELETE FROM names WHERE parent = ?", (parent,))


def _name_orphans(mender: Mender, rows: Rows) -> None:
    for ino, *_ in rows:
        for volume, mode, nlink in mender.ask("SELECT volume, mode, nlink FROM inodes WHERE ino = ?", (ino,)):
            mender.into_lost(volume, ino, f"inode-{ino}")
            if not nlink:
                links = 2 if stat.S_ISDIR(mode) else 1
                mender.execute("UPDATE inodes SET nlink = ? WHERE ino = ?", (links, ino))


def _name_contents(mender: Mender, rows: Rows) -> None:
    for _, content, length, _ in rows:
        [(version, kind)] = mender.ask("SELECT version, kind FROM contents WHERE id = ?", (content,))
        size = length if kind else _end_of(mender, content)
        volume = mender.ask("SELECT id FROM volumes ORDER BY id LIMIT 1")[0][0]
        ino = mender.inode(_FILE_MODE, volume, content, version, size)
        mender.into_lost(volume, ino, f"content-{content}")


def _end_of(mender: Mender, content: int) -> int:
    rows = mender.ask("SELECT region, data FROM regions WHERE content = ?", (content,))
    return max((extent.end for region, data in rows for extent in unpack_row(region, bytes(data))), default=0)


def _one_name_each(mender: Mender, rows: Rows) -> None:
    for ino, *_ in rows:
        names = mender.ask("SELECT parent, name FROM names WHERE ino = ? ORDER BY parent, name", (ino,))
        for parent, name in names[1:]:
            mender.execute("DELETE FROM names WHERE parent = ? AND name = ?", (parent, bytes(name)))


def _open_circles(mender: Mender, rows: Rows) -> None:
    for ino in circles_of(mender.ask, [row[0] for row in rows]):
        [(volume,)] = mender.ask("SELECT volume FROM inodes WHERE ino = ?", (ino,))
        mender.execute("DELETE FROM names WHERE ino = ?", (ino,))
        mender.into_lost(volume, ino, f"inode-{ino}")


def _take_sizes(mender: Mender, rows: Rows) -> None:
    for ino, _, _, _, length, version in rows:
        mender.execute("UPDATE inodes SET size = ?, version = ? WHERE ino = ?", (length, version, ino))


def _by(sql: str) -> Callable[[Mender, Rows], None]:
    def mend(mender: Mender, rows: Rows) -> None:
        mender.execute(sql)

    return mend


def _drop_blobs(mender: Mender, rows: Rows) -> None:
    for _, _, digest, length in rows:
        mender.execute("DELETE FROM blob_refs WHERE digest = ? AND length = ?", (bytes(digest), length))


def _nothing(mender: Mender, rows: Rows) -> None:
    """Counted in the end, in any case."""


class Rule(NamedTuple):
    kind: str
    sentences: tuple[str, ...]
    does: str
    loses: str
    mend: Callable[[Mender, Rows], None]


RULES: Final = (
    Rule(
        "content-without-row",
        (_NO_CONTENT,),
        "make the content's row anew from the extents that are left of it",
        "ranges without an extent, holes too, read as EIO from then on",
        _make_contents,
    ),
    Rule(
        "base-without-row",
        (_NO_BASE,),
        "make the row of the content that others stand on anew from the extents that are left of it",
        "ranges without an extent, holes too, read as EIO from then on",
        _make_bases,
    ),
    Rule(
        "name-without-inode",
        (next(sentence for sentence in SETS if sentence.startswith("a name stands")),),
        "remove the names",
        "the names; what they stood for is gone already",
        _drop_names,
    ),
    Rule(
        "name-without-directory",
        (next(sentence for sentence in SETS if sentence.startswith("names lie in")),),
        "name what they stand for in /.graviton-lost",
        "the directory and the names; what lies in it is kept",
        _move_names,
    ),
    Rule(
        "inode-without-name",
        (
            "inode {0} has no name and says {2}",
            "directory {0} has no name",
            "inode {0} has no name and nobody keeps it",
        ),
        "name them in /.graviton-lost",
        "nothing",
        _name_orphans,
    ),
    Rule(
        "content-without-inode",
        (_UNUSED,),
        "make a file of each in /.graviton-lost",
        "nothing that is still there",
        _name_contents,
    ),
    Rule(
        "directory-with-names",
        ("directory {0} has {2} names",),
        "leave the directory its first name",
        "the other names of it",
        _one_name_each,
    ),
    Rule(
        "directory-in-circle",
        (UNREACHABLE,),
        "take one directory of each circle out, and name it in /.graviton-lost",
        "the name that it had in its own subdirectory",
        _open_circles,
    ),
    Rule(
        "size",
        ("inode {0} has {2} bytes and version {3}, its content {1} has {4} and {5}",),
        "take size and version from the content",
        "nothing",
        _take_sizes,
    ),
    Rule(
        "extents-without-content",
        ("rows of extents belong to content {1}, which does not exist",),
        "remove them",
        "nothing that anything names",
        _by("DELETE FROM regions WHERE content NOT IN (SELECT id FROM contents)"),
    ),
    Rule(
        "trash-without-inode",
        ("inode {0} is in the trash and does not exist, or has names",),
        "take them off the trash's list",
        "nothing",
        _by(
            "DELETE FROM trash WHERE ino NOT IN (SELECT ino FROM inodes)"
            " OR ino IN (SELECT ino FROM inodes WHERE nlink <> 0)"
        ),
    ),
    Rule(
        "trash-without-directory",
        ("inode {0} is in the trash, and directory {2}, where it was, does not exist",),
        "have them come back into the volume's root",
        "where they were",
        _by(
            "UPDATE trash SET parent = (SELECT v.root FROM volumes v WHERE v.id = trash.volume)"
            " WHERE parent NOT IN (SELECT ino FROM inodes WHERE (mode & 61440) = 16384)"
        ),
    ),
    Rule(
        "attributes-without-inode",
        ("attributes belong to inode {0}, which does not exist",),
        "remove them",
        "nothing that anything names",
        _by("DELETE FROM xattrs WHERE ino NOT IN (SELECT ino FROM inodes)"),
    ),
    Rule(
        "claims-without-inode",
        ("claims belong to inode {0}, which does not exist",),
        "remove them",
        "nothing",
        _by("DELETE FROM claims WHERE ino NOT IN (SELECT ino FROM inodes)"),
    ),
    Rule(
        "blob-without-content",
        ("blob {2} of {3} bytes stands for content {1}, which does not exist or has other bytes",),
        "remove the references to the blobs",
        "the references; the bytes are gone already",
        _drop_blobs,
    ),
    Rule(
        COUNTS,
        (
            "inode {0} has {2} names and says {3}",
            "directory {0} has {2} directories in it and says {3} links",
            "content {1} is used {2} times and says {3}",
            "volume {2} counts {3} inodes with {4} bytes, there are {5} with {6}",
            QUOTA_WRONG,
        ),
        "count links, uses, totals and quotas anew",
        "nothing",
        _nothing,
    ),
)  # fmt: skip


def _found(execute: Execute, rule: Rule) -> Iterator[tuple[str, Sequence[Any]]]:
    for sentence in rule.sentences:
        sql = _OTHERS.get(sentence) or SETS[sentence]
        for row in execute(sql).fetchall():
            yield sentence, row


def plan(execute: Execute, path: Path) -> list[Mend]:
    """What ``mend`` would do now, one entry a kind."""
    planned = []
    for rule in RULES:
        found = list(_found(execute, rule))
        if found:
            examples = tuple(_example(sentence, row, path) for sentence, row in found[:_EXAMPLES])
            planned.append(Mend(rule.kind, len(found), rule.does, rule.loses, examples))
    return planned


def _example(sentence: str, row: Sequence[Any], path: Path) -> str:
    where = f"{path(Ino(row[0])).decode('utf-8', 'backslashreplace')}: " if row[0] else ""
    return where + told(sentence, [bytes(v) if isinstance(v, memoryview) else v for v in row])


def mend(mender: Mender, kinds: Collection[str]) -> list[str]:
    """In this order, since one thing uncovers another; links, uses and totals are counted after it.
    Sentences on what was done."""
    done = []
    for rule in RULES:
        if rule.kind not in kinds:
            continue
        rows = [row for _, row in _found(mender.execute, rule)]
        if rows and rule.kind != COUNTS:
            rule.mend(mender, rows)
            done.append(f"{rule.kind}: {len(rows)} found; {rule.does}")
    return done
