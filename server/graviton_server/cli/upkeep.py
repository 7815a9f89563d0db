"""graviton gc, fsck, scrub."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, SIZE
from graviton_server.control.requests import Check, Collect, Scrub
from graviton_server.maintenance.reports import Finding
from gravitonfs.core.units import format_size

DAMAGE = 3


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what would be freed.")
@click.option("--empty-trash", is_flag=True, help="First erase what was removed and is still kept.")
@output.json_option
def gc(source: str, dry_run: bool, empty_trash: bool, as_json: bool) -> None:
    """Give back the space of what was removed, now.

    It happens by itself while 'up' or 'mount' runs; the volume may be in use meanwhile.
    """
    with reach_source(source, "gc") as caller, output.progress("gc", "") as on_event:
        report = caller.call(Collect(dry_run=dry_run, empty_trash=empty_trash), on_event=on_event)
    if as_json:
        output.print_json(msgspec.to_builtins(report))
        return
    would = "would be " if dry_run else ""
    if report.erased:
        output.line(f"{report.erased} files and trees {would}erased from the trash")
    output.line(f"{format_size(report.freed_bytes)} {would}freed; {report.condemned} packs {would}given up")
    if report.compacted:
        moved = format_size(report.moved_bytes)
        output.line(f"{report.compacted} packs compacted, {moved} of them still in use and moved")
    if report.missing:
        output.line(f"{report.missing} blocks that files name are in no pack: run graviton fsck {source}")


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.option("--read-data", is_flag=True, help="Also read and verify every block.")
@click.option("--rebuild-index", is_flag=True, help="First make the block index anew from the packs.")
@click.option("--repair", is_flag=True, help="Put right what can be without losing anything.")
@click.option(
    "--after-restore",
    is_flag=True,
    help="The database was put back from a backup: keep old processes away, make the index anew, repair."
    " Before any daemon is started.",
)
@output.json_option
def fsck(
    source: str, read_data: bool, rebuild_index: bool, repair: bool, after_restore: bool, as_json: bool
) -> None:
    """Check a volume: is everything there that its names name, and is it what it should be?

    Ends with status 3 when something is damaged, and names the files and the ranges of their bytes that
    cannot be read. The volume may be in use meanwhile.
    """
    request = Check(
        read_data=read_data, rebuild_index=rebuild_index, repair=repair, after_restore=after_restore
    )
    with reach_source(source, "fsck") as caller, output.progress("fsck", "") as on_event:
        report = caller.call(request, on_event=on_event)
    if as_json:
        output.print_json({"clean": report.clean} | msgspec.to_builtins(report))
    else:
        _print_findings(report.findings)
        if report.more_findings:
            output.line(f"... and {report.more_findings} more")
        for sentence in report.repaired:
            output.line(f"repaired: {sentence}")
        read = f", {format_size(report.bytes_read)} read" if report.bytes_read else ""
        verdict = "clean" if report.clean else "damaged"
        output.line(f"{verdict}: {report.inodes} inodes, {report.blocks} blocks, {report.packs} packs{read}")
    _end(report.clean)


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.option("--bytes-per-second", type=SIZE, default="0", help="At most so many (default: no limit).")
@output.json_option
def scrub(source: str, bytes_per_second: int, as_json: bool) -> None:
    """Read and verify all that is stored.

    Ends with status 3 when something is damaged. A run that was interrupted is continued by the next.
    """
    request = Scrub(bytes_per_second=bytes_per_second)
    with reach_source(source, "scrub") as caller, output.progress("scrub", "") as on_event:
        report = caller.call(request, on_event=on_event)
    if as_json:
        output.print_json({"clean": report.clean} | msgspec.to_builtins(report))
    else:
        _print_findings(report.findings)
        verdict = "clean" if report.clean else "damaged"
        output.line(
            f"{verdict}: {report.packs} packs, {report.blocks} blocks, {format_size(report.bytes_read)} read"
        )
    _end(report.clean)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        where = f"{finding.path}: " if finding.path else ""
        ranges = ", ".join(f"bytes {start} to {end}" for start, end in finding.ranges)
        which = f" ({ranges or finding.key})" if ranges or finding.key else ""
        output.line(f"{finding.kind}: {where}{finding.what}{which}")


def _end(clean: bool) -> None:
    if not clean:
        click.get_current_context().exit(DAMAGE)
