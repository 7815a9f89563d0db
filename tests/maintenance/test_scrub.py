"""Scrubbing reads everything, tells what is damaged, and goes on where it was stopped."""

from __future__ import annotations

import time

import pytest

from graviton_server.maintenance.scrub import saved_position
from graviton_server.maintenance.work import Stopped, Work
from maintenance.rig import MIB, Rig, noise
from maintenance.test_fsck import files_of, flip, place


def test_scrub_reads_all_and_finds_nothing_wrong(rig: Rig) -> None:
    rig.put("file", noise(6 * MIB, 1))
    rig.put("small", b"in the database")
    rig.reopen()
    report = rig.maintenance.scrub()
    assert report.clean
    assert report.complete
    assert report.bytes_read >= 6 * MIB


def test_scrub_names_files_with_damaged_blocks(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.put("file", noise(6 * MIB, 2))
    rig.reopen()
    extent = place(rig, "file", MIB)
    flip(rig, extent.block)
    report = rig.maintenance.scrub()
    assert not report.clean
    assert files_of(report.findings) == {"/file": ((extent.offset, extent.end),)}


def test_stopped_scrub_goes_on_where_it_was(rig: Rig) -> None:
    rig.put("file", noise(12 * MIB, 3))
    rig.reopen()
    total = sum(row.length for row in rig.packs())
    stop = Work()

    def after_half(done: int, of: int, what: str) -> None:
        if done > of // 2:
            stop.cancelled.set()

    stop._progress = after_half
    with pytest.raises(Stopped):
        rig.maintenance.scrub(stop)
    assert saved_position(rig.volume) > 0
    rig.reopen()
    report = rig.maintenance.scrub()
    assert report.complete
    assert 0 < report.bytes_read < total * 2 // 3
    assert saved_position(rig.volume) == 0


def test_scrub_keeps_to_its_rate(rig: Rig) -> None:
    rig.put("file", noise(8 * MIB, 4))
    rig.reopen()
    began = time.monotonic()
    rig.maintenance.scrub(Work(bytes_per_second=8 * MIB))
    assert time.monotonic() - began > 0.5
