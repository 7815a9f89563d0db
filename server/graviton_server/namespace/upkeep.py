"""What background work asks of the namespace; each call is bounded, so that front ends are not held up."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from graviton_server.namespace import (
    checking,
    dumping,
    mending,
    origin,
    reaping,
    recounting,
    trash,
    trash_places,
)
from graviton_server.namespace.applying import Moment
from graviton_server.namespace.engine import DatabaseError, Execute, integrity, translate
from graviton_server.namespace.flattening import Flattener
from graviton_server.namespace.fragments import Fragments
from graviton_server.namespace.origin import FENCE, FOUNDED, SET_FENCE
from graviton_server.namespace.purging import Purger
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.extents import unpack_row
from gravitonfs.core.ids import BlockId, ContentId, Ino
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.core.trash import day_name, day_of
from gravitonfs.ports.namespace import EVERYTHING, Change
from gravitonfs.ports.upkeep import (
    ExtentRow,
    Fragmented,
    HeldBySnapshots,
    Mend,
    Problem,
    TrashUsage,
    Undigested,
)

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

PAGE: Final = 512
REAP_STEP: Final = 100

_LIVE_ROWS: Final = "SELECT content, region, data FROM regions"
_OLD_ROWS: Final = "SELECT content, region, data FROM regions_history"
_UNDIGESTED: Final = (
    "SELECT c.id, coalesce(i.version, c.version), coalesce(i.size, c.length) FROM contents c"
    " LEFT JOIN inodes i ON i.content = c.id AND i.content <> 0 AND c.kind = 0"
    " WHERE c.digest IS NULL AND c.refs > 0 AND c.changed < ? ORDER BY c.changed LIMIT ?"
)
_DEEP: Final = (
    "SELECT c.id FROM contents c JOIN contents b ON b.id = c.base"
    " WHERE c.base <> 0 AND c.refs > 0 AND (c.depth > 1 OR b.refs = 1) LIMIT ?"
)
_USERS: Final = (
    "WITH RECURSIVE up (id) AS (VALUES (?) UNION"
    " SELECT c.id FROM up JOIN contents c ON c.base = up.id AND c.base <> 0)"
    " SELECT i.ino FROM up JOIN inodes i ON i.content = up.id AND i.content <> 0 ORDER BY i.ino"
)
_HELD: Final = (
    "SELECT (SELECT count(*) FROM snapshots), CAST(coalesce(sum(size), 0) AS BIGINT) FROM"
    " (SELECT DISTINCT h.content, h.version, h.size FROM inodes_history h WHERE h.content <> 0 AND NOT EXISTS"
    " (SELECT 1 FROM inodes i WHERE i.content = h.content AND i.content <> 0 AND i.version = h.version)) x"
)
_PARENT: Final = "SELECT parent, name FROM names WHERE ino = ? LIMIT 1"


class SqlUpkeep:
    """Implements ``Upkeep``."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._fragments = Fragments(store)
        self._flattener = Flattener(store)
        self._purger = Purger(store)

    @contextmanager
    def moment(self) -> Iterator[Execute]:
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
        with self.moment() as execute:
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
                step = self._purger.step(most) or self._reap_tree(most, told) or self._reap_content(most)
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

    # --- trash ---------------------------------------------------------------------------------------

    def erase_trash(self, before_ns: int, limit: int, volume: str | None = None) -> int:
        store = self._store
        done = 0
        told: list[Change] = []
        for number in [one.id for one in store.volumes() if volume in (None, one.name)]:
            while done < limit:
                with store.lock:
                    store.check_readable()
                    found = store.roster.volume(number)
                    step = self._erase_some(found, before_ns, min(limit - done, REAP_STEP), told)
                if not step:
                    break
                done += step
                time.sleep(0)
        store.tell_all(told)
        return done

    def _erase_some(self, volume: Volume, before_ns: int, limit: int, told: list[Change]) -> int:
        store = self._store
        if store.execute(trash.OLDEST, (before_ns, volume.id, 1)).fetchone() is None:
            return 0
        moment = store.applier.moment()
        counted: list[int] = []
        store.change(self._expire, volume, before_ns, limit, moment, counted)
        told.extend(moment.changes)
        return counted[0]

    def _expire(self, volume: Volume, before_ns: int, limit: int, moment: Moment, counted: list[int]) -> None:
        txn = self._store.applier.outside_batch(volume, moment)
        counted.append(trash.expire(txn, before_ns, limit))
        volume.add(txn.bytes, txn.inodes)

    def trash_usage(self) -> TrashUsage:
        with self._store.reading() as execute:
            return trash.usage(execute)

    # --- contents ------------------------------------------------------------------------------------

    def fragmented(self, idle_before_ns: int, limit: int) -> list[Fragmented]:
        return self._fragments.find(idle_before_ns, limit)

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
        self._flattener.flatten(content)

    def users(self, content: ContentId) -> Sequence[Ino]:
        with self._store.reading() as execute:
            return [Ino(row[0]) for row in execute(_USERS, (content,))]

    # --- messages, checks, copies --------------------------------------------------------------------

    def path(self, ino: Ino) -> bytes:
        roots = {volume.root for volume in self._store.volumes()}
        names: list[bytes] = []
        at: int = ino
        passed: set[int] = set()
        top = b"/"
        with self._store.reading() as execute:
            while at not in roots:
                row = execute(_PARENT, (at,)).fetchone()
                if row is None and (lost := trash_places.row_of(execute, Ino(at))) is not None:
                    row = lost[1:3]
                    if top == b"/":
                        top = b"/%b/%b/" % (TRASH, day_name(day_of(lost.removed_ns)))
                if row is None or at in passed:  # in a circle, none leads further
                    return b"#%d" % ino if not names else b"#%d/" % at + b"/".join(reversed(names))
                passed.add(at)
                at = row[0]
                names.append(row[1])
        return top + b"/".join(reversed(names))

    def check(self) -> Iterator[Problem]:
        with self.moment() as execute:
            broken = [Problem(f"the database: {what}", Ino(0), ContentId(0)) for what in integrity(execute)]
            yield from broken or checking.problems(execute)

    def held_by_snapshots(self) -> HeldBySnapshots:
        with self.moment() as execute:
            return HeldBySnapshots(*execute(_HELD).fetchone())

    def plan(self) -> list[Mend]:
        with self.moment() as execute:
            return mending.plan(execute, self.path)

    def mend(self, kinds: Collection[str], fresh: Sequence[Ino]) -> list[str]:
        try:
            told = recounting.mend(self._store, kinds, fresh) + recounting.recount_quotas(self._store)
        except DatabaseError as error:
            raise translate(error) from error
        self._store.tell_all([EVERYTHING])
        return told

    def recount(self) -> list[str]:
        try:
            return recounting.recount(self._store) + recounting.recount_quotas(self._store)
        except DatabaseError as error:
            raise translate(error) from error

    def founded_ns(self) -> int:
        with self._store.reading() as execute:
            return int(execute(FOUNDED).fetchone()[0])

    def fence(self) -> int:
        with self._store.reading() as execute:
            row = execute(FENCE).fetchone()
            return 0 if row is None else int(row[0])

    def restored(self) -> None:
        """The incarnation is a new one with each start."""
        store = self._store
        with store.lock:
            store.change(store.execute, SET_FENCE, (origin.now()[0],))
            store.commit()

    def dump(self) -> Iterator[bytes]:
        self._store.note_version()
        with self.moment() as execute:
            yield from dumping.dump(execute)
