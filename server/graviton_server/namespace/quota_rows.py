"""Setting, listing, deleting and checking quotas: what both engines share.

A new quota of a directory that is not the root begins as ``counting``: from then on what changes is counted,
and nothing is refused. Then what is there is counted in a view of one moment, while changes go on; what the
view shows beyond the usage in that same view was there before. Where the process ends between the two, the
quota stays ``counting`` until it is set or checked again, or upkeep takes it up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from graviton_server.namespace import quotas
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.quotas import UNLIMITED, quota_of
from graviton_server.namespace.sessions import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Invalid, NotADirectory, NotFound
from gravitonfs.ports.quotas import QuotaCheck, QuotaRow

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

_MAX: Final = (1 << 62) - 1

_DIRECTORY: Final = "SELECT mode, nlink FROM inodes WHERE ino = ? AND volume = ?"
_GET: Final = f"SELECT {quotas.COLUMNS} FROM quotas WHERE ino = ? AND volume = ?"
_OF: Final = f"SELECT {quotas.COLUMNS} FROM quotas WHERE volume = ? ORDER BY ino"
_ADD: Final = f"INSERT INTO quotas ({quotas.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_LIMIT: Final = "UPDATE quotas SET max_bytes = ?, max_inodes = ? WHERE ino = ?"
_DROP: Final = "DELETE FROM quotas WHERE ino = ?"
_GONE: Final = (
    "DELETE FROM quotas WHERE volume = ? AND NOT EXISTS"
    " (SELECT 1 FROM inodes i WHERE i.ino = quotas.ino AND i.nlink > 0)"
    " AND NOT EXISTS (SELECT 1 FROM trash t WHERE t.ino = quotas.ino)"
)
_CORRECT: Final = "UPDATE quotas SET bytes = bytes + ?, inodes = inodes + ?, counting = 0 WHERE ino = ?"
_WHOLE: Final = (
    "SELECT count(*), coalesce(sum(CASE WHEN mode & 61440 = 32768 THEN size ELSE 0 END), 0)"
    " FROM inodes WHERE volume = ?"
)
_ELSEWHERE: Final = quotas.CROSSING


def limit_of(value: int | None) -> int:
    if value is None:
        return UNLIMITED
    if not 0 <= value <= _MAX:
        raise Invalid("a quota's limit is a number of bytes or inodes, 0 or more")
    return value


def row_of(row: tuple[Any, ...]) -> QuotaRow:
    ino, _, max_bytes, max_inodes, size, inodes, counting = row
    return QuotaRow(
        Ino(ino),
        None if max_bytes == UNLIMITED else max_bytes,
        None if max_inodes == UNLIMITED else max_inodes,
        size,
        inodes,
        bool(counting),
    )


class SqlQuotas:
    """Implements ``Quotas`` where one process owns the store."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store

    # --- what engines do differently -----------------------------------------------------------------

    def _read(self, sql: str, params: tuple[Any, ...]) -> list[Any]:
        """What memory keeps of usages goes to the database first."""
        with self._store.reading() as execute:
            for volume in self._store.volumes():
                quotas.save(execute, volume.quotas)
            return execute(sql, params).fetchall()

    def _number(self, volume: str) -> Volume:
        with self._store.lock:
            return self._store.roster.named(volume)

    def _alter(self, volume: str, call: Callable[..., None], *args: Any) -> None:
        """In one transaction, durable; nothing else changes the volume meanwhile."""
        store = self._store
        with store.lock:
            store.check_readable()
            store.change(_and_load, call, store.execute, store.roster.named(volume), *args)
            store.commits.commit()

    # --- the port ------------------------------------------------------------------------------------

    def rows(self, volume: str) -> list[QuotaRow]:
        return [row_of(row) for row in self._read(_OF, (self._number(volume).id,))]

    def set(self, volume: str, directory: Ino, max_bytes: int | None, max_inodes: int | None) -> QuotaRow:
        limits = (limit_of(max_bytes), limit_of(max_inodes))
        visitor = self._store.attach(volume, label="quota")
        try:
            self._alter(volume, put, directory, *limits)
            if self._one(volume, directory).counting:
                self._check(volume, directory, repair=True)
            return self._one(volume, directory)
        finally:
            visitor.detach()

    def delete(self, volume: str, directory: Ino) -> None:
        self._one(volume, directory)
        visitor = self._store.attach(volume, label="quota")
        try:
            self._alter(volume, drop, directory)
        finally:
            visitor.detach()

    def check(self, volume: str, directory: Ino, *, repair: bool) -> QuotaCheck:
        """Whoever has the volume to itself relies on the room that it was told: it has to ask again where
        that changes."""
        if not repair:
            return self._check(volume, directory, repair=False)
        visitor = self._store.attach(volume, label="quota")
        try:
            return self._check(volume, directory, repair=True)
        finally:
            visitor.detach()

    def _check(self, volume: str, directory: Ino, *, repair: bool) -> QuotaCheck:
        found = self._number(volume)
        whole = directory == found.root
        with self._store.upkeep.moment() as execute:
            row = execute(_GET, (directory, found.id)).fetchone()
            if row is None:
                raise missing()
            inodes, size = execute(
                *((_WHOLE, (found.id,)) if whole else (quotas.SIZE, (directory,)))
            ).fetchone()
            elsewhere = None if whole else execute(_ELSEWHERE, (directory,)).fetchone()
        told = row_of(row)
        counted = (size, inodes - 1)
        if elsewhere is not None and told.counting:
            self._alter(volume, drop, directory)
            raise Invalid(
                f"a file below it ({elsewhere[1]!r}) has another name outside of it, so that it is not known"
                " what it would count for: give the quota to a directory above both"
            )
        wrong = counted != (told.bytes, told.inodes)
        if repair and (wrong or told.counting):
            more = (counted[0] - told.bytes, counted[1] - told.inodes)
            self._alter(volume, end_counting if told.counting else correct, directory, *more)
        return QuotaCheck(told, *counted, repaired=repair and wrong and not told.counting)

    def _one(self, volume: str, directory: Ino) -> QuotaRow:
        rows = self._read(_GET, (directory, self._number(volume).id))
        if not rows:
            raise missing()
        return row_of(rows[0])


