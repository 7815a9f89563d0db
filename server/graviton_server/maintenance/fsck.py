"""``graviton fsck``: is everything there that the namespace names, and is it what it should be?"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from graviton_server.maintenance.damage import damaged_files
from graviton_server.maintenance.mark import Mark, pack_rows
from graviton_server.maintenance.marking import mark_live
from graviton_server.maintenance.mending import Mending
from graviton_server.maintenance.objects import check_objects, object_length, unclaimed_finding
from graviton_server.maintenance.reports import Checked, Finding
from graviton_server.maintenance.scrub import check_loose, check_pack
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.packs import PackState

FINDINGS_MAX: Final = 10_000


class Findings:
    """Bounded: beyond ``FINDINGS_MAX`` they are only counted."""

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self.more = 0

    def add(self, finding: Finding) -> None:
        if len(self.listed) < FINDINGS_MAX:
            self.listed.append(finding)
        elif finding.is_damage:
            self.more += 1

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.add(finding)


def check(
    stores: Stores,
    volume: Volume,
    work: Work,
    *,
    read_data: bool = False,
    rebuild_index: bool = False,
    repair: bool = False,
    agreed: Collection[str] | None = None,
    harmless: bool = False,
) -> Checked:
    """Everything that can be checked without reading the data; with ``read_data`` that, too.

    ``repair``: first what can be put right is, of the kinds that were ``agreed`` on (None: all;
    ``harmless``: those by which nothing is lost); what is found after that is told.
    """
    began = time.monotonic()
    mending = Mending(stores, volume, work)
    repaired = [mending.rebuild()] if rebuild_index else []
    if repair:
        before = _Check(stores, volume, work).run(read_data=False)
        if harmless:
            agreed = [planned.kind for planned in before.plan if planned.loses.startswith("nothing")]
        repaired += mending.mend(before.findings, before.plan, agreed)
    found = _Check(stores, volume, work).run(read_data)
    return msgspec.structs.replace(found, repaired=tuple(repaired), seconds=time.monotonic() - began)


class _Check:
    def __init__(self, stores: Stores, volume: Volume, work: Work) -> None:
        self._stores = stores
        self._volume = volume
        self._work = work
        self._findings = Findings()
        self._bad: set[BlockId] = set()
        self._bytes_read = 0
        self._packs = 0

    def run(self, read_data: bool) -> Checked:
        inodes = self._check_namespace()
        self._check_packs()
        mark = mark_live(self._stores, self._work)
        self._judge(mark)
        if read_data:
            self._read_all(mark)
        self._findings.extend(damaged_files(self._stores.upkeep, self._volume, self._bad, self._work))
        listed = tuple(self._findings.listed)
        return Checked(
            findings=listed,
            more_findings=self._findings.more,
            inodes=inodes,
            extents=mark.extents,
            blocks=mark.live_blocks,
            packs=self._packs,
            bytes_read=self._bytes_read,
            plan=Mending(self._stores, self._volume, self._work).plan(listed),
        )

    def _check_namespace(self) -> int:
        inodes = self._volume.namespace.usage().inodes
        self._work.tell(0, inodes, "inodes checked")
        for problem in self._stores.upkeep.check():
            self._work.check()
            path = ""
            if problem.ino:
                path = self._stores.upkeep.path(problem.ino).decode("utf-8", "backslashreplace")
            self._findings.add(Finding(kind="namespace", what=problem.what, path=path, ino=problem.ino))
        return inodes

    def _check_packs(self) -> None:
        findings, unclaimed = check_objects(self._stores)
        self._findings.extend(findings)
        self._findings.extend(map(unclaimed_finding, unclaimed))
        self._packs = sum(1 for row in pack_rows(self._stores) if row.state is PackState.LIVE)

    def _judge(self, mark: Mark) -> None:
        """What the mark could not find, and blocks that are smaller than files think."""
        for block, hint in mark.missing.items():
            what = "a block that files name is in no pack"
            self._findings.add(Finding(kind="block-missing", what=what, block=block.hex(), pack=hint))
        astray = self._astray(mark)
        if astray:
            packs = ", ".join(map(str, sorted(set(astray.values()))[:10]))
            what = (
                f"the index lacks {len(astray)} blocks that are in packs {packs}:"
                " run graviton fsck --rebuild-index"
            )
            self._findings.add(Finding(kind="index", what=what))
        for block in mark.short:
            what = "files want more bytes of a block than it has"
            self._findings.add(Finding(kind="block-damaged", what=what, block=block.hex()))
        self._bad.update(mark.missing, mark.short)
        self._read_each(mark.doubtful)

    def _astray(self, mark: Mark) -> dict[BlockId, PackNumber]:
        """But for those of which compaction has made copies that wait for their target: it leads there."""
        places = self._stores.blocks.locate(list(mark.astray))
        coming = {row.number for row in pack_rows(self._stores) if row.state is PackState.STORING}
        return {
            block: pack
            for (block, pack), place in zip(mark.astray.items(), places, strict=True)
            if place is None or place.pack not in coming
        }

    def _read_each(self, blocks: dict[BlockId, PackNumber]) -> None:
        """Blocks of a pack that is gone or lost its footer: some can be read all the same."""
        for count, (block, pack) in enumerate(blocks.items()):
            self._work.tell(count, len(blocks), "blocks of damaged packs tried")
            try:
                for plain in self._stores.blocks.get([(block, pack)]):
                    self._bytes_read += memoryview(plain).nbytes
            except Damaged:
                self._bad.add(block)

    def _read_all(self, mark: Mark) -> None:
        """Blocks that nothing needs may be damaged: their pack is told, files are not."""
        rows = [row for row in pack_rows(self._stores) if row.state is PackState.LIVE]
        total = sum(row.length for row in rows)
        done = 0
        damaged: set[BlockId] = set()
        for row in rows:
            self._work.tell(done, total, "bytes verified")
            found: list[Finding] = []
            check_pack(self._stores, row, found, damaged)
            self._findings.extend(found)
            size = row.length or object_length(self._stores, row)
            done += size
            self._work.spend(size)
        check_loose(self._stores, damaged)
        self._bytes_read += done + self._stores.loose.loose_bytes()
        self._read_each({block: PackNumber(0) for block in damaged - self._bad})
