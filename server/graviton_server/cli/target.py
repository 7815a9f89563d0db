"""graviton target."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from graviton_server.cli import output, places
from graviton_server.cli.access import access, daemon_of
from graviton_server.cli.asking import ask
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, FILE, SIZE
from graviton_server.control.answers import TargetInfo
from graviton_server.control.store_requests import AddTarget, ChangeTarget, ListTargets
from gravitonfs.core.units import format_size

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.client.administration import Administration

_OF_DAEMONS: Final = ("token_file", "ca_file", "cert_file", "key_file")
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

    SOURCE is the data directory of a volume, or of a process that shares its store, the configuration file,
    or graviton://HOST:PORT of a daemon, with a token that has the scope admin. Packs move in the background
    while the store is served.
    """


@target.command("list")
@access
@output.json_option
def list_(source: str, as_json: bool, **options: Path | None) -> None:
    """List targets, and what is on them."""
    told = _ask(
        source, options,
        lambda caller: caller.call(ListTargets()),
        lambda daemon: [one._asdict() for one in daemon.targets()],
    )  # fmt: skip
    if as_json:
        output.print_json(told)
        return
    found = msgspec.convert(told, list[TargetInfo])
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
@click.argument("source", metavar="SOURCE", type=DATA)
@_NAME
@click.option("--path", type=click.Path(file_okay=False, path_type=Path), help="Of a directory.")
@click.option("--bucket", help="Of an S3 target.")
@click.option("--region", help="Of the bucket.")
@click.option("--endpoint", help="Of an S3-compatible store.")
@click.option("--profile", help="Of the AWS SDK: whose credentials are used. Default: its usual chain.")
@click.option("--shard", metavar="ADDRESS", help="Of a daemon: graviton://HOST:PORT, gravitons:// with TLS.")
@click.option("--token-file", type=FILE, help="Has the token that the shard, or the daemon, asks for.")
@click.option("--ca-file", type=FILE, help="Authorities that its certificate is checked against.")
@click.option("--cert-file", type=FILE, help="A client certificate, for gravitons:// (PEM).")
@click.option("--key-file", type=FILE, help="Its key (PEM).")
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
    cert_file: str | None,
    key_file: str | None,
    as_json: bool,
    **placing: Any,
) -> None:
    """Add a directory (--path), a bucket (--bucket), or, where packs lie on shards, a shard (--shard).

    It gets its share of the packs there are, and is used at once, also where the store had one target so far.
    Credentials are never kept: only the name of a profile.
    """
    kinds = {"directory": path, "s3": bucket, "shard": shard}
    chosen = [kind for kind, value in kinds.items() if value is not None]
    if len(chosen) != 1:
        raise click.UsageError("give one of --path, --bucket and --shard")
    [kind] = chosen
    if places.is_remote(source):
        files = {"token_file": token_file, "ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
        options = {key: None if value is None else Path(value) for key, value in files.items()}
        if kind == "shard":
            raise click.UsageError("a shard is added on its router's machine, which has its token")
        place = {"path": path and str(path), "bucket": bucket, "region": region, "endpoint": endpoint,
                 "profile": profile}  # fmt: skip
        with daemon_of(source, options) as daemon:
            made = msgspec.convert(daemon.add_target(name, **place, **placing)._asdict(), TargetInfo)
        _tell_added(made, as_json)
        return
    given: dict[str, str | None] = {"path": None if path is None else str(path.absolute())}
    if kind == "s3":
        given = {"bucket": bucket, "region": region, "endpoint": endpoint, "profile": profile}
    elif kind == "shard":
        files = {
            "token_file": token_file, "ca_file": ca_file, "cert_file": cert_file, "key_file": key_file,
        }  # fmt: skip
        given = {"address": shard, **{key: value and os.path.abspath(value) for key, value in files.items()}}
    location = {key: value for key, value in given.items() if value is not None}
    with reach_source(source, "target") as caller:
        made = caller.call(AddTarget(name=name, kind=kind, location=location, **placing))
    _tell_added(made, as_json)


def _tell_added(made: TargetInfo, as_json: bool) -> None:
    later = "" if made.in_use else "; it is not used yet: graviton target list says why"
    _tell(made, as_json, f"{made.name} is a target{later}")


@target.command("set")
@access
@_NAME
@_placing
@click.option("--active", is_flag=True, help="It takes packs again.")
@click.option("--renew", is_flag=True, help="Its place is new and empty: all that was on it is made again.")
@output.json_option
def set_(source: str, name: str, as_json: bool, **given: Any) -> None:
    """Change a target."""
    given["state"] = "active" if given.pop("active") else None
    _change(source, name, given, as_json, f"{name} is changed")


@target.command()
@access
@_NAME
@click.option("--force", is_flag=True, help="Also where the others cannot give as many copies as asked for.")
@output.json_option
def drain(source: str, name: str, as_json: bool, **given: Any) -> None:
    """Move everything off a target: it takes no packs from now on."""
    text = f"{name} is being drained: 'graviton target list' says what is left"
    _change(source, name, given | {"state": "draining"}, as_json, text)


@target.command()
@access
@_NAME
@output.json_option
def remove(source: str, name: str, as_json: bool, **given: Any) -> None:
    """Let go of a target that is drained and empty."""
    _change(source, name, given | {"state": "removed"}, as_json, f"{name} is not used any more")


def _change(source: str, name: str, given: dict[str, Any], as_json: bool, text: str) -> None:
    """``given``: how the daemon is reached, and what of the target changes."""
    options = {key: given.pop(key) for key in _OF_DAEMONS}
    told = _ask(
        source, options,
        lambda caller: caller.call(ChangeTarget(name=name, **given)),
        lambda daemon: daemon.change_target(name, **given)._asdict(),
    )  # fmt: skip
    _tell(msgspec.convert(told, TargetInfo), as_json, text)


def _ask(
    source: str,
    options: dict[str, Path | None],
    owner: Callable[[Caller], Any],
    remote: Callable[[Administration], Any],
) -> Any:
    return ask("target", source, None, options, lambda caller, _: owner(caller), lambda one, _: remote(one))


def _tell(found: TargetInfo, as_json: bool, text: str) -> None:
    if as_json:
        output.print_json(msgspec.to_builtins(found))
    else:
        output.say(text)
