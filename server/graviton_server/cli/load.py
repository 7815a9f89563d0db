"""graviton load."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from graviton_server.cli import output, places
from graviton_server.cli.params import DATA, FILE
from graviton_server.control.wire import Event
from graviton_server.maintenance.reports import Loaded
from gravitonfs.core.units import format_size
from gravitonfs.errors import Invalid

if TYPE_CHECKING:
    from graviton_server.config.sections import Config
    from graviton_server.maintenance.archive import Manifest
    from graviton_server.wiring.founding import Place
    from graviton_server.wiring.survivors import Survivors

_PIECE = 1 << 20


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.argument("file", type=FILE, required=False)
@click.option("--list", "listing", is_flag=True, help="List the dumps that the targets have.")
@click.option("--dump", metavar="ID", help="Which dump of the targets; 'latest' for the newest.")
@click.option(
    "--from",
    "others",
    multiple=True,
    metavar="DIR|s3://BUCKET",
    help="Another target of the store that is left. May be given several times.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only read and verify the dump, and say what it has.")
@output.json_option
@click.pass_context
def load(
    ctx: click.Context,
    source: str,
    file: str | None,
    listing: bool,
    dump: str | None,
    others: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a store anew from a dump: on an empty machine, from what is on its targets.

    SOURCE is a configuration file, whose database has to be empty, or the directory of a volume, which has
    packs and no names: a copy of it, or one that has lost its database.

    Without FILE the newest dump on the targets is taken (or that of --dump). FILE is one that 'graviton
    dump' has written; '-', or what comes on standard input for a directory, is read, too.

    All is made, or nothing. 'graviton fsck SOURCE' then tells whether anything is missing.
    """
    from graviton_server.wiring.founding import place_of

    if file is not None and (dump or listing):
        raise click.UsageError("--dump and --list are of dumps on the targets: no FILE with them")
    place = place_of(_config(ctx, source), places.source(source), others)
    if not (listing or dry_run):
        place.check()
    given = None if dump or listing else _given(file, place.embedded and not others)
    if given is not None:
        if dry_run:
            raise click.UsageError("--dry-run is for dumps on the targets")
        report = place.load(given)
    else:
        from graviton_server.wiring.survivors import Survivors

        with Survivors(place.rows) as survivors:
            if listing:
                _list(survivors, as_json=as_json)
                return
            manifest = survivors.choose(dump)
            report = _from_targets(place, survivors, manifest, dry_run=dry_run)
    _tell(source, report, dry_run=dry_run, as_json=as_json)


def _config(ctx: click.Context, source: str) -> Config | None:
    if not os.path.isfile(source):
        return None
    from graviton_server.cli.serve import configured

    return configured(ctx, source, {}, insecure=False).config


def _from_targets(place: Place, survivors: Survivors, manifest: Manifest, *, dry_run: bool) -> Loaded:
    with output.progress("load", "bytes") as on_event:

        def pieces() -> Iterator[bytes]:
            done = 0
            for piece in survivors.text(manifest):
                yield piece
                done += len(piece)
                on_event(Event(done, manifest.plain_bytes, "bytes of namespace loaded"))

        report = survivors.verify(manifest, pieces()) if dry_run else place.load(pieces())
    return msgspec.structs.replace(
        report, dump=manifest.id, made=manifest.made_ns / 1e9, lines=manifest.lines
    )


def _list(survivors: Survivors, *, as_json: bool) -> None:
    found = survivors.archive.manifests()
    if as_json:
        output.print_json([_told(manifest) for manifest in found])
        return
    if not found:
        output.say("the targets have no dump")
        return
    rows = [("dump", "made", "size", "new", "packs")]
    for one in found:
        size, new = format_size(one.stored_bytes), format_size(one.new_bytes)
        rows.append((one.id, _when(one.made_ns / 1e9), size, new, str(one.pack_count)))
    output.rows(rows, right=(2, 3, 4))


def _told(manifest: Manifest) -> dict[str, object]:
    return {
        "dump": manifest.id,
        "made": manifest.made_ns / 1e9,
        "bytes": manifest.stored_bytes,
        "new_bytes": manifest.new_bytes,
        "lines": manifest.lines,
        "packs": manifest.pack_count,
        "engine": manifest.engine,
    }


def _tell(source: str, report: Loaded, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.print_json({"data": source, "dry_run": dry_run} | msgspec.to_builtins(report))
        return
    if report.made is not None:
        output.line(f"dump {report.dump}, made {_when(report.made)}, {report.lines} lines of names")
    if dry_run:
        output.line(f"it is whole; {report.packs_gone} of the packs that it needs are on no target")
        return
    for name in report.targets_away:
        output.line(f"the target {name} cannot be opened: what is only there cannot be read now")
    output.line(f"{source} is a volume again; look it over:  graviton fsck {source}")


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _given(file: str | None, piped: bool) -> Iterable[bytes] | None:
    """The pieces of a dump that is not on the targets. ``piped``: standard input may have one."""
    if file == "-" or (file is None and piped and not sys.stdin.isatty()):
        if file == "-" and sys.stdin.isatty():
            raise click.UsageError("give the FILE of a dump, or redirect standard input")
        first = sys.stdin.buffer.read(_PIECE)
        if not first and file is None:
            return None
        return chain([first], iter(lambda: sys.stdin.buffer.read(_PIECE), b""))
    return None if file is None else _pieces(Path(file))


def _pieces(file: Path) -> Iterator[bytes]:
    if file.is_dir():
        raise Invalid(f"{file} is a directory, not a dump")
    with open(file, "rb") as opened:
        while piece := opened.read(_PIECE):
            yield piece
