"""graviton restore."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from graviton_server.cli import output, places
from graviton_server.cli.access import access
from graviton_server.cli.volume_work import in_volume
from graviton_server.control.store_requests import ListTrash, RestoreRemoved
from gravitonfs.core.units import format_size
from gravitonfs.errors import Invalid


@click.command()
@access
@click.option("--to", metavar="PATH", help="Where it is to go, in the volume; default: where it was.")
@click.option("-l", "--list", "listing", is_flag=True, help="Only tell what there is, the newest day first.")
@click.option("--volume", metavar="NAME", help="Of a store with several; default: main.")
@output.json_option
def restore(
    source: str,
    to: str | None,
    listing: bool,
    volume: str | None,
    as_json: bool,
    **options: Path | None,
) -> None:
    """Bring back what was removed.

    SOURCE is DATA:/PATH, graviton://HOST:PORT/VOLUME/PATH, or a path in a mount: where it was, or its place
    in .trash. Of several removed under one name the last one comes back; '--list' tells the places of all. A
    directory comes back with what was removed together with it. Of a directory that is there, all that was
    removed from it comes back. Nothing that is there is overwritten.
    """
    where, path = _place(source)
    if listing:
        _list(where, path, volume, options, as_json)
        return
    from graviton_server.control.trash import bring_back

    target = None if to is None else os.fsencode(to)
    with output.progress("restore", "files") as on_event:
        found = in_volume(
            where, volume, options, "restore",
            lambda caller, of: caller.call(
                RestoreRemoved(volume=of, path=path, target=target), on_event=on_event
            ),
            lambda opened: bring_back(opened, path, target, lambda count: None),
        )  # fmt: skip
    if as_json:
        output.print_json(found)
    elif found["left"] or found["restored"] != 1:
        left = f"; {found['left']} left, whose names are taken" if found["left"] else ""
        output.say(f"{found['restored']} files and trees are back in {found['to']}{left}")
    else:
        output.say(f"{found['to']} is back")


def _list(
    where: str, path: bytes, volume: str | None, options: dict[str, Path | None], as_json: bool
) -> None:
    from graviton_server.control.trash import tell

    send: Callable[[bytes], None] = output.write if as_json else _Lines().take
    in_volume(
        where, volume, options, "restore",
        lambda caller, of: caller.call(
            ListTrash(volume=of, path=path), sink=lambda data: send(bytes(data))
        ),
        lambda opened: tell(opened, path, send, lambda count: None),
        read_only=True,
    )  # fmt: skip


class _Lines:
    """What the owner sends as JSON, for people."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            output.line(_told(json.loads(line)))


def _told(found: dict[str, Any]) -> str:
    removed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["removed"]))
    size = "" if found["kind"] == "directory" else format_size(found["bytes"])
    return f"{removed}  {size:>10}  {output.show_name(os.fsencode(found['trash']))}"


def _place(text: str) -> tuple[str, bytes]:
    """A source, and a path in its volume."""
    if places.is_remote(text):
        from gravitonfs.client.endpoint import Endpoint

        return text, b"/" + os.fsencode(Endpoint.parse(text)[2])
    mountpoint = places.remote_mount(text)
    if mountpoint is not None:
        return mountpoint, places.path_below(text, mountpoint)
    if Path(text).is_file() and places.parse(text) is None:
        return text, b"/"
    found = places.parse(text)
    if found is None:
        return text, b"/"
    if found.read_only:
        raise Invalid(f"{text} is in a mount that is read-only")
    return str(found.data), found.path
