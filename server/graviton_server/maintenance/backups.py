"""Dumps on the targets: when one is due, how many stay, and what they hold back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from graviton_server.maintenance.archive import Archive, Manifest
from graviton_server.maintenance.archiving import Writer, live_packs, needed_packs, new_id
from graviton_server.maintenance.fence import check_fence
from graviton_server.maintenance.mark import rows_of
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.reports import Archived, BackupStatus, KeptDump
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.turns import LASTS, Alone, kept_up, own_turn, turn
from graviton_server.maintenance.work import Work
from gravitonfs.core.ids import PackNumber
from gravitonfs.core.units import format_size
from gravitonfs.errors import Exists, GravitonError, Unavailable
from gravitonfs.ports.packs import PackRegistry

log = logging.getLogger(__name__)

OWNER: Final = "backup"
"""Of all of them, whichever engine made them."""
BACKUP: Final = "backup"
_FIRST: Final = 3600.0
"""Seconds after which a store without any dump gets one, where ``interval`` is longer."""
_LOOK: Final = 60.0
_LOOK_AGAIN: Final = 300.0


class Plan(NamedTuple):
    """Seconds between two dumps, 0: none are made by themselves; and how many stay."""

    interval: float = 86400.0
    keep: int = 7


class HeldByDumps(Alone):
    """Where one process has the store open: what is on the targets tells what must stay."""

    def __init__(self, archive: Archive, packs: PackRegistry) -> None:
        self._archive = archive
        self._packs = packs

    def held_packs(self, but: tuple[str, str] | None = None) -> frozenset[PackNumber]:
        needed = self._archive.all_needed(but[1] if but is not None and but[0] == OWNER else "")
        if not needed:
            return frozenset()
        return frozenset(row.number for row in rows_of(self._packs) if row.uuid in needed)


class Backups:
    """One of an engine. Dumps, drops and collections come one after the other: whoever calls sees to it."""

    def __init__(self, stores: Stores, archive: Archive, plan: Plan) -> None:
        self.archive = archive
        self.plan = plan
        self._stores = stores
        self._next = time.monotonic()
        self._rung = 0
        self._newest: Manifest | None = None
        self._looked = False
        self._failures = 0
        self._error = ""

    def check_fence(self) -> None:
        """Raises Locked where the store has gone on in another database."""
        check_fence(self.archive.target, self._stores.upkeep, self.archive.store_uuid)

    # --- by the clock ---

    def due(self) -> object:
        """Differs when it is time to look whether there is something to do."""
        if time.monotonic() >= self._next:
            self._next = float("inf")
            self._rung += 1
        return self._rung

    def run(self, work: Work, before: Callable[[], object]) -> str:
        """A dump if it is time for one and this engine's turn. ``before``: called first, where it is."""
        self._next = time.monotonic() + min(self.plan.interval or _LOOK, _LOOK)
        wait = self._wait()
        if wait > 0:
            self._next = time.monotonic() + min(wait, _LOOK_AGAIN)
            return ""
        with turn(self._stores.housekeeping, BACKUP, work) as ours:
            if not ours or self._wait() > 0:  # another engine makes it, or just has
                return ""
            before()
            try:
                made = self._make(work)
            except GravitonError as error:
                self._failures += 1
                self._error = str(error)
                raise
            self._next = time.monotonic() + min(self.plan.interval, _LOOK_AGAIN)
            freed = self._thin_out()
        removed = f", {format_size(freed)} of older ones removed" if freed else ""
        return f"{made.id}: {format_size(made.new_bytes)} new of {format_size(made.stored_bytes)}{removed}"

    def _wait(self) -> float:
        """Seconds until the next one is due, by the database's clock."""
        newest = self._look()
        if not self.plan.interval:
            return float("inf")
        now = self._stores.packs.clock_ns()
        if newest is not None:
            return newest.made_ns / 1e9 + self.plan.interval - now / 1e9
        return self._founded() + min(self.plan.interval, _FIRST) - now / 1e9

    def _founded(self) -> float:
        return self._stores.upkeep.founded_ns() / 1e9

    def _look(self) -> Manifest | None:
        found = self.archive.manifests()
        self._newest = found[-1] if found else None
        self._looked = True
        return self._newest

    # --- on command ---

    def make(self, work: Work) -> Archived:
        with own_turn(self._stores.housekeeping, BACKUP, work):
            began = time.monotonic()
            made = self._make(work)
            self._thin_out()
        return Archived(
            dump=made.id,
            lines=made.lines,
            plain_bytes=made.plain_bytes,
            bytes=made.stored_bytes,
            new_bytes=made.new_bytes,
            packs=made.pack_count,
            seconds=time.monotonic() - began,
        )

    def _make(self, work: Work) -> Manifest:
        self.check_fence()
        house = self._stores.housekeeping
        made_ns = self._stores.packs.clock_ns()
        dump = new_id(made_ns)
        house.begin_dump(OWNER, dump, LASTS)
        complete = False
        try:
            with kept_up(lambda: house.renew_dump(OWNER, dump, LASTS), work):
                mark = mark_live(self._stores, work)
                writer = Writer(self._stores, self.archive, work)
                try:
                    writer.write()
                    packs = needed_packs(self._stores, mark)
                    if house.keep_dump(OWNER, dump, [row.number for row in packs]):
                        raise Unavailable("packs were given up while the dump was written: make it anew")
                    manifest = writer.finish(dump, made_ns, packs)
                finally:
                    writer.close()
            complete = True
        finally:
            if not complete:
                house.drop_dump(OWNER, dump)
        self._newest, self._error = manifest, ""
        return manifest

    def dumps(self) -> list[KeptDump]:
        """The oldest first."""
        held = {row.name: row for row in self._stores.housekeeping.all_dumps() if row.owner == OWNER}
        return [
            KeptDump(
                name=manifest.id,
                owner=OWNER,
                here=False,
                on_targets=True,
                made=manifest.made_ns / 1e9,
                bytes=manifest.stored_bytes,
                packs=manifest.pack_count,
                pack_bytes=held[manifest.id].bytes if manifest.id in held else None,
            )
            for manifest in self.archive.manifests()
        ]

    def drop(self, dump: str, work: Work) -> None:
        self.check_fence()
        with own_turn(self._stores.housekeeping, BACKUP, work):
            self._remove([dump])
            self.archive.sweep()
        self._look()

    # --- inside ---

    def _thin_out(self) -> int:
        """The newest stay; bytes that the others have given back."""
        ids = self.archive.ids()
        old = ids[: -self.plan.keep]
        self._remove(old)
        for name in self._stores.housekeeping.kept_dumps(OWNER):
            if name not in ids:  # a crash came before its manifest, or after that was removed
                self._stores.housekeeping.drop_dump(OWNER, name)
        return self.archive.sweep()

    def _remove(self, dumps: list[str]) -> None:
        """The manifest first: what has none holds nothing for long."""
        self.archive.remove(dumps)
        for dump in dumps:
            self._stores.housekeeping.drop_dump(OWNER, dump)

    def hold(self) -> None:
        """Before a collection: dumps that this database does not know of, because it was loaded since, hold
        their packs, too, as far as those are there."""
        house = self._stores.housekeeping
        if isinstance(house, Alone):
            return
        known = set(house.kept_dumps(OWNER))
        for manifest in self.archive.manifests():
            if manifest.id not in known:
                self._hold(manifest)

    def _hold(self, manifest: Manifest) -> None:
        house = self._stores.housekeeping
        needed = self.archive.needed(manifest)
        numbers = [row.number for row in live_packs(self._stores) if row.uuid in needed]
        try:
            house.begin_dump(OWNER, manifest.id, LASTS)
        except Exists:  # it is being written, or another engine does the same
            return
        if house.keep_dump(OWNER, manifest.id, numbers):
            house.drop_dump(OWNER, manifest.id)
            return
        if len(numbers) < len(needed):
            log.warning("the dump %s names %d packs that are gone", manifest.id, len(needed) - len(numbers))

    # --- told ---

    def status(self) -> BackupStatus:
        """From memory, as it was when this process last looked; asks the targets only where it never did."""
        if not self._looked:
            try:
                self._look()
            except GravitonError as error:
                log.debug("the newest dump cannot be asked for: %s", error)
        newest = self._newest
        made = newest.made_ns / 1e9 if newest is not None else None
        since = made if made is not None else self._founded()
        return BackupStatus(
            interval=self.plan.interval,
            keep=self.plan.keep,
            newest="" if newest is None else newest.id,
            made=made,
            age=max(0.0, self._stores.packs.clock_ns() / 1e9 - since),
            bytes=0 if newest is None else newest.stored_bytes,
            new_bytes=0 if newest is None else newest.new_bytes,
            failures=self._failures,
            error=self._error,
        )
