"""Quotas whose counting nobody ended: who had set them has died in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from graviton_server.maintenance.turns import turn
from graviton_server.maintenance.work import Work
from gravitonfs.core.ids import Ino

if TYPE_CHECKING:
    from graviton_server.maintenance.stores import Stores
    from gravitonfs.ports.store import SessionStore

_LOOK: Final = 60.0
"""Seconds. One that was ``counting`` a look ago is taken up: to count it twice does no harm but costs."""


class QuotaCounter:
    """One thread at a time."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._seen: frozenset[tuple[str, Ino]] = frozenset()

    def due(self) -> object:
        return int(time.monotonic() / _LOOK)

    def run(self, work: Work) -> str:
        """A sentence on what was done, or nothing."""
        found = frozenset(self._stores.counting())
        again, self._seen = sorted(found & self._seen), found
        if not again:
            return ""
        ended = 0
        with turn(self._stores.housekeeping, "quotas", work) as ours:
            for volume, directory in again if ours else ():
                work.check()
                self._stores.finish_count(volume, directory)
                ended += 1
        return f"{ended} quotas that somebody began to count are counted" if ended else ""


def quotas_being_counted(names: SessionStore) -> Iterator[tuple[str, Ino]]:
    for volume in names.volume_rows():
        for row in names.quotas.rows(volume.name):
            if row.counting:
                yield volume.name, row.directory
