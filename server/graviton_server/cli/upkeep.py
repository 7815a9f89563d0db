"""graviton gc, fsck, scrub."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, SIZE
from graviton_server.control.requests import Check, Collect, Scrub
from graviton_server.maintenance.reports import Checked, Finding, Planned
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
@click.option("--repair", is_flag=True, help="Put right what can be, after saying what that is.")
@click.option("-y", "--yes", is_flag=True, help="With --repair: without asking.")
@click.option("-n", "--dry-run", is_flag=True, help="With --repair: only say what would be done.")
@click.option(
    "--after-restore",
    is_flag=True,
    help="The database was put back from a backup: keep old processes away, make the index anew, repair what"
    " nothing is lost by. Before any daemon is started.",
)
@output.json_option
def fsck(
    source: str,
    read_data: bool,
    rebuild_index: bool,
    repair: bool,
    yes: bool,
    dry_run: bool,
    after_restore: bool,
    as_json: bool,
) -> None:
    """Check a volume: is everything there that its names name, and is it what it should be?

    Names the files and the ranges of their bytes that cannot be read. The volume may be in use meanwhile.
    --repair says what it would do about each kind of damage, and what would be lost by it, and asks.

    Ends with status 0 when nothing is damaged, or nothing is any more after a repair, and with 3 when damage
    is left.
    """
    if (yes or dry_run) and not repair:
        raise click.UsageError("--yes and --dry-run go with --repair")
    if repair and not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError(
            "--repair asks before it does anything: give --yes, or --dry-run to see the plan"
        )
    with reach_source(source, "fsck") as caller:
        with output.progress("fsck", "") as on_event:
            request = Check(read_data=read_data, rebuild_index=rebuild_index, after_restore=after_restore)
            report = caller.call(request, on_event=on_event)
        if repair and report.plan and not as_json:
            _print_findings(report.findings)
            _print_plan(report.plan)
        if repair and report.plan and not dry_run and (yes or _is_agreed()):
            agreed = [planned.kind for planned in report.plan]
            with output.progress("repair", "") as on_event:
                request = Check(read_data=read_data, repair=True, agreed=agreed)
                report = caller.call(request, on_event=on_event)
    if as_json:
        output.print_json({"clean": report.clean} | msgspec.to_builtins(report))
    else:
        _print_checked(report, planned=repair)
    _end(report.clean)


def _is_agreed() -> bool:
    return click.confirm("Do all of this?", default=False, err=True)


def _print_plan(plan: Sequence[Planned]) -> None:
    for planned in plan:
        output.line(
            f"to repair {planned.count} of {planned.kind}: {planned.does}; lost by it: {planned.loses}"
        )
        for example in planned.examples:
            output.line(f"    {example}")


def _print_checked(report: Checked, *, planned: bool) -> None:
    if not (planned and report.plan and not report.repaired):  # else they were told with the plan
        _print_findings(report.findings)
    if report.more_findings:
        output.line(f"... and {report.more_findings} more")
    for sentence in report.repaired:
        output.line(f"repaired: {sentence}")
    if report.plan and not planned:
        output.line(f"{len(report.plan)} kinds of it can be repaired: fsck --repair says how, and asks")
    read = f", {format_size(report.bytes_read)} read" if report.bytes_read else ""
    verdict = "clean" if report.clean else "damaged"
    output.line(f"{verdict}: {report.inodes} inodes, {report.blocks} blocks, {report.packs} packs{read}")


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
