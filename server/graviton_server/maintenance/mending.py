"""What ``fsck --repair`` would do, and doing it: a plan of kinds, each with what it loses.

Order: the namespace, in one transaction; rows of packs; copies; the index. Each step is safe to repeat, so a
crash between two leaves the rest for the next run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from typing import Final

from graviton_server.maintenance.objects import adopt, object_length
from graviton_server.maintenance.reports import Finding, Planned
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino, PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.upkeep import Mend

log = logging.getLogger(__name__)

_EXAMPLES: Final = 10
_STORE: Final = "store"
_SPARE: Final = 16
"""Inode numbers beyond those that what was found needs: one for ``.graviton-lost`` of each volume."""
NAMESPACE: Final = "namespace"
PACK_GONE: Final = "pack-missing"
UNCLAIMED: Final = "unclaimed"
COPIES: Final = "copy-damaged"
INDEX: Final = "index"
_KINDS: Final = {
    PACK_GONE: (
        "remove the rows of packs that are nowhere, so that nothing new relies on them",
        "nothing more: their bytes are gone; an object that comes back is given a row again",
    ),
    UNCLAIMED: ("give the objects a row", "nothing; gc then frees what nothing needs"),
    COPIES: ("make the copies anew from good ones", "nothing"),
    INDEX: ("make the block index anew from the packs", "nothing"),
}


class Mending:
    """One run over one store."""

    def __init__(self, stores: Stores, volume: Volume, work: Work) -> None:
        self._stores = stores
        self._volume = volume
        self._work = work

    def plan(self, findings: Sequence[Finding]) -> tuple[Planned, ...]:
        """What ``mend`` would do about these, and about the namespace as it is now."""
        self._work.check()
        namespace = any(finding.kind == NAMESPACE for finding in findings)
        planned = [_planned(mend) for mend in self._stores.upkeep.plan()] if namespace else []
        for kind, (does, loses) in _KINDS.items():
            found = [finding for finding in findings if finding.kind == kind]
            count = len(found)
            if kind == PACK_GONE and found and not self._is_there():
                continue
            if kind == COPIES and self._stores.copies is not None:
                count = max(count, self._stores.copies.waiting())
            if count:
                examples = tuple(_example(finding) for finding in found[:_EXAMPLES])
                planned.append(Planned(kind=kind, count=count, does=does, loses=loses, examples=examples))
        return tuple(planned)

    def _is_there(self) -> bool:
        """A disk that is not mounted looks like one that is empty."""
        try:
            self._stores.target.head(_STORE)
        except GravitonError:
            return False
        return True

    def mend(
        self, findings: Sequence[Finding], planned: Sequence[Planned], agreed: Collection[str] | None
    ) -> list[str]:
        """Sentences on what was done. ``agreed``: of these kinds alone."""
        counts = {one.kind: one.count for one in planned if agreed is None or one.kind in agreed}
        names = {kind: count for kind, count in counts.items() if kind not in _KINDS}
        done: list[str] = []
        if names:
            wanted = sum(names.values()) + _SPARE
            fresh = [Ino(ino) for ino in self._volume.namespace.grant(wanted)]
            done += self._stores.upkeep.mend(tuple(names), fresh)
        for kind in _KINDS:
            self._work.check()
            if kind in counts:
                done += self._mend(kind, [finding for finding in findings if finding.kind == kind])
        for sentence in done:
            log.warning("fsck has repaired: %s", sentence)
        return done

    def _mend(self, kind: str, findings: Sequence[Finding]) -> list[str]:
        if kind == PACK_GONE:
            gone = sum(self._remove(PackNumber(finding.pack)) for finding in findings)
            return [f"the rows of {gone} packs that are nowhere are removed"] if gone else []
        if kind == UNCLAIMED:
            stores, keys = self._stores, [finding.key for finding in findings]
            adopted = adopt(stores.packs, stores.target, stores.owner, keys)
            return [f"{adopted} packs that no row named have one again", self.rebuild()]
        if kind == COPIES and self._stores.copies is not None:
            self._work.tell(0, self._stores.copies.waiting(), "copies made anew")
            made = self._stores.copies.run(threading.Event())
            return [f"{made.made} copies are made anew"]
        return [self.rebuild()] if kind == INDEX else []

    def _remove(self, number: PackNumber) -> bool:
        """Nothing relies on it any more -> the index does not lead there -> the row goes."""
        packs = self._stores.packs
        row = packs.get(number)
        if row is None or row.state is not PackState.LIVE:
            return False
        if object_length(self._stores, row):
            return False  # it is there again
        packs.abandon(number)
        self._stores.blocks.forget_packs([number])
        if packs.deleting(number):
            packs.deleted(number)
        return True

    def rebuild(self) -> str:
        def progress(done: int, total: int) -> None:
            self._work.tell(done, total, "packs read into the index")

        count = self._stores.blocks.rebuild_index(progress)
        return f"the block index was made anew from the packs: {count} records"


def _planned(mend: Mend) -> Planned:
    return Planned(kind=mend.kind, count=mend.found, does=mend.does, loses=mend.loses, examples=mend.examples)


def _example(finding: Finding) -> str:
    return f"{finding.key or f'pack {finding.pack}'}: {finding.what}"
