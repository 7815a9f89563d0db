"""graviton snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from graviton_server.cli import output, places
from graviton_server.cli.access import access, daemon_of
from graviton_server.cli.opening import reach_source
from graviton_server.control.requests import CreateSnapshot, DeleteSnapshot, ListSnapshots
from gravitonfs.core.units import format_size

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.client.administration import Administration

MAIN = "main"
_volume = click.option("--volume", metavar="NAME", help="Of a store with several; default: main.")


@click.group()
def snapshot() -> None:
    """Keep a volume as it is now, to read and to bring back.

    SOURCE is the data directory of a volume, a path in a mount, a configuration file, or
    graviton://HOST:PORT/VOLUME.
    """


@snapshot.command()
@access
@click.argument("name")
@_volume
@output.json_option
def create(source: str, name: str, volume: str | None, as_json: bool, **options: Path | None) -> None:
    """Keep the volume as it is now.

    Everything that was acknowledged before is in it. It takes no time and no space, whatever the volume's
    size; what is changed or removed from now on is kept beside it, until the snapshot is deleted.
    """
    made = _ask(
        source, volume, options,
        lambda caller, of: caller.call(CreateSnapshot(volume=of, name=name)),
        lambda daemon, of: daemon.create_snapshot(name, of),
    )  # fmt: skip
    if as_json:
        output.print_json(made)
    else:
        size = format_size(made["logical_bytes"])
        output.say(f"snapshot {name}: {size} in {made['inodes']} files and directories")


@snapshot.command("list")
@access
@_volume
@output.json_option
def list_(source: str, volume: str | None, as_json: bool, **options: Path | None) -> None:
    """List the snapshots of a volume, the oldest first."""
    found = _ask(
        source, volume, options,
        lambda caller, of: caller.call(ListSnapshots(volume=of)),
        lambda daemon, of: [one._asdict() for one in daemon.snapshots(of)],
    )  # fmt: skip
    if as_json:
        output.print_json(found)
    elif not found:
        output.say("there are no snapshots")
    else:
        titles = ("name", "taken", "size", "inodes", "")
        output.rows([titles] + [_row(one) for one in found], right=(2, 3))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["created"]))
    marks = "scheduled" if one["scheduled"] else ""
    return one["name"], taken, format_size(one["logical_bytes"]), str(one["inodes"]), marks


@snapshot.command()
@access
@click.argument("name")
@_volume
def delete(source: str, name: str, volume: str | None, **options: Path | None) -> None:
    """Let a snapshot go.

    What it alone kept is freed in the background, and the space comes back with the next collection.
    """
    _ask(
        source, volume, options,
        lambda caller, of: caller.call(DeleteSnapshot(volume=of, name=name)),
        lambda daemon, of: daemon.delete_snapshot(name, of),
    )  # fmt: skip
    output.say(f"snapshot {name} is deleted")


def _ask(
    source: str,
    volume: str | None,
    options: dict[str, Path | None],
    owner: Callable[[Caller, str], Any],
    remote: Callable[[Administration, str], Any],
) -> Any:
    """Of whoever has the volume: the process that owns it, or a daemon. As JSON has it."""
    source = _whose(source)
    if places.is_remote(source):
        from gravitonfs.client.endpoint import Endpoint

        _, named, _ = Endpoint.parse(source)
        with daemon_of(source, options) as daemon:
            answer = remote(daemon, volume or named)
        return answer._asdict() if hasattr(answer, "_asdict") else answer
    with reach_source(source, "snapshot") as caller:
        return msgspec.to_builtins(owner(caller, volume or MAIN))


def _whose(source: str) -> str:
    """What a path in a mount of a daemon's volume is a path of."""
    mountpoint = places.remote_mount(source)
    if mountpoint is not None:
        told = places.mount_of(mountpoint)
        if told is not None:
            return str(told["source"])
    return source
