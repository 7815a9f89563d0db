"""Rows of targets and copies in the namespace's database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from gravitonfs.core.ids import PackNumber
from gravitonfs.ports.replicas import (
    Copy,
    CopyJob,
    CopyState,
    CopyTally,
    PackCopies,
    Placing,
    TargetNumber,
    TargetRow,
    TargetState,
)

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

TARGET_COLUMNS: Final = "number, name, kind, zone, weight, capacity, copies, zones, state, location"
_TARGETS: Final = f"SELECT {TARGET_COLUMNS} FROM targets ORDER BY number"
_NUMBER: Final = "SELECT number FROM targets WHERE name = ?"
_LAST: Final = "SELECT coalesce(max(number), 0) FROM targets"
_SAVE: Final = (
    f"INSERT INTO targets ({TARGET_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (number) DO UPDATE SET kind = excluded.kind, zone = excluded.zone,"
    " weight = excluded.weight, capacity = excluded.capacity, copies = excluded.copies,"
    " zones = excluded.zones, state = excluded.state, location = excluded.location"
)
_SETTINGS: Final = "SELECT value FROM meta WHERE key = 'replication'"
_SAVE_SETTINGS: Final = (
    "INSERT INTO meta (key, value) VALUES ('replication', ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_ROUTER: Final = "SELECT value FROM meta WHERE key = 'router'"
_FOLLOW: Final = "INSERT OR IGNORE INTO meta (key, value) VALUES ('router', ?)"
ADD: Final = "INSERT INTO replicas (pack, target, state, due) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING"
GONE: Final = "DELETE FROM replicas WHERE pack = ?"
_WITHOUT: Final = "FROM packs WHERE NOT EXISTS (SELECT 1 FROM replicas r WHERE r.pack = packs.number)"
_COUNT: Final = f"SELECT count(*) {_WITHOUT}"
_ADOPT: Final = f"INSERT INTO replicas (pack, target, state, due) SELECT number, ?, 'stored', 0 {_WITHOUT}"
_PACK: Final = "SELECT number FROM packs WHERE uuid = ?"
_COPIES: Final = "SELECT target, state FROM replicas WHERE pack = ? ORDER BY target"
_STORED: Final = (
    "INSERT INTO replicas (pack, target, state, due) VALUES (?, ?, 'stored', 0)"
    " ON CONFLICT (pack, target) DO UPDATE SET state = 'stored', due = 0"
)
_STATE: Final = "UPDATE replicas SET state = ?, due = 0 WHERE pack = ? AND target = ?"
_IS: Final = "SELECT state FROM replicas WHERE pack = ? AND target = ?"
_LEAVE: Final = (
    "UPDATE replicas SET state = 'leaving', due = 0 WHERE pack = ? AND target = ?"
    " AND state IN ('stored', 'bad')"
)
_UNWANTED: Final = (
    "DELETE FROM replicas WHERE pack = ? AND target = ? AND state NOT IN ('stored', 'bad', 'leaving')"
)
_CLAIM: Final = (
    "SELECT r.pack, p.uuid, p.length, r.target, r.state FROM replicas r JOIN packs p ON p.number = r.pack"
    " WHERE r.state <> 'stored' AND r.due <= ? AND p.state = 'live' ORDER BY r.due, r.pack"
)
_DUE: Final = "UPDATE replicas SET due = ? WHERE pack = ? AND target = ?"
_REMOVE: Final = "DELETE FROM replicas WHERE pack = ? AND target = ?"
_LOST: Final = "UPDATE replicas SET state = 'wanted', due = 0 WHERE target = ? AND state IN ('stored', 'bad')"
_LOST_LEAVING: Final = "DELETE FROM replicas WHERE target = ? AND state = 'leaving'"
_HAS: Final = "SELECT count(*) FROM replicas WHERE target = ? AND state IN ('stored', 'bad', 'leaving')"
PAGE: Final = (
    "SELECT p.number, p.uuid, r.target, r.state FROM"
    " (SELECT number, uuid FROM packs WHERE number > ? AND state = 'live' ORDER BY number LIMIT ?) p"
    " LEFT JOIN replicas r ON r.pack = p.number ORDER BY p.number, r.target"
)
TALLY: Final = (
    "SELECT r.target, r.state, count(*), coalesce(sum(p.length), 0) FROM replicas r"
    " JOIN packs p ON p.number = r.pack WHERE p.state = 'live' GROUP BY r.target, r.state"
    " ORDER BY r.target, r.state"
)


class SqlReplicas:
    """Implements ``Replicas``. All of it happens under the store's lock."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store

    def targets(self) -> list[TargetRow]:
        with self._store.reading() as execute:
            return [target_row(row) for row in execute(_TARGETS)]

    def save_target(self, row: TargetRow) -> TargetRow:
        store = self._store
        with store.reading() as execute:
            found = execute(_NUMBER, (row.name,)).fetchone()
            number = found[0] if found else execute(_LAST).fetchone()[0] + 1
            saved = row._replace(number=TargetNumber(number))
            self._change((_SAVE, (*saved[:8], saved.state.value, saved.location)))
            store.commit()
        return saved

    def _change(self, *todo: tuple[str, tuple[Any, ...]]) -> None:
        for sql, params in todo:
            self._store.change(self._store.execute, sql, params)

    def settings(self) -> bytes:
        with self._store.reading() as execute:
            found = execute(_SETTINGS).fetchone()
            return b"" if found is None else found[0]

    def save_settings(self, settings: bytes) -> None:
        with self._store.reading():
            self._change((_SAVE_SETTINGS, (settings,)))
            self._store.commit()

    def router(self) -> bytes:
        with self._store.reading() as execute:
            found = execute(_ROUTER).fetchone()
            return b"" if found is None else found[0]

    def follow(self, router: bytes) -> bytes:
        with self._store.reading():
            self._change((_FOLLOW, (router,)))
            self._store.commit()
            return self.router()

    def place_by(self, placing: Placing) -> None:
        self._store.packs.placing = placing

    def adopt(self, target: TargetNumber) -> int:
        store = self._store
        with store.reading() as execute:
            count: int = execute(_COUNT).fetchone()[0]
            if count:
                self._change((_ADOPT, (target,)))
                store.commit()
        return count

    def copies(self, uuid: bytes) -> list[Copy]:
        with self._store.reading() as execute:
            found = execute(_PACK, (uuid,)).fetchone()
            if found is None:
                return []
            return [Copy(target, CopyState(state)) for target, state in execute(_COPIES, found)]

    def stored(self, uuid: bytes, targets: Sequence[TargetNumber]) -> None:
        with self._store.reading() as execute:
            found = execute(_PACK, (uuid,)).fetchone()
            if found is not None:
                self._change(*((_STORED, (found[0], target)) for target in targets))

    def bad(self, uuid: bytes, target: TargetNumber, state: CopyState) -> bool:
        with self._store.reading() as execute:
            found = execute(_PACK, (uuid,)).fetchone()
            if found is None or not self._is(found[0], target, CopyState.STORED):
                return False
            self._change((_STATE, (state.value, found[0], target)))
            return True

    def _is(self, pack: int, target: int, state: CopyState) -> bool:
        found = self._store.execute(_IS, (pack, target)).fetchone()
        return found is not None and found[0] == state.value

    def want(self, pack: PackNumber, targets: Sequence[TargetNumber], state: CopyState) -> None:
        with self._store.reading():
            if self._live(pack):
                self._change(*((ADD, (pack, target, state.value)) for target in targets))

    def _live(self, pack: PackNumber) -> bool:
        return self._store.packs.is_live(pack)

    def leave(self, pack: PackNumber, targets: Sequence[TargetNumber]) -> None:
        with self._store.reading():
            for target in targets:
                self._change((_LEAVE, (pack, target)), (_UNWANTED, (pack, target)))

    def claim(
        self, targets: Sequence[TargetNumber], states: Sequence[CopyState], limit: int, seconds: float
    ) -> list[CopyJob]:
        here, asked = set(targets), {state.value for state in states}
        store = self._store
        with store.reading() as execute:
            now = store.clock_ns()
            rows = [row for row in execute(_CLAIM, (now,)).fetchall() if row[3] in here and row[4] in asked]
            rows = rows[:limit]
            until = now + int(seconds * 1e9)
            self._change(*((_DUE, (until, row[0], row[3])) for row in rows))
            return [job_row(row) for row in rows]

    def finished(self, job: CopyJob, *, there: bool) -> bool:
        store = self._store
        with store.reading():
            if not self._live(job.pack) or not self._is(job.pack, job.target, job.state):
                return False
            place = (job.pack, job.target)
            self._change((_STATE, ("stored", *place)) if there else (_REMOVE, place))
            store.commit()
            return True

    def later(self, job: CopyJob, seconds: float) -> None:
        with self._store.reading():
            self._change((_DUE, (self._store.clock_ns() + int(seconds * 1e9), job.pack, job.target)))

    def lost_all(self, target: TargetNumber) -> int:
        store = self._store
        with store.reading() as execute:
            count: int = execute(_HAS, (target,)).fetchone()[0]
            self._change((_LOST, (target,)), (_LOST_LEAVING, (target,)))
            store.commit()
        return count

    def page(self, after: PackNumber, limit: int) -> list[PackCopies]:
        with self._store.reading() as execute:
            return grouped(execute(PAGE, (after, limit)))

    def tally(self) -> list[CopyTally]:
        with self._store.reading() as execute:
            return [tally_row(row) for row in execute(TALLY)]


def target_row(row: Sequence[Any]) -> TargetRow:
    number, name, kind, zone, weight, capacity, copies, zones, state, location = row
    return TargetRow(
        TargetNumber(number),
        name,
        kind,
        zone,
        float(weight),
        capacity,
        copies,
        zones,
        TargetState(state),
        location,
    )


def job_row(row: Sequence[Any]) -> CopyJob:
    pack, uuid, length, target, state = row
    return CopyJob(PackNumber(pack), bytes(uuid), length, TargetNumber(target), CopyState(state))


def tally_row(row: Sequence[Any]) -> CopyTally:
    return CopyTally(TargetNumber(row[0]), CopyState(row[1]), int(row[2]), int(row[3]))


def grouped(rows: Iterable[Sequence[Any]]) -> list[PackCopies]:
    """Rows of ``PAGE``, pack by pack."""
    found = []
    for (pack, uuid), each in groupby(rows, key=lambda row: (row[0], bytes(row[1]))):
        copies = tuple(Copy(TargetNumber(row[2]), CopyState(row[3])) for row in each if row[2] is not None)
        found.append(PackCopies(PackNumber(pack), uuid, copies))
    return found
