"""graviton dump."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec
from typing_extensions import Buffer

from graviton_server.cli import keptdumps, output
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, FILE
from graviton_server.control.calls import Sink
from graviton_server.control.requests import Dump
from graviton_server.maintenance.reports import Dumped
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.units import format_size
from gravitonfs.errors import IsADirectory, NotFound


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.argument("file", type=FILE, required=False)
@click.option("--keep", metavar="NAME", help="Keep it with the volume, in place of writing FILE.")
@click.option(
    "--to-targets", is_flag=True, help="Put it on the targets, beside those that are made by the clock."
)
@click.option("--list", "listing", is_flag=True, help="List the dumps that are kept with the volume.")
@click.option("--drop", metavar="NAME", help="Drop a dump that is kept, and tell what that frees.")
@click.option(
    "--owner", metavar="ENGINE", help="Whose dump to drop, where several engines keep one of the name."
)
@click.option("-y", "--yes", is_flag=True, help="Drop without asking.")
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what dropping would free.")
@output.json_option
def dump(
    source: str,
    file: str | None,
    keep: str | None,
    to_targets: bool,
    listing: bool,
    drop: str | None,
    owner: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a backup of all names to FILE ('-', the default: standard output), at one moment.

    With the packs in DATA it is everything: names, attributes and which blocks hold which bytes, as
    compressed text that proves itself whole. The volume may be in use meanwhile. 'graviton load' makes a
    volume of it.

    A dump in FILE needs packs that a collection may take later. One that is kept with the volume (--keep)
    holds back all that it names, until it is dropped. So does one on the targets (--to-targets): 'graviton
    load' makes the store anew from them alone.
    """
    options = (("--keep", keep), ("--to-targets", to_targets), ("--list", listing), ("--drop", drop))
    wanted = [name for name, given in options if given]
    if len(wanted) > 1 or (wanted and file is not None):
        raise click.UsageError(f"{wanted[0]} stands alone: no FILE and none of the others with it")
    if drop is None and (owner is not None or yes or dry_run):
        raise click.UsageError("--owner, --yes and --dry-run go with --drop")
    if keep is not None:
        keptdumps.keep(source, keep, as_json=as_json)
    elif to_targets:
        keptdumps.back_up(source, as_json=as_json)
    elif listing:
        keptdumps.list_(source, as_json=as_json)
    elif drop is not None:
        keptdumps.drop(source, drop, owner, sure=yes, dry_run=dry_run, as_json=as_json)
    else:
        _write(source, file or "-", as_json=as_json)


def _write(data: str, file: str, *, as_json: bool) -> None:
    if file == "-":
        if sys.stdout.isatty():
            raise click.UsageError("a dump is no text for a terminal: give a FILE, or redirect it")
        if as_json:
            raise click.UsageError("--json needs a FILE for the dump itself")
        report = _dump(data, output.write)
        sys.stdout.buffer.flush()
        return
    report = _dump_to(data, Path(file))
    if as_json:
        output.print_json({"file": file} | msgspec.to_builtins(report))
    else:
        output.line(f"{file}: {format_size(report.bytes)}, {report.lines} lines of names")


def _dump(data: str, sink: Sink) -> Dumped:
    with reach_source(data, "dump") as caller, output.progress("dump", "bytes") as on_event:
        return caller.call(Dump(), sink=sink, on_event=on_event)


def _dump_to(data: str, path: Path) -> Dumped:
    """The file appears when it is whole and durable, not before."""
    if path.is_dir():
        raise IsADirectory(f"{path} is a directory: give the name of a file")
    if not path.parent.is_dir():
        raise NotFound(f"{path.parent} does not exist: make the directory first")
    draft = path.with_name(f".{path.name}.part")
    try:
        with open(draft, "wb") as file:

            def write(piece: Buffer) -> None:
                file.write(piece)

            report = _dump(data, write)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.absolute().parent)
    return report
