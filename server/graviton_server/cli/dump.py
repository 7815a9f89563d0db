"""graviton dump."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec
from typing_extensions import Buffer

from graviton_server.cli import output, places
from graviton_server.cli.opening import reach
from graviton_server.cli.params import DATA, FILE
from graviton_server.control.calls import Sink
from graviton_server.control.requests import Dump
from graviton_server.maintenance.reports import Dumped
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.units import format_size
from gravitonfs.errors import IsADirectory, NotFound


@click.command()
@click.argument("source", metavar="DATA", type=DATA)
@click.argument("file", type=FILE, default="-")
@output.json_option
def dump(source: str, file: str, as_json: bool) -> None:
    """Write a backup of all names to FILE ('-', the default: standard output), at one moment.

    With the packs in DATA it is everything: names, attributes and which blocks hold which bytes, as
    compressed text that proves itself whole. The volume may be in use meanwhile. 'graviton load' makes a
    volume of it.
    """
    data = places.source_of(source)
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


def _dump(data: Path, sink: Sink) -> Dumped:
    with reach(data, "dump") as caller, output.progress("dump", "bytes") as on_event:
        return caller.call(Dump(), sink=sink, on_event=on_event)


def _dump_to(data: Path, path: Path) -> Dumped:
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
