"""What a start does: finish packs that a dead process left open, and bring the index up to date."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Final

import msgspec

from graviton_server.index import COMPLETE, BlockIndex, Entry, Location, PackMark
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.footers import read_trailer
from graviton_server.packs.format import HEADER_SIZE, Records, decode_header, encode_trailer, pack_key
from graviton_server.packs.scan import Scanned, scan_all
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, NoSpace, NotFound
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.target import Target

_log = logging.getLogger(__name__)

_SERVING: Final = (PackState.LIVE, PackState.STORING)
_PAGE: Final = 4096


class RecoveryReport(msgspec.Struct):
    """Packs sealed, abandoned (nothing was in them), adopted (their rows were lost with a commit that
    never happened), missing from the target; records put into the index; bytes skipped as no record,
    and the blocks whose payload is damaged."""

    sealed: int = 0
    abandoned: int = 0
    adopted: int = 0
    missing: int = 0
    replayed: int = 0
    skipped_bytes: int = 0
    damaged: list[BlockId] = []


class Recovery:
    def __init__(
        self,
        target: Target,
        index: BlockIndex,
        registry: PackRegistry,
        catalog: Catalog,
        *,
        owner: str,
        block_key: bytes,
    ) -> None:
        self._target = target
        self._index = index
        self._registry = registry
        self._catalog = catalog
        self._owner = owner
        self._block_key = block_key
        self.report = RecoveryReport()

    def run(self) -> RecoveryReport:
        marks = self._index.marks()
        if not marks:
            first = self._registry.rows(limit=1)
            if first:
                _log.warning("the block index is empty: reading the footers of all packs")
        rows = list(self.rows())
        numbers = {row.uuid: row.number for row in rows}
        stale = {uuid: mark for uuid, mark in marks.items() if numbers.get(uuid) != mark.number}
        if stale:
            self._purge(stale)
            self._adopt([uuid for uuid in stale if uuid not in numbers])
            marks = self._index.marks()
        for row in rows:
            mark = marks.get(row.uuid)
            self._bring_up(row, mark if mark is not None and mark.number == row.number else None)
        return self.report

    def rows(self) -> Iterator[PackRow]:
        after = NO_PACK
        while page := self._registry.rows(after, _PAGE):
            yield from page
            after = page[-1].number

    def _bring_up(self, row: PackRow, mark: PackMark | None) -> None:
        if row.state not in _SERVING:
            if mark is not None and mark.through:
                self._catalog.forget(row.number)
            elif mark is not None:  # no entries have come with it
                self._index.unmark(row.uuid)
            return
        if row.length == 0:
            if row.owner == self._owner:
                self._finish(row)
        elif mark is None or mark.through != COMPLETE:
            self.replay(row, mark.through if mark else 0)

    # --- sealed packs ---

    def replay(self, row: PackRow, through: int = 0) -> None:
        """Put a sealed pack's records behind ``through`` into the index."""
        key = pack_key(row.uuid)
        try:
            try:
                records = self._catalog.footers.get(key, row.length)
            except Damaged as error:
                _log.error("%s; its records are read one by one", error)
                records = self._scan(key).records
        except NotFound:
            _log.error("pack %d (%s) is missing from its target", row.number, key)
            self.report.missing += 1
            return
        self._enter(row, records, COMPLETE, through)

    def _enter(self, row: PackRow, records: Records, mark: int, through: int = 0) -> None:
        fresh = [entry for entry in entries(row.number, records) if entry[1].offset >= through]
        self._index.write(row.uuid, PackMark(row.number, mark), fresh)
        self.report.replayed += len(fresh)

    def _scan(self, key: str) -> Scanned:
        return self._scan_data(self._read(key))

    def _read(self, key: str) -> bytes:
        return bytes(self._target.get(key, 0, self._target.head(key).length))

    def _scan_data(self, data: bytes) -> Scanned:
        scanned = scan_all(data, self._block_key)
        self.report.skipped_bytes += scanned.skipped
        self.report.damaged += scanned.damaged
        return scanned

    # --- packs left open ---

    def _finish(self, row: PackRow) -> None:
        """Seal what is good in a pack that was open when its process died."""
        key = pack_key(row.uuid)
        try:
            length, trailer = read_trailer(self._target, key)
        except NotFound:
            self._abandon(row)
            return
        if trailer is not None:  # only its row was not told
            records = self._catalog.footers.get(key)
            footer = bytes(self._target.get(key, trailer.footer_offset, trailer.footer_length))
            self._sealed(row, length, records, footer)
            return
        data = self._read(key)
        scanned = self._scan_data(data)
        if not len(scanned.records) and not scanned.damaged:
            self._abandon(row)
            return
        try:
            decode_header(data)
        except Damaged as error:
            _log.error("pack %d (%s): %s", row.number, key, error)
        if scanned.skipped:
            _log.error("pack %d (%s): %d damaged bytes are skipped", row.number, key, scanned.skipped)
        try:
            sealed, footer = seal_scanned(data[: scanned.end], scanned.records)
            self._target.put(key, BytesIO(sealed), len(sealed))
        except NoSpace as error:
            _log.warning("pack %d stays unsealed until the next start: %s", row.number, error)
            self._enter(row, scanned.records, 0)
            return
        self._sealed(row, len(sealed), scanned.records, footer)

    def _sealed(self, row: PackRow, length: int, records: Records, footer: bytes) -> None:
        self._registry.sealed(row.number, length, len(records), footer)
        self._enter(row, records, COMPLETE)
        self.report.sealed += 1

    def _abandon(self, row: PackRow) -> None:
        self._registry.abandon(row.number)
        # The mark stays until a later start sees that the row's state has been committed.
        self._index.write(row.uuid, PackMark(row.number, 0), ())
        self.report.abandoned += 1

    # --- packs without a row ---

    def _purge(self, stale: dict[bytes, PackMark]) -> None:
        """Remove the entries of packs that the index knows under a number that the database does not
        give them: deleted ones, or ones begun after the last commit before a crash."""
        numbers = set()
        unreadable = set()
        for uuid, mark in stale.items():
            if mark.through == 0:
                continue  # entries come with a later mark
            numbers.add(mark.number)
            try:
                records = self._catalog.footers.get(pack_key(uuid))
                self._index.forget(mark.number, map(records.id, range(len(records))))
            except (NotFound, Damaged):
                unreadable.add(mark.number)
        if unreadable:
            self._index.sweep(unreadable)
        for uuid, mark in self._index.marks().items():
            if mark.number in numbers and uuid not in stale:  # may have lost entries, too: read it again
                self._index.write(uuid, PackMark(mark.number, 0), ())

    def _adopt(self, uuids: list[bytes]) -> None:
        """Give packs without a row a new one, so that collection takes care of them; nothing relies on
        them. The mark of a pack goes only when there is no such pack."""
        for uuid in uuids:
            key = pack_key(uuid)
            try:
                self._target.head(key)
            except NotFound:
                self._index.unmark(uuid)
                continue
            # What a process that died had begun and nobody relied on yet: no cause for alarm.
            adopted = self._registry.begin(uuid, self._owner, PackState.LIVE)
            self._catalog.expect(adopted, uuid)
            row = self._registry.get(adopted)
            if row is not None:
                _log.info("pack %s had no row yet and is adopted as %d", key, adopted)
                self.report.adopted += 1
                self._finish(row)


def entries(number: PackNumber, records: Records) -> Iterator[Entry]:
    for at in range(len(records)):
        place = Location(
            number, records.offsets[at], records.stored[at], records.plain[at], records.codecs[at]
        )
        yield records.id(at), place


def seal_scanned(data: bytes, records: Records) -> tuple[bytes, bytes]:
    """The whole sealed pack, and its footer."""
    footer = records.encode()
    return data + footer + encode_trailer(len(data), footer, data[:HEADER_SIZE]), footer


def rebuild(recovery: Recovery, progress: Callable[[int, int], None] | None) -> int:
    """Read all sealed packs' footers into the index, which the caller has emptied; how many records."""
    rows = [row for row in recovery.rows() if row.state in _SERVING and row.length]
    for done, row in enumerate(rows):
        if progress is not None:
            progress(done, len(rows))
        recovery.replay(row)
    if progress is not None:
        progress(len(rows), len(rows))
    return recovery.report.replayed
