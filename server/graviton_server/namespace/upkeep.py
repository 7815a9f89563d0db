"""What background work asks of the namespace; each call is bounded, so that front ends are not held up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import checking, contents, dumping, reaping, regions
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.contents import Content
from graviton_server.namespace.engine import DatabaseError, Execute, integrity, translate
from graviton_server.namespace.history import keep_content
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.extents import EXTENT_SIZE, REGION, unpack_row
from gravitonfs.core.ids import BlockId, ContentId, Ino
from gravitonfs.ports.namespace import Change
from gravitonfs.ports.upkeep import ExtentRow, Fragmented, Problem, Undigested

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

PAGE: Final = 512
FLATTEN_REGIONS: Final = 128
FOLD_REGIONS: Final = 2
REAP_STEP: Final = 100

_LIVE_ROWS: Final = "SELECT content, region, data FROM regions"
_OLD_ROWS: Final = "SELECT content, region, data FROM regions_history"
_RAGGED_AFTER: Final = (
    "SELECT r.content, coalesce(c.changed, 0) FROM ragged r LEFT JOIN contents c ON c.id = r.content"
    " WHERE r.content > ? ORDER BY r.content LIMIT ?"
)
_RAGGED_UP_TO: Final = _RAGGED_AFTER.replace("r.content > ?", "r.content <= ?")
_SIZES: Final = (
    "SELECT coalesce(i.size, c.length), coalesce(i.version, c.version) FROM contents c"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0"
    " WHERE c.id = ? AND c.refs > 0"
)
_STORED: Final = (
    "SELECT count(DISTINCT region), coalesce(sum(length(data)), 0) FROM regions WHERE content = ?"
)
_NOT_RAGGED: Final = "DELETE FROM ragged WHERE content = ?"
_UNDIGESTED: Final = (
    "SELECT c.id, coalesce(i.version, c.version), coalesce(i.size, c.length) FROM contents c"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0"
    " WHERE c.digest IS NULL AND c.refs > 0 AND c.changed < ? ORDER BY c.changed LIMIT ?"
)
_DEEP: Final = (
    "SELECT c.id FROM contents c JOIN contents b ON b.id = c.base"
    " WHERE c.base <> 0 AND c.refs > 0 AND (c.depth > 1 OR b.refs = 1) LIMIT ?"
)
_COPY_UP: Final = (
    "INSERT INTO regions (content, region, seq, born, data)"
    " SELECT ?, region, seq, ?, data FROM regions WHERE content = ? AND region BETWEEN ? AND ?"
    " AND region NOT IN (SELECT region FROM regions WHERE content = ?)"
)
_NEXT_REGION: Final = "SELECT min(region) FROM regions WHERE content = ? AND region >= ? AND region < ?"
_SET_BASE: Final = "UPDATE contents SET base = ?, base_limit = ?, depth = ? WHERE id = ?"
_ADD_REF: Final = "UPDATE contents SET refs = refs + 1 WHERE id = ?"
_USERS: Final = (
    "WITH RECURSIVE up (id) AS (VALUES (?) UNION"
    " SELECT c.id FROM up JOIN contents c ON c.base = up.id AND c.base <> 0)"
    " SELECT i.ino FROM up JOIN inodes i ON i.content = up.id AND i.content <> 0 ORDER BY i.ino"
)
_PARENT: Final = "SELECT parent, name FROM names WHERE ino = ? LIMIT 1"


class SqlUpkeep:
    """Implements ``Upkeep``."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._ragged_after = 0

    @contextmanager
    def _snapshot(self) -> Iterator[Execute]:
        """The namespace as it is now, for reads that may take long."""
        self._store.commit()
        try:
            with self._store.engine.snapshot() as execute:
                yield execute
        except DatabaseError as error:
            raise translate(error) from error

    # --- roots of a mark -----------------------------------------------------------------------------

    def extent_rows(self) -> Iterator[list[ExtentRow]]:
        """Read at one moment: a fold that moves extents between rows cannot hide any from the mark."""
        with self._snapshot() as execute:
            for sql in (_LIVE_ROWS, _OLD_ROWS):
                cursor = execute(sql)
                while rows := cursor.fetchmany(PAGE):
                    yield [
                        ExtentRow(ContentId(content), region, tuple(unpack_row(region, data)))
                        for content, region, data in rows
                    ]

    def version(self) -> int:
        return self._store.applier.version

    def loose_ids(self) -> list[BlockId]:
        return self._store.loose.ids()

    # --- reaping -------------------------------------------------------------------------------------

    def reap(self, limit: int) -> int:
        """In small steps, with the lock free between them: front ends wait for a few milliseconds only."""
        store = self._store
        done = 0
        told: list[Change] = []
        while done < limit:
            most = min(limit - done, REAP_STEP)
            with store.lock:
                store.check_readable()
                step = self._reap_tree(most, told) or self._reap_content(most)
            if not step:
                break
            done += step
            time.sleep(0)  # lets a thread that waits for the lock have it
        store.tell_all(told)
        return done

    def _reap_tree(self, limit: int, told: list[Change]) -> int:
        store = self._store
        row = store.execute(reaping.NEXT_DOOMED).fetchone()
        if row is None:
            return 0
        ino, number = row
        volume = store.roster.volume(number)
        moment = store.applier.moment()
        counted: list[int] = []
        store.change(self._empty, volume, Ino(ino), limit, moment, counted)
        told.extend(moment.changes)
        return counted[0]

    def _empty(self, volume: Volume, ino: Ino, limit: int, moment: Moment, counted: list[int]) -> None:
        txn = self._store.applier.outside_batch(volume, moment)
        counted.append(reaping.empty_directory(txn, ino, limit))
        volume.add(txn.bytes, txn.inodes)

    def _reap_content(self, limit: int) -> int:
        store = self._store
        done = 0
        for (content,) in store.execute(reaping.NEXT_UNUSED, (limit,)).fetchall():
            counted: list[int] = []
            store.change(self._free, content, limit - done, store.applier.moment(), counted)
            done += counted[0]
            if done >= limit:
                break
        return done

    def _free(self, content: int, limit: int, moment: Moment, counted: list[int]) -> None:
        txn = self._store.applier.outside_batch(self._store.volumes()[0], moment)
        counted.append(reaping.free_content(txn, content, limit))

    # --- contents ------------------------------------------------------------------------------------

    def fragmented(self, idle_before_ns: int, limit: int) -> list[Fragmented]:
        """Candidates are noted by the writes that make them; one that is fine is noted no longer.

        Each is folded first, a few regions at a time, with the lock free between them.
        """
        result: list[Fragmented] = []
        for content in self._ragged(idle_before_ns, limit):
            while not self._fold(content):
                time.sleep(0)
            found = self._judge(content)
            if found is not None:
                result.append(found)
        return result

    def _ragged(self, idle_before_ns: int, limit: int) -> list[ContentId]:
        """Idle candidates, going round, so that those nobody can mend do not hide the others."""
        store = self._store
        with store.reading() as execute:
            after = self._ragged_after
            rows = execute(_RAGGED_AFTER, (after, limit)).fetchall()
            if len(rows) < limit:
                rows += execute(_RAGGED_UP_TO, (after, limit - len(rows))).fetchall()
            if rows:
                self._ragged_after = rows[-1][0]
            touched = store.applier.txn.touched
            return [
                ContentId(content)
                for content, changed in rows
                if max(touched.get(content, 0), changed) < idle_before_ns
            ]

    def _fold(self, content: ContentId) -> bool:
        store = self._store
        folded: list[bool] = []
        with store.lock:
            store.change(self._fold_some, content, store.applier.moment(), folded)
        return folded[0]

    def _fold_some(self, content: ContentId, moment: Moment, folded: list[bool]) -> None:
        store = self._store
        txn = store.applier.outside_batch(store.roster.volume_of_content(content), moment)
        folded.append(regions.fold_idle(txn, content, FOLD_REGIONS))

    def _judge(self, content: ContentId) -> Fragmented | None:
        """Has a content many extents for its size? Its rows are folded: they are what a reader sees."""
        store = self._store
        with store.reading() as execute:
            row = execute(_SIZES, (content,)).fetchone()
            if row is not None:
                length, version = row
                used, size = execute(_STORED, (content,)).fetchone()
                count = size // EXTENT_SIZE
                if count > 2 * (min(length, used * REGION) // store.format.block_average) + 8:
                    return Fragmented(content, version, length, count)
            store.change(store.execute, _NOT_RAGGED, (content,))
        return None

    def undigested(self, idle_before_ns: int, limit: int) -> list[Undigested]:
        store = self._store
        with store.reading() as execute:
            touched = store.applier.txn.touched
            return [
                Undigested(ContentId(content), version, length)
                for content, version, length in execute(_UNDIGESTED, (idle_before_ns, limit))
                if touched.get(content, 0) < idle_before_ns
            ]

    def deep_drafts(self, limit: int) -> list[ContentId]:
        """Sealed ones too: what their bases hide would be kept for ever."""
        with self._store.reading() as execute:
            return [ContentId(row[0]) for row in execute(_DEEP, (limit,))]

    def flatten(self, content: ContentId) -> None:
        """Some regions at a time; each copy changes nothing that a reader sees."""
        store = self._store
        while True:
            with store.lock:
                store.check_readable()
                found = contents.get(store.applier.txn, content)
                if not found.base:
                    return
                start = 0
                base = found.base
            while start >= 0:
                with store.lock:
                    start = self._copy_some(content, base, start)
            with store.lock:
                found = contents.get(store.applier.txn, content)
                if found.base == base:
                    store.change(self._leave_base, found, store.applier.moment())

    def _copy_some(self, content: ContentId, base: ContentId, start: int) -> int:
        """Copy the next regions that show through; returns where to go on, -1 at the end."""
        store = self._store
        store.check_readable()
        found = contents.get(store.applier.txn, content)
        if found.base != base:
            return -1
        first: int | None = store.execute(_NEXT_REGION, (base, start, found.base_limit)).fetchone()[0]
        if first is None:
            return -1
        last: int = min(first + FLATTEN_REGIONS, found.base_limit) - 1
        moment = store.applier.moment()
        store.change(store.execute, _COPY_UP, (content, moment.version, base, first, last, content))
        return last + 1

    def _leave_base(self, found: Content, moment: Moment) -> None:
        store = self._store
        txn = store.applier.outside_batch(store.roster.volume_of_content(found.id), moment)
        base = contents.get(txn, found.base)
        if txn.snapshot:
            keep_content(txn, found.id)
        below = base.base
        limit = min(found.base_limit, base.base_limit) if below else 0
        if below:
            txn.execute(_ADD_REF, (below,))
        txn.execute(_SET_BASE, (below, limit, base.depth, found.id))
        contents.release(txn, found.base)

    def users(self, content: ContentId) -> Sequence[Ino]:
        with self._store.reading() as execute:
            return [Ino(row[0]) for row in execute(_USERS, (content,))]

    # --- messages, checks, copies --------------------------------------------------------------------

    def path(self, ino: Ino) -> bytes:
        roots = {volume.root for volume in self._store.volumes()}
        names: list[bytes] = []
        at: int = ino
        with self._store.reading() as execute:
            while at not in roots:
                row = execute(_PARENT, (at,)).fetchone()
                if row is None:
                    return b"#%d" % ino if not names else b"#%d/" % at + b"/".join(reversed(names))
                at = row[0]
                names.append(row[1])
        return b"/" + b"/".join(reversed(names))

    def check(self) -> Iterator[Problem]:
        with self._snapshot() as execute:
            broken = [Problem(f"the database: {what}", Ino(0), ContentId(0)) for what in integrity(execute)]
            yield from broken or checking.problems(execute)

    def dump(self) -> Iterator[bytes]:
        self._store.note_version()
        with self._snapshot() as execute:
            yield from dumping.dump(execute)
