"""graviton load."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click
import msgspec

from graviton_server.cli import output, places
from graviton_server.cli.params import DATA, FILE
from gravitonfs.errors import Invalid

_PIECE = 1 << 20


@click.command()
@click.argument("data", type=DATA)
@click.argument("file", type=FILE, default="-")
@output.json_option
def load(data: str, file: str, as_json: bool) -> None:
    """Make a volume in DATA from the backup in FILE ('-', the default: standard input).

    DATA holds the packs, and no names: it is a copy of a volume's packs, or has lost its database.
    'graviton fsck DATA' then tells whether anything is missing.
    """
    from graviton_server.wiring import load_embedded

    path = places.source(data)
    if file == "-" and sys.stdin.isatty():
        raise click.UsageError("give the FILE of a dump, or redirect standard input")
    report = load_embedded(path, _pieces(file))
    if as_json:
        output.print_json({"data": str(path)} | msgspec.to_builtins(report))
    else:
        output.line(f"{path} is a volume again; look it over:  graviton fsck {data}")


def _pieces(file: str) -> Iterator[bytes]:
    if file == "-":
        while piece := sys.stdin.buffer.read(_PIECE):
            yield piece
        return
    if os.path.isdir(file):
        raise Invalid(f"{file} is a directory, not a dump")
    with open(file, "rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece
