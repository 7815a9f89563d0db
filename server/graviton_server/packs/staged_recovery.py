"""What a start does where packs go up whole: finish or give up what a dead engine of this name had begun.

Nothing that a file names is in a pack that was never live, so giving up loses nothing; but what is still
in a staged file is worth keeping: whoever wrote it will most likely write it again.
"""

from __future__ import annotations

import logging
from io import BytesIO

from graviton_server.index import COMPLETE, BlockIndex
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.footers import read_trailer
from graviton_server.packs.format import TRAILER_SIZE, Records, decode_trailer, pack_key
from graviton_server.packs.recovery import Recovery, RecoveryReport, seal_scanned
from graviton_server.packs.staging import StagingTarget
from gravitonfs.errors import Damaged, GravitonError, NotFound
from gravitonfs.ports.packs import PackRegistry, PackRow, PackState
from gravitonfs.ports.target import copies_of

_log = logging.getLogger(__name__)


class StagedRecovery(Recovery):
    """``unindexed``, after ``run``: live packs that the index does not know yet; they are read in the
    background. ``stale``: marks of packs that are gone."""

    def __init__(
        self,
        target: StagingTarget,
        index: BlockIndex,
        registry: PackRegistry,
        catalog: Catalog,
        *,
        owner: str,
        block_key: bytes,
    ) -> None:
        super().__init__(target, index, registry, catalog, owner=owner, block_key=block_key)
        self._staging = target
        self.unindexed: list[PackRow] = []
        self.stale: dict[bytes, int] = {}

    def run(self) -> RecoveryReport:
        marks = self._index.marks()
        left = set(self._staging.left())
        for row in self.rows():
            mark = marks.pop(row.uuid, None)
            if row.state is PackState.STORING and row.owner == self._owner:
                self._take_over(row, left)
            elif row.state is PackState.LIVE and row.length:
                if mark is None or mark.number != row.number or mark.through != COMPLETE:
                    self.unindexed.append(row)
            elif mark is not None and mark.through:
                self.stale[row.uuid] = mark.number
        for uuid, mark in marks.items():  # no row any more
            if mark.through:
                self.stale[uuid] = mark.number
            else:
                self._index.unmark(uuid)
        for key in left:
            self._staging.discard(key)  # its row was given up
        return self.report

    def _take_over(self, row: PackRow, left: set[str]) -> None:
        """Order as in writing: the object, then the row; then the index and the end of the local file."""
        key = pack_key(row.uuid)
        try:
            found = self._finished(key) if key in left else self._uploaded(key)
            if found is not None:
                length, records, footer = found
                if self._registry.publish(row.number, length, len(records), footer):
                    self._enter(row, records, COMPLETE)
                    self.report.adopted += 1
                    left.add(key)
                    return
            self._registry.abandon(row.number)
            self.report.abandoned += 1
            self._index.unmark(row.uuid)
        except GravitonError as error:
            _log.warning("pack %d stays unfinished until the next start: %s", row.number, error)
            left.discard(key)

    def _finished(self, key: str) -> tuple[int, Records, bytes] | None:
        """Seal what is good in a staged file, and store it. None when there is nothing."""
        data = self._read(key)
        trailer = decode_trailer(data[-TRAILER_SIZE:], len(data))
        if trailer is not None:
            footer = data[trailer.footer_offset :][: trailer.footer_length]
            records = Records.decode(footer)
        else:
            scanned = self._scan_data(data)
            records = scanned.records
            if not len(records):
                return None
            data, footer = seal_scanned(data[: scanned.end], records)
        self._staging.put(key, BytesIO(data), len(data))
        return len(data), records, footer

    def _everywhere(self, key: str) -> tuple[int, Records, bytes] | None:
        """It may have come to one target of several: now to all of them, before anything relies on it."""
        data = self._read(key)
        scanned = self._scan_data(data)
        trailer = decode_trailer(data[-TRAILER_SIZE:], len(data))
        if trailer is None or scanned.skipped:
            return None
        self._staging.put(key, BytesIO(data), len(data))
        footer = data[trailer.footer_offset :][: trailer.footer_length]
        return len(data), Records.decode(footer), footer

    def _uploaded(self, key: str) -> tuple[int, Records, bytes] | None:
        """The object went up, and only its row was not told."""
        try:
            length, trailer = read_trailer(self._target, key)
            if trailer is None:
                return None
            if copies_of(self._target, key):
                return self._everywhere(key)
            footer = bytes(memoryview(self._target.get(key, trailer.footer_offset, trailer.footer_length)))
            return length, Records.decode(footer), footer
        except (NotFound, Damaged):
            return None