def missing() -> NotFound:
    return NotFound("this directory has no quota: 'graviton quota list' tells which have")


def _and_load(call: Callable[..., None], execute: Execute, volume: Volume, *args: Any) -> None:
    """What memory keeps of the volume's quotas follows."""
    quotas.save(execute, volume.quotas)
    call(execute, volume, *args)
    volume.quotas = {row[0]: quota_of(row) for row in execute(_OF, (volume.id,)).fetchall()}
    volume.chains.moved()


def put(execute: Execute, volume: Volume, directory: Ino, max_bytes: int, max_inodes: int) -> None:
    found = execute(_DIRECTORY, (directory, volume.id)).fetchone()
    if found is None or found[1] == 0:
        raise NotFound("the directory does not exist any more")
    if found[0] & 0o170000 != 0o040000:
        raise NotADirectory("a quota is a directory's: a file has none")
    execute(_GONE, (volume.id,))
    if execute(_GET, (directory, volume.id)).fetchone() is not None:
        execute(_LIMIT, (max_bytes, max_inodes, directory))
        return
    limits = (directory, volume.id, max_bytes, max_inodes)
    if directory == volume.root:
        execute(_ADD, (*limits, volume.logical_bytes, volume.inodes - 1, 0))
    else:
        execute(_ADD, (*limits, 0, 0, 1))


def drop(execute: Execute, volume: Volume, directory: Ino) -> None:
    execute(_DROP, (directory,))


def end_counting(execute: Execute, volume: Volume, directory: Ino, size: int, inodes: int) -> None:
    """What was there before, once: of two that count, the second changes nothing."""
    execute(f"{_CORRECT} AND counting = 1", (size, inodes, directory))


def correct(execute: Execute, volume: Volume, directory: Ino, size: int, inodes: int) -> None:
    execute(_CORRECT, (size, inodes, directory))
