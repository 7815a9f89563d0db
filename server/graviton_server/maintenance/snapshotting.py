"""Snapshots by the clock: one an hour, a day, a week, so many of each kept.

Their names say which period they are of, in UTC by the database's clock, so that several engines on a store
make one between them: whoever comes second finds it there. Only what was made so is ever deleted; and of a
kind of which none are wanted, none are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from graviton_server.maintenance.work import Work
from gravitonfs.errors import Exists, NotFound
from gravitonfs.ports.store import SnapshotRow, VolumeRow

log = logging.getLogger(__name__)

HOUR: Final = 3600
_FORMATS: Final = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%G-W%V"}


class Kept(NamedTuple):
    """How many of each kind; 0: none are made."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0


class SnapshotStore(Protocol):
    """The part of a ``SessionStore`` that this needs."""

    def volume_rows(self) -> list[VolumeRow]: ...
    def snapshot_rows(self, volume: str) -> list[SnapshotRow]: ...
    def create_snapshot(self, volume: str, name: str, *, scheduled: bool = False) -> SnapshotRow: ...
    def delete_snapshot(self, volume: str, name: str) -> None: ...


class Snapshotter:
    """One thread at a time. Repeating a run in the same hour does nothing."""

    def __init__(self, store: SnapshotStore, kept: Kept, clock_ns: Callable[[], int]) -> None:
        self._store = store
        self._wanted = {kind: count for kind, count in kept._asdict().items() if count}
        self._clock_ns = clock_ns

    def run(self, work: Work) -> str:
        """A sentence on what was done, or nothing."""
        now = datetime.fromtimestamp(self._clock_ns() // 10**9, UTC)
        made = deleted = 0
        for volume in self._store.volume_rows():
            for kind, count in self._wanted.items():
                work.check()
                made += self._make(volume.name, f"{kind}-{now.strftime(_FORMATS[kind])}")
                deleted += self._thin(volume.name, kind, count)
        return f"{made} snapshots made, {deleted} deleted" if made or deleted else ""

    def _make(self, volume: str, name: str) -> int:
        if any(row.name == name for row in self._store.snapshot_rows(volume)):
            return 0
        try:
            self._store.create_snapshot(volume, name, scheduled=True)
        except (Exists, NotFound):  # another engine was faster; or the volume has gone
            return 0
        log.info("snapshot %s of volume %s", name, volume)
        return 1

    def _thin(self, volume: str, kind: str, count: int) -> int:
        try:
            rows = self._store.snapshot_rows(volume)
        except NotFound:
            return 0
        ours = [row.name for row in rows if row.scheduled and row.name.startswith(f"{kind}-")]
        deleted = 0
        for name in ours[:-count]:
            try:
                self._store.delete_snapshot(volume, name)
            except NotFound:
                continue
            log.info("snapshot %s of volume %s is deleted: its time is over", name, volume)
            deleted += 1
        return deleted
