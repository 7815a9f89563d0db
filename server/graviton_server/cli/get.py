"""graviton get."""

from __future__ import annotations

import os
import stat
import sys
import time

import click
from typing_extensions import Buffer

from graviton_server.cli import output
from graviton_server.cli.getting import TreeGet
from graviton_server.cli.opening import reach
from graviton_server.cli.params import FILE, PATH
from graviton_server.cli.places import Place, place
from graviton_server.cli.put import finish, names_directory
from graviton_server.cli.transfers import Jobs, Tally
from graviton_server.control import requests
from graviton_server.control.answers import Node
from graviton_server.control.calls import Caller
from gravitonfs.errors import IsADirectory, NotADirectory, NotFound


@click.command()
@click.argument("sources", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.argument("target", metavar="FILE", type=FILE)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories with all that is in them.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at a time."
)
@click.option("--again", is_flag=True, help="Fetch files even where size and time are the same already.")
@output.json_option
def get(
    sources: tuple[str, ...], target: str, recursive: bool, jobs: int, again: bool, as_json: bool
) -> None:
    """Copy files and trees of a volume to the local FILE or directory; '-' is standard output.

    Modes, times, hard and symbolic links and extended attributes are kept, owners too for root. Run it
    again after an interruption: it goes on where it was. Every file is verified before it gets its name.

    With -r a directory becomes FILE, merged with what is there; "FILE/" gets it into FILE.
    """
    places = [place(text) for text in sources]
    started = time.monotonic()
    with output.progress("get") as on_event:
        tally = Tally(on_event)
        for where in places:
            with reach(where.data, "get") as caller:
                if target == "-":
                    caller.call(requests.ReadFile(path=where.path), sink=output.write)
                    sys.stdout.buffer.flush()
                else:
                    _get(caller, where, target, tally, jobs, again, recursive, many=len(places) > 1)
    if target != "-":
        finish("get", tally, time.monotonic() - started, as_json)


def _get(
    caller: Caller,
    where: Place,
    target: str,
    tally: Tally,
    count: int,
    again: bool,
    recursive: bool,
    *,
    many: bool,
) -> None:
    node = caller.call(requests.Stat(path=where.path, follow=not recursive))
    if stat.S_ISDIR(node.mode) and not recursive:
        raise IsADirectory(f"{where.shown} is a directory: get it and all in it with -r")
    if sys.stderr.isatty():
        usage = caller.call(requests.TreeUsage(path=where.path, names_only=True))
        tally.expect(usage.logical_bytes)
    local = _local_for(node, target, many=many)
    if stat.S_ISREG(node.mode) and os.path.exists(local) and not os.path.isfile(local):
        _stream(caller, where, local, tally)
        return
    with Jobs(count, tally) as jobs:
        tree = TreeGet(caller, jobs, tally, again=again)
        tree.get(where.path, local, follow=not recursive)
    tree.finish()


def _stream(caller: Caller, where: Place, local: bytes, tally: Tally) -> None:
    """Into what is there, a pipe or a device: it is not to be replaced by a file."""
    with open(local, "wb") as there:

        def write(data: Buffer) -> None:
            there.write(data)
            tally.moved(memoryview(data).nbytes)

        caller.call(requests.ReadFile(path=where.path), sink=write)
    tally.file()


def _local_for(node: Node, target: str, *, many: bool) -> bytes:
    """A directory becomes the target itself, so that a run can be repeated; "target/" says into it.

    A file goes into the target if that is a directory, else it becomes the target.
    """
    local = os.fsencode(os.path.abspath(target))
    into = many or names_directory(target)
    if os.path.isdir(local):
        into = into or not stat.S_ISDIR(node.mode)
        return os.path.join(local, node.name) if into and node.name else local
    if into:
        if os.path.lexists(local):
            raise NotADirectory(f"{target} is no directory")
        raise NotFound(f"{target} does not exist: make the directory first")
    parent = os.path.dirname(local)
    if not os.path.isdir(parent):
        raise NotFound(f"{os.fsdecode(parent)} does not exist: make the directory first")
    return local
