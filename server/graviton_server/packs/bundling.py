"""Bundling: footers of many packs are put into few objects, so that an engine that knows nothing needs few
requests, and rows need not carry them for ever.

Order: the bundle on the target → the rows let go of footers (as far as every engine has read them); when
thin bundles are merged: the new one on the target → the old ones go. Stopped anywhere, something is
merely there twice. Two engines at once do the same twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Final

from graviton_server.packs.bundle import (
    HEADER_SIZE,
    PACK_SIZE,
    PREFIX,
    Bundle,
    Layout,
    encode_bundle,
    new_key,
)
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import Records, pack_key
from gravitonfs.core.ids import NO_PACK
from gravitonfs.errors import Damaged, FormatError, NotFound
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.target import Target

_log = logging.getLogger(__name__)

FULL: Final = 1024
"""Packs of a bundle, at most."""
LEAST: Final = 64
"""Fewer stay with their rows."""
THIN: Final = FULL // 2
MERGE_AT: Final = 8
"""So many bundles with under ``THIN`` packs alive are merged."""
_PAGE: Final = 256
_DIRECTORY: Final = HEADER_SIZE + FULL * PACK_SIZE


class Bundling:
    """Run by one thread at a time. ``_bundles``: by key, the packs that each has."""

    def __init__(self, target: Target, registry: PackRegistry, catalog: Catalog, store_uuid: bytes) -> None:
        self._target = target
        self._registry = registry
        self._catalog = catalog
        self._store = store_uuid
        self._bundles: dict[str, list[bytes]] = {}
        self._carried: set[bytes] | None = None
        """Packs in bundles whose rows may still carry the footer; None: not known yet."""

    def run(self, least: int = LEAST) -> int:
        """How many packs were bundled."""
        live = {row.uuid: row for row in _rows(self._registry) if row.state is PackState.LIVE and row.length}
        self._look(live)
        covered = {uuid for uuids in self._bundles.values() for uuid in uuids}
        fresh = [row for uuid, row in live.items() if uuid not in covered]
        done = 0
        while len(fresh) - done >= least:
            done += self._put(self._records_of(fresh[done : done + FULL]), fresh[done : done + FULL])
        self._merge(live)
        self._shed(live)
        return done

    def _look(self, live: dict[bytes, PackRow]) -> None:
        """Which bundles there are, and what is in those that were made elsewhere."""
        keys = [item.key for item in self._target.list(PREFIX)]
        self._bundles = {key: uuids for key, uuids in self._bundles.items() if key in keys}
        for key in keys:
            if key in self._bundles:
                continue
            try:
                head = self._target.get(key, 0, _DIRECTORY)
                layout = Layout(head)
                if layout.directory_end > _DIRECTORY:
                    head = self._target.get(key, 0, layout.directory_end)
                self._bundles[key] = [pack.uuid for pack in layout.packs(head)]
            except (Damaged, FormatError, NotFound) as error:
                _log.warning("%s is not used: %s", key, error)
        if self._carried is None:
            self._carried = {uuid for uuids in self._bundles.values() for uuid in uuids} & live.keys()

    def _records_of(self, rows: Sequence[PackRow]) -> Iterator[tuple[bytes, int, Records]]:
        for start in range(0, len(rows), _PAGE):
            page = rows[start : start + _PAGE]
            carried = self._registry.footers([row.number for row in page])
            for row in page:
                try:
                    footer = carried.get(row.number)
                    records = (
                        Records.decode(footer)
                        if footer
                        else self._catalog.footers.get(pack_key(row.uuid), row.length)
                    )
                except (NotFound, Damaged) as error:
                    _log.warning("the footer of pack %d is not bundled: %s", row.number, error)
                    continue
                yield row.uuid, row.length, records

    def _put(self, packs: Iterable[tuple[bytes, int, Records]], rows: Sequence[PackRow] = ()) -> int:
        """Store a bundle; how many rows are done with."""
        held = list(packs)
        if held:
            data = encode_bundle(self._store, held)
            key = new_key()
            self._target.put(key, BytesIO(data), len(data))
            self._bundles[key] = [uuid for uuid, _, _ in held]
            if self._carried is not None:
                self._carried.update(self._bundles[key])
        return len(rows)

    def _merge(self, live: dict[bytes, PackRow]) -> None:
        thin = [key for key, uuids in self._bundles.items() if sum(uuid in live for uuid in uuids) < THIN]
        if len(thin) < MERGE_AT:
            return
        seen: set[bytes] = set()
        gathered: list[tuple[bytes, int, Records]] = []
        merged: list[str] = []
        for key in thin:
            try:
                data = self._target.get(key, 0, self._target.head(key).length)
                Layout(data).verify(data, self._store)
                bundle = Bundle(data)
            except (Damaged, FormatError, NotFound) as error:
                _log.warning("%s is not merged: %s", key, error)
                continue
            merged.append(key)
            for pack in bundle.packs:
                if pack.uuid in live and pack.uuid not in seen:
                    seen.add(pack.uuid)
                    gathered.append((pack.uuid, pack.length, bundle.of(pack)))
        for start in range(0, len(gathered), FULL):
            self._put(gathered[start : start + FULL])
        for key in merged:
            self._target.delete(key)
            del self._bundles[key]

    def _shed(self, live: dict[bytes, PackRow]) -> None:
        """Rows let go of footers that are in bundles; what some engine has not read yet, next time."""
        waiting = [uuid for uuid in self._carried or () if uuid in live]
        for start in range(0, len(waiting), _PAGE):
            page = waiting[start : start + _PAGE]
            numbers = [live[uuid].number for uuid in page]
            self._registry.shed_footers(numbers)
            left = self._registry.footers(numbers)
            if self._carried is not None:
                self._carried -= {uuid for uuid in page if live[uuid].number not in left}


def _rows(registry: PackRegistry) -> Iterator[PackRow]:
    after = NO_PACK
    while page := registry.rows(after, 4096):
        yield from page
        after = page[-1].number
