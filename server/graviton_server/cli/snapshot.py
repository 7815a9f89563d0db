"""graviton snapshot."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.access import access
from graviton_server.cli.asking import ask
from graviton_server.cli.volume_work import in_volume, whose
from graviton_server.control.store_requests import (
    CreateSnapshot,
    DeleteSnapshot,
    DiffSnapshots,
    ListSnapshots,
    RestoreSnapshot,
)
from gravitonfs.core.units import format_size

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.client.administration import Administration

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


@snapshot.command()
@access
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@_volume
@output.json_option
def diff(
    source: str,
    before: str,
    after: str | None,
    volume: str | None,
    as_json: bool,
    **options: Path | None,
) -> None:
    """Tell what differs between snapshot A and snapshot B, or A and now.

    A line for each path that was added (+), removed (-), changed (M, with what of it) or renamed (R, with
    where to); with --json an object a line. A renamed directory is one line, besides what changed in it.
    """
    from graviton_server.control.snapshots import diff as differ

    send = output.write if as_json else _Lines().take
    counts = in_volume(
        source, volume, options, "snapshot",
        lambda caller, of: caller.call(
            DiffSnapshots(volume=of, before=before, after=after), sink=lambda data: send(bytes(data))
        ),
        lambda opened: differ(opened, before, after, send),
        read_only=True,
    )  # fmt: skip
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    output.say(told)


@snapshot.command()
@access
@click.argument("name")
@click.argument("path", default="/")
@click.option("--to", metavar="PATH", help="Where it is to go; default: where it was.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@_volume
@output.json_option
def restore(
    source: str,
    name: str,
    path: str,
    to: str | None,
    force: bool,
    volume: str | None,
    as_json: bool,
    **options: Path | None,
) -> None:
    """Bring a file or a tree back from a snapshot.

    PATH and --to are paths in the volume. No bytes are copied. It appears whole, or not at all; with --force
    it takes the place of what is there, all of it.
    """
    from graviton_server.control.restoring import restore as bring_back

    wanted, target = os.fsencode(path), None if to is None else os.fsencode(to)
    with output.progress("restore", "files") as on_event:
        found = in_volume(
            source, volume, options, "snapshot",
            lambda caller, of: caller.call(
                RestoreSnapshot(volume=of, name=name, path=wanted, target=target, force=force),
                on_event=on_event,
            ),
            lambda opened: bring_back(
                opened, name, wanted, target, force=force, check=lambda files: None
            ),
        )  # fmt: skip
    if as_json:
        output.print_json(found)
    else:
        size = format_size(found["bytes"])
        output.say(f"{found['files']} files and {found['directories']} directories are back, {size}")


class _Lines:
    """What the owner sends as JSON, for people."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            output.line(_told(msgspec.json.decode(line)))


def _told(found: dict[str, Any]) -> str:
    path = output.show_name(_bytes(found, "path"))
    if found["what"] == "renamed":
        return f"R {path} -> {output.show_name(_bytes(found, 'to'))}"
    mark = {"added": "+", "removed": "-", "changed": "M"}[found["what"]]
    how = f" ({', '.join(found['how'])})" if found.get("how") else ""
    return f"{mark} {path}{how}"


def _bytes(found: dict[str, Any], key: str) -> bytes:
    exact = found.get(f"{key}_base64")
    return found[key].encode() if exact is None else base64.b64decode(exact)


def _ask(
    source: str,
    volume: str | None,
    options: dict[str, Path | None],
    owner: Callable[[Caller, str], Any],
    remote: Callable[[Administration, str], Any],
) -> Any:
    return ask("snapshot", whose(source), volume, options, owner, remote)
