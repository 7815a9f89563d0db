"""``graviton dump`` of dumps that stay with the volume: --keep, --list, --drop."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import reach_source
from graviton_server.control.requests import BackUp, DropDump, KeepDump, ListDumps
from graviton_server.maintenance.reports import DroppedDump, KeptDump
from gravitonfs.core.units import format_size


def keep(source: str, name: str, *, as_json: bool) -> None:
    with reach_source(source, "dump") as caller, output.progress("dump", "bytes") as on_event:
        report = caller.call(KeepDump(name=name), on_event=on_event)
    if as_json:
        output.print_json({"name": name} | msgspec.to_builtins(report))
    else:
        output.line(
            f"{name}: {format_size(report.bytes)}, {report.lines} lines of names, kept with the volume"
        )


def back_up(source: str, *, as_json: bool) -> None:
    with reach_source(source, "dump") as caller, output.progress("dump", "bytes") as on_event:
        report = caller.call(BackUp(), on_event=on_event)
    if as_json:
        output.print_json(msgspec.to_builtins(report))
    else:
        output.line(
            f"{report.dump}: {format_size(report.bytes)}, of them {format_size(report.new_bytes)} new,"
            f" {report.lines} lines of names, on the targets"
        )


def list_(source: str, *, as_json: bool) -> None:
    with reach_source(source, "dump") as caller:
        found = caller.call(ListDumps())
    if as_json:
        output.print_json(msgspec.to_builtins(found))
    elif not found:
        output.say("no dump is kept")
    else:
        titles = ("name", "made", "size", "holds", "engine")
        output.rows([titles] + [_row(one) for one in found], right=(2, 3))


def _row(dump: KeptDump) -> tuple[str, ...]:
    made = "" if dump.made is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(dump.made))
    size = "" if dump.bytes is None else format_size(dump.bytes)
    held = "" if dump.pack_bytes is None else format_size(dump.pack_bytes)
    return dump.name, made, size, held, dump.owner


def drop(source: str, name: str, owner: str | None, *, sure: bool, dry_run: bool, as_json: bool) -> None:
    """Tells what it would free, and asks, unless ``sure``."""
    asks = not (sure or dry_run)
    if asks and not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: give --yes, or --dry-run to see what it would free")
    with reach_source(source, "dump") as caller, output.progress("dump", "") as on_event:
        if asks:
            would = caller.call(DropDump(name=name, owner=owner, dry_run=True), on_event=on_event)
            output.say(f"without dump {name}, {_told(would)} would be freed")
            if not click.confirm(f"Drop {name}?", err=True):
                output.say(f"dump {name} stays")
                raise click.exceptions.Exit(1)
        report = caller.call(DropDump(name=name, owner=owner, dry_run=dry_run), on_event=on_event)
    if as_json:
        output.print_json({"dry_run": dry_run} | msgspec.to_builtins(report))
    elif dry_run:
        output.line(f"without dump {name}, {_told(report)} would be freed")
    else:
        output.line(f"dump {name} is dropped; {_told(report)} are freed by the next collections")


def _told(report: DroppedDump) -> str:
    return f"{format_size(report.freed_bytes)} in {report.packs} packs that nothing else needs, and others"
