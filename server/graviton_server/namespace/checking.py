"""The namespace's own consistency, checked set by set on one unchanging view of the database."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Final

from graviton_server.namespace.contents import MAX_DEPTH
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.regions import DELTA, resolve
from graviton_server.namespace.txn import ACL_ACCESS, ACL_DEFAULT, XATTRS
from gravitonfs.core import acl
from gravitonfs.core.extents import BASE_MAX, EXTENT_SIZE, REGION, Extent, unpack_row
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.upkeep import Problem

_DIRECTORY: Final = "(mode & 61440) = 16384"

QUOTA_WRONG: Final = "the quota of directory {0} says {2} bytes in {3} inodes, and there are {4} in {5}"

UNREACHABLE: Final = "directory {0} cannot be reached from any root"
_TOPS: Final = "SELECT root FROM volumes UNION SELECT ino FROM doomed UNION SELECT ino FROM trash"
_BELOW: Final = (
    "WITH RECURSIVE down (ino) AS ({0} UNION SELECT n.ino FROM down JOIN names n ON n.parent = down.ino)"
    f" SELECT ino, 0 FROM inodes WHERE {_DIRECTORY} AND nlink <> 0 AND ino NOT IN (SELECT ino FROM down)"
)
_UNREACHABLE: Final = _BELOW.format(_TOPS)
FIND_IN_CIRCLES: Final = _BELOW.format(
    f"{_TOPS} UNION SELECT ino FROM inodes WHERE {_DIRECTORY} AND ino NOT IN (SELECT ino FROM names)"
    f" UNION SELECT ino FROM names WHERE parent NOT IN (SELECT ino FROM inodes WHERE {_DIRECTORY})"
)
"""What no root leads to although every directory on the way has a name: circles, and what is below them."""

# Each query returns (inode, content, what else the sentence needs).
_SETS: Final[tuple[tuple[str, str], ...]] = (
    (
        "a name stands for inode {0}, which does not exist",
        "SELECT n.ino, 0 FROM names n LEFT JOIN inodes i ON i.ino = n.ino WHERE i.ino IS NULL",
    ),
    (
        "names lie in directory {0}, which does not exist or is no directory",
        (
            "SELECT DISTINCT n.parent, 0 FROM names n LEFT JOIN inodes i ON i.ino = n.parent"
            " AND (i.mode & 61440) = 16384 WHERE i.ino IS NULL"
        ),
    ),
    (
        "inode {0} has {2} names and says {3}",
        (
            "SELECT i.ino, 0, count(n.ino), i.nlink FROM inodes i JOIN names n ON n.ino = i.ino"
            " WHERE (i.mode & 61440) <> 16384 GROUP BY i.ino HAVING count(n.ino) <> i.nlink"
        ),
    ),
    (
        "inode {0} has no name and says {2}",
        (
            "SELECT ino, 0, nlink FROM inodes WHERE (mode & 61440) <> 16384 AND nlink <> 0"
            " AND ino NOT IN (SELECT ino FROM names)"
        ),
    ),
    (
        "directory {0} has {2} directories in it and says {3} links",
        (
            "SELECT ino, 0, below, nlink FROM (SELECT d.ino, d.nlink,"
            " (SELECT count(*) FROM names n JOIN inodes i ON i.ino = n.ino"
            " WHERE n.parent = d.ino AND (i.mode & 61440) = 16384) AS below FROM inodes d"
            " WHERE (d.mode & 61440) = 16384 AND d.nlink <> 0) x WHERE nlink <> below + 2"
        ),
    ),
    (
        "directory {0} has {2} names",
        (
            "SELECT n.ino, 0, count(*) FROM names n JOIN inodes d ON d.ino = n.ino"
            " WHERE (d.mode & 61440) = 16384 AND d.nlink <> 0 GROUP BY n.ino HAVING count(*) > 1"
        ),
    ),
    (
        "directory {0} has no name",
        (
            "SELECT ino, 0 FROM inodes WHERE (mode & 61440) = 16384 AND nlink <> 0"
            " AND ino NOT IN (SELECT root FROM volumes) AND ino NOT IN (SELECT ino FROM names)"
        ),
    ),
    (
        "inode {0} has no name and nobody keeps it",
        (
            "SELECT ino, 0 FROM inodes WHERE nlink = 0 AND ino NOT IN (SELECT ino FROM claims)"
            " AND ino NOT IN (SELECT ino FROM doomed) AND ino NOT IN (SELECT ino FROM trash)"
        ),
    ),
    (
        "inode {0} is in the trash and does not exist, or has names",
        (
            "SELECT t.ino, 0 FROM trash t LEFT JOIN inodes i ON i.ino = t.ino"
            " WHERE i.ino IS NULL OR i.nlink <> 0"
        ),
    ),
    (
        "inode {0} is in the trash, and directory {2}, where it was, does not exist",
        (
            "SELECT t.ino, 0, t.parent FROM trash t LEFT JOIN inodes i ON i.ino = t.parent"
            " AND (i.mode & 61440) = 16384 WHERE i.ino IS NULL"
        ),
    ),
    (
        "inode {0} is on no list of free ones but above all that were granted",
        "SELECT ino, 0 FROM inodes WHERE ino >= (SELECT value FROM meta WHERE key = 'next_ino')",
    ),
    (
        "inode {0} belongs to volume {2}, which does not exist",
        "SELECT ino, 0, volume FROM inodes WHERE volume NOT IN (SELECT id FROM volumes)",
    ),
    (
        "inode {0} has content {1}, which does not exist",
        (
            "SELECT i.ino, i.content FROM inodes i LEFT JOIN contents c ON c.id = i.content"
            " WHERE i.content <> 0 AND c.id IS NULL"
        ),
    ),
    (
        "inode {0} is no file and has content {1}",
        "SELECT ino, content FROM inodes WHERE content <> 0 AND (mode & 61440) <> 32768",
    ),
    (
        "inode {0} has {2} bytes and no content",
        "SELECT ino, 0, size FROM inodes WHERE content = 0 AND size <> 0 AND (mode & 61440) = 32768",
    ),
    (
        "inode {0} is a symlink and has no target",
        (
            "SELECT ino, 0 FROM inodes WHERE (mode & 61440) = 40960 "
            "AND (target IS NULL OR length(target) <> size)"
        ),
    ),
    (
        "inode {0} has {2} bytes and version {3}, its content {1} has {4} and {5}",
        (
            "SELECT i.ino, c.id, i.size, i.version, c.length, c.version FROM inodes i"
            " JOIN contents c ON c.id = i.content"
            " WHERE c.kind <> 0 AND (c.length <> i.size OR c.version <> i.version)"
        ),
    ),
    (
        "draft {1} belongs to {2} inodes",
        (
            "SELECT 0, c.id, count(i.ino) FROM contents c JOIN inodes i ON i.content = c.id"
            " AND i.content <> 0 WHERE c.kind = 0 GROUP BY c.id HAVING count(i.ino) > 1"
        ),
    ),
    (
        "content {1} is used {2} times and says {3}",
        (
            "SELECT 0, c.id, coalesce(u.uses, 0), c.refs FROM contents c LEFT JOIN"
            " (SELECT id, count(*) AS uses FROM (SELECT content AS id FROM inodes WHERE content <> 0"
            " UNION ALL SELECT content FROM inodes_history WHERE content <> 0"
            " UNION ALL SELECT base FROM contents WHERE base <> 0"
            " UNION ALL SELECT base FROM contents_history WHERE base <> 0"
            " UNION ALL SELECT content FROM blob_refs WHERE content <> 0) x GROUP BY id) u ON u.id = c.id"
            " WHERE coalesce(u.uses, 0) <> c.refs"
        ),
    ),
    (
        "blob {2} of {3} bytes stands for content {1}, which does not exist or has other bytes",
        (
            "SELECT 0, b.content, b.digest, b.length FROM blob_refs b"
            " LEFT JOIN contents c ON c.id = b.content"
            " WHERE (b.content <> 0 OR b.length <> 0) AND (c.id IS NULL OR c.kind <> 2"
            " OR c.digest <> b.digest OR c.length <> b.length)"
        ),
    ),
    (
        "content {1} is sealed without a digest, or has one without being sealed",
        (
            "SELECT 0, id FROM contents WHERE (kind = 2) <> (digest IS NOT NULL)"
            " OR (digest IS NOT NULL AND length(digest) <> 32)"
        ),
    ),
    (
        "content {1} stands on content {2}, which does not exist or can still change",
        (
            "SELECT 0, c.id, c.base FROM contents c LEFT JOIN contents b ON b.id = c.base"
            " WHERE c.base <> 0 AND (b.id IS NULL OR b.kind = 0)"
        ),
    ),
    (
        "content {1} stands on {2} others, one upon the other",
        f"SELECT 0, id, depth FROM contents WHERE depth > {MAX_DEPTH} OR (base <> 0) <> (depth > 0)",
    ),
    (
        "content {1} is above all that were given out",
        "SELECT 0, id FROM contents WHERE id >= (SELECT value FROM meta WHERE key = 'next_content')",
    ),
    (
        "rows of extents belong to content {1}, which does not exist",
        (
            "SELECT DISTINCT 0, r.content FROM regions r LEFT JOIN contents c ON c.id = r.content"
            " WHERE c.id IS NULL"
        ),
    ),
    (
        "attributes belong to inode {0}, which does not exist",
        "SELECT DISTINCT x.ino, 0 FROM xattrs x LEFT JOIN inodes i ON i.ino = x.ino WHERE i.ino IS NULL",
    ),
    (
        "claims belong to inode {0}, which does not exist",
        "SELECT DISTINCT c.ino, 0 FROM claims c LEFT JOIN inodes i ON i.ino = c.ino WHERE i.ino IS NULL",
    ),
    (
        "volume {2} counts {3} inodes with {4} bytes, there are {5} with {6}",
        (
            "SELECT root, 0, name, inodes, logical_bytes, n, bytes FROM (SELECT v.root, v.name, v.inodes,"
            " v.logical_bytes, (SELECT count(*) FROM inodes i WHERE i.volume = v.id) AS n,"
            " (SELECT coalesce(sum(i.size), 0) FROM inodes i WHERE i.volume = v.id"
            " AND (i.mode & 61440) = 32768) AS bytes FROM volumes v) x"
            " WHERE inodes <> n OR logical_bytes <> bytes"
        ),
    ),
    (
        "volume {2} has no root directory",
        (
            "SELECT v.root, 0, v.name FROM volumes v LEFT JOIN inodes i ON i.ino = v.root"
            " AND (i.mode & 61440) = 16384 WHERE i.ino IS NULL AND v.name NOT LIKE '/%'"
        ),
    ),
    (
        QUOTA_WRONG,
        (
            "WITH RECURSIVE tree (quota, ino) AS (SELECT ino, ino FROM quotas WHERE counting = 0"
            " AND ino NOT IN (SELECT root FROM volumes) UNION"
            " SELECT t.quota, n.ino FROM tree t JOIN names n ON n.parent = t.ino),"
            " used (quota, size, inodes) AS ("
            " SELECT t.quota, sum(CASE WHEN i.mode & 61440 = 32768 THEN i.size ELSE 0 END), count(*) - 1"
            " FROM tree t JOIN inodes i ON i.ino = t.ino GROUP BY t.quota UNION ALL"
            " SELECT q.ino, sum(CASE WHEN i.mode & 61440 = 32768 THEN i.size ELSE 0 END), count(*) - 1"
            " FROM quotas q JOIN volumes r ON r.root = q.ino JOIN inodes i ON i.volume = r.id"
            " WHERE q.counting = 0 GROUP BY q.ino)"
            " SELECT q.ino, 0, q.bytes, q.inodes, u.size, u.inodes FROM quotas q JOIN used u"
            " ON u.quota = q.ino WHERE q.bytes <> u.size OR q.inodes <> u.inodes"
        ),
    ),
)
_ROWS: Final = (
    "SELECT r.content, r.region, r.seq, r.data, CASE WHEN c.kind = 0 THEN i.size ELSE c.length END"
    " FROM regions r JOIN contents c ON c.id = r.content AND c.refs > 0"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0"
    " ORDER BY r.content, r.region, r.seq"
)
_XATTRS: Final = (
    "SELECT x.ino, x.name, x.value, i.flags, i.mode FROM xattrs x JOIN inodes i ON i.ino = x.ino"
    " ORDER BY x.ino, x.name"
)
_FLAGGED: Final = (
    "SELECT ino FROM inodes WHERE flags & 3 <> 0 AND ino NOT IN (SELECT ino FROM xattrs WHERE name IN (?, ?))"
)


SETS: Final = dict(_SETS)


def told(sentence: str, row: Sequence[Any]) -> str:
    return sentence.format(*(value.hex() if isinstance(value, bytes) else value for value in row))


def problems(execute: Execute) -> Iterator[Problem]:
    for sentence, sql in _SETS:
        for row in execute(sql):
            yield Problem(told(sentence, row), Ino(row[0]), ContentId(row[1]))
    yield from _unreachable(execute)
    yield from _extents(execute)
    yield from _attributes(execute)


def _unreachable(execute: Execute) -> Iterator[Problem]:
    for ino, *_ in execute(_UNREACHABLE):
        yield Problem(told(UNREACHABLE, (ino,)), Ino(ino), ContentId(0))


def _extents(execute: Execute) -> Iterator[Problem]:
    for (content, region), group in groupby(execute(_ROWS), key=lambda row: (row[0], row[1])):
        rows = list(group)
        for what in _region_problems(region, [(row[2], row[3]) for row in rows], rows[0][4]):
            yield Problem(f"content {content}, region {region}: {what}", Ino(0), ContentId(content))


def _region_problems(region: int, rows: list[tuple[int, bytes]], length: int | None) -> Iterator[str]:
    base: list[Extent] = []
    for seq, data in rows:
        if len(data) % EXTENT_SIZE:
            yield f"row {seq} has a wrong length"
            return
        extents = unpack_row(region, data)
        if len(extents) > BASE_MAX:
            yield f"row {seq} has {len(extents)} extents"
        if any(extent.length == 0 or extent.end > (region + 1) * REGION for extent in extents):
            yield f"an extent of row {seq} leaves the region"
        if seq < DELTA:
            base.extend(extents)
    base.sort()
    if any(left.end > right.offset for left, right in pairwise(base)):
        yield "extents overlap"
        return
    shown = resolve(region, rows)
    if length is not None and shown and shown[-1].end > length:
        yield f"an extent ends at {shown[-1].end}, behind the end of the content at {length}"


def _attributes(execute: Execute) -> Iterator[Problem]:
    for ino, name, value, flags, mode in execute(_XATTRS):
        needed = {acl.ACCESS: ACL_ACCESS, acl.DEFAULT: ACL_DEFAULT}.get(name, XATTRS)
        if not flags & needed:
            yield Problem(f"inode {ino} does not know of its attribute {name!r}", ino, ContentId(0))
        if needed == XATTRS:
            continue
        try:
            entries = acl.parse(value)
        except GravitonError as error:
            yield Problem(f"the ACL of inode {ino} cannot be read: {error}", ino, ContentId(0))
            continue
        if needed == ACL_ACCESS and acl.mode_bits(entries) != stat.S_IMODE(mode) & 0o777:
            yield Problem(f"the ACL and the mode of inode {ino} differ", ino, ContentId(0))
    for (ino,) in execute(_FLAGGED, (acl.ACCESS, acl.DEFAULT)):
        yield Problem(f"inode {ino} says that it has an ACL and has none", ino, ContentId(0))
