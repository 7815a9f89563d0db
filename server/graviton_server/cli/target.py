"""graviton target."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, FILE, SIZE
from graviton_server.control.answers import TargetInfo
from graviton_server.control.store_requests import AddTarget, ChangeTarget, ListTargets
from gravitonfs.core.units import format_size

_SOURCE = click.argument("source", metavar="SOURCE", type=DATA)
_NAME = click.argument("name")
_PLACING = (
    click.option("--zone", help="Copies are spread over zones."),
    click.option("--weight", type=click.FloatRange(0), help="Its share of the packs; 0: none."),
    click.option("--capacity", type=SIZE, help="What it may hold."),
    click.option("--copies", type=click.IntRange(1, 16), help="Copies it keeps by itself."),
    click.option("--zones", type=click.IntRange(1, 16), help="In so many zones."),
)


def _placing(command: Any) -> Any:
    for one in reversed(_PLACING):
        command = one(command)
    return command


@click.group()
def target() -> None:
    """Where packs are kept: directories and buckets, or shards.

    SOURCE is the data directory of a volume, or of a process that shares its store, or the configuration
    file. Packs move in the background while the store is served.
    """


@target.command("list")
@_SOURCE
@output.json_option
def list_(source: str, as_json: bool) -> None:
    """List targets, and what is on them."""
    with reach_source(source, "target") as caller:
        found = caller.call(ListTargets())
    if as_json:
        output.print_json([msgspec.to_builtins(one) for one in found])
        return
    titles = (
        "name",
        "state",
        "zone",
        "weight",
        "packs",
        "stored",
        "free",
        "missing",
        "bad",
        "moving",
        "where",
    )
    output.rows([titles, *map(_row, found)], right=(3, 4, 5, 6, 7, 8, 9))
    for one in found:
        if one.trouble:
            output.line(f"{one.name}: {one.trouble}")


def _row(one: TargetInfo) -> tuple[str, ...]:
    free = format_size(one.free) if one.free or one.capacity else ""
    counts = (one.packs, one.missing, one.bad, one.moving + one.leaving)
    packs, missing, bad, moving = map(str, counts)
    where, weight = one.location, f"{one.weight:g}"
    stored = format_size(one.bytes)
    return one.name, one.state, one.zone, weight, packs, stored, free, missing, bad, moving, where


@target.command()
@_SOURCE
@_NAME
@click.option("--path", type=click.Path(file_okay=False, path_type=Path), help="Of a directory.")
@click.option("--bucket", help="Of an S3 target.")
@click.option("--region", help="Of the bucket.")
@click.option("--endpoint", help="Of an S3-compatible store.")
@click.option("--profile", help="Of the AWS SDK: whose credentials are used. Default: its usual chain.")
@click.option("--shard", metavar="ADDRESS", help="Of a daemon: graviton://HOST:PORT, gravitons:// with TLS.")
@click.option("--token-file", type=FILE, help="Has the token that the shard asks for.")
@click.option("--ca-file", type=FILE, help="Authorities that the shard's certificate is checked against.")
@_placing
@output.json_option
def add(
    source: str,
    name: str,
    path: Path | None,
    bucket: str | None,
    region: str | None,
    endpoint: str | None,
    profile: str | None,
    shard: str | None,
    token_file: str | None,
    ca_file: str | None,
    as_json: bool,
    **placing: Any,
) -> None:
    """Add a directory (--path), a bucket (--bucket), or, where packs lie on shards, a shard (--shard).

    It gets its share of the packs there are. A store that had one target so far uses it from its next start
    on. Credentials are never kept: only the name of a profile.
    """
    kinds = {"directory": path, "s3": bucket, "shard": shard}
    chosen = [kind for kind, value in kinds.items() if value is not None]
    if len(chosen) != 1:
        raise click.UsageError("give one of --path, --bucket and --shard")
    [kind] = chosen
    given: dict[str, str | None] = {"path": None if path is None else str(path.absolute())}
    if kind == "s3":
        given = {"bucket": bucket, "region": region, "endpoint": endpoint, "profile": profile}
    elif kind == "shard":
        files = {"token_file": token_file, "ca_file": ca_file}
        given = {"address": shard, **{key: value and os.path.abspath(value) for key, value in files.items()}}
    location = {key: value for key, value in given.items() if value is not None}
    with reach_source(source, "target") as caller:
        made = caller.call(AddTarget(name=name, kind=kind, location=location, **placing))
    later = "" if made.in_use else "; the next start of what serves the store begins to use it"
    _tell(made, as_json, f"{made.name} is a target{later}")


@target.command("set")
@_SOURCE
@_NAME
@_placing
@click.option("--active", is_flag=True, help="It takes packs again.")
@click.option("--renew", is_flag=True, help="Its place is new and empty: all that was on it is made again.")
@output.json_option
def set_(source: str, name: str, active: bool, renew: bool, as_json: bool, **placing: Any) -> None:
    """Change a target."""
    state = "active" if active else None
    _change(
        source, as_json, ChangeTarget(name=name, state=state, renew=renew, **placing), f"{name} is changed"
    )


@target.command()
@_SOURCE
@_NAME
@click.option("--force", is_flag=True, help="Also where the others cannot give as many copies as asked for.")
@output.json_option
def drain(source: str, name: str, force: bool, as_json: bool) -> None:
    """Move everything off a target: it takes no packs from now on."""
    text = f"{name} is being drained: 'graviton target list' says what is left"
    _change(source, as_json, ChangeTarget(name=name, state="draining", force=force), text)


@target.command()
@_SOURCE
@_NAME
@output.json_option
def remove(source: str, name: str, as_json: bool) -> None:
    """Let go of a target that is drained and empty."""
    _change(source, as_json, ChangeTarget(name=name, state="removed"), f"{name} is not used any more")


def _change(source: str, as_json: bool, request: ChangeTarget, text: str) -> None:
    with reach_source(source, "target") as caller:
        _tell(caller.call(request), as_json, text)


def _tell(found: TargetInfo, as_json: bool, text: str) -> None:
    if as_json:
        output.print_json(msgspec.to_builtins(found))
    else:
        output.say(text)
