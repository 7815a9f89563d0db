"""graviton put."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

import click

from graviton_server.cli import output
from graviton_server.cli.opening import reach
from graviton_server.cli.params import FILE, PATH
from graviton_server.cli.places import Place, join, place_to_change
from graviton_server.cli.putting import TreePut
from graviton_server.cli.transfers import Jobs, Tally
from graviton_server.control import requests
from graviton_server.control.calls import Caller
from gravitonfs.core.units import format_size
from gravitonfs.errors import GravitonError, IsADirectory, NotADirectory, NotFound

_CHUNK = 1 << 20


@click.command()
@click.argument("sources", metavar="FILE...", type=FILE, nargs=-1, required=True)
@click.argument("target", metavar="PATH", type=PATH)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Directories with all that is in them.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at a time."
)
@click.option("--again", is_flag=True, help="Send files even where size and time are the same already.")
@output.json_option
def put(
    sources: tuple[str, ...], target: str, recursive: bool, jobs: int, again: bool, as_json: bool
) -> None:
    """Copy local files and trees to PATH in a volume; '-' is standard input.

    Modes, owners, times, hard and symbolic links and extended attributes are kept. Run it again after
    an interruption: what is there already is not sent again. All of it is durable when it returns.

    With -r a directory becomes PATH, merged with what is there; "PATH/" puts it into PATH.
    """
    to = place_to_change(target)
    started = time.monotonic()
    with reach(to.data, "put") as caller, output.progress("put") as on_event:
        tally = Tally(on_event)
        if sources == ("-",):
            _put_from(caller, sys.stdin.buffer, to.path, tally)
            caller.call(requests.Flush())
        else:
            pairs = [
                (os.fsencode(text), _path_for(caller, text, to, many=len(sources) > 1)) for text in sources
            ]
            _put_all(caller, pairs, tally, jobs, again=again, recursive=recursive)
    finish("put", tally, time.monotonic() - started, as_json)


def _put_all(
    caller: Caller,
    pairs: list[tuple[bytes, bytes]],
    tally: Tally,
    count: int,
    *,
    again: bool,
    recursive: bool,
) -> None:
    if not recursive:
        pairs = [(_followed(local), path) for local, path in pairs]
    if sys.stderr.isatty():
        tally.expect(sum(size for local, _ in pairs for size in _sizes(local)))
    with Jobs(count, tally) as jobs:
        tree = TreePut(caller, jobs, tally, again=again)
        for local, path in pairs:
            if not recursive and _is_stream(local):
                _put_stream(caller, local, path, tally)
            else:
                tree.put(local, path)
        tree.send_rest()
    tree.finish()


def _followed(local: bytes) -> bytes:
    """As cp does without -r: of a symlink the file that it points to, of a pipe what comes out of it."""
    if os.path.isdir(local):
        raise IsADirectory(f"{os.fsdecode(local)} is a directory: put it and all in it with -r")
    return os.path.realpath(local) if os.path.isfile(local) else local


def _is_stream(local: bytes) -> bool:
    return not stat.S_ISREG(os.stat(local).st_mode)


def _put_stream(caller: Caller, local: bytes, path: bytes, tally: Tally) -> None:
    with open(local, "rb") as stream:
        _put_from(caller, stream, path, tally)


def _put_from(caller: Caller, stream: BinaryIO, path: bytes, tally: Tally) -> None:
    """A file of no known size, that comes with no looks of its own."""
    mask = os.umask(0o022)
    os.umask(mask)

    def pieces() -> Iterator[bytes]:
        while piece := stream.read(_CHUNK):
            yield piece
            tally.moved(len(piece))

    request = requests.WriteFile(path=path, mode=0o666 & ~mask, uid=os.geteuid(), gid=os.getegid())
    caller.call(request, source=pieces())
    tally.file()


def _path_for(caller: Caller, text: str, to: Place, *, many: bool) -> bytes:
    """A directory becomes PATH itself, so that a run can be repeated; "PATH/" says into it.

    A file goes into PATH if that is a directory, else it becomes PATH.
    """
    if text == "-":
        raise click.UsageError("'-' (standard input) can only stand alone")
    into = many or names_directory(to.shown)
    try:
        info = caller.call(requests.Stat(path=to.path, follow=True))
    except NotFound:
        if into:
            raise NotFound(f"{to.shown} does not exist: 'graviton mkdir -p {to.shown}' makes it") from None
        return to.path
    if not stat.S_ISDIR(info.mode):
        if into:
            raise NotADirectory(f"{to.shown} is no directory")
        return to.path
    name = os.path.basename(os.path.abspath(text))
    into = into or not os.path.isdir(text) or os.path.islink(text)
    return join(to.path, os.fsencode(name)) if into and name else to.path


def names_directory(text: str) -> bool:
    """Whether a target can only mean a directory to put something into."""
    return text.endswith("/") or os.path.basename(text) in (".", "..")


def _sizes(local: bytes) -> Iterator[int]:
    if not os.path.isdir(local) or os.path.islink(local):
        yield os.lstat(local).st_size
        return
    for directory, _, files in os.walk(local):
        for name in files:
            try:
                info = os.lstat(os.path.join(directory, name))
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield info.st_size


def finish(what: str, tally: Tally, seconds: float, as_json: bool) -> None:
    """The result; it fails when anything did."""
    if as_json:
        output.print_json(tally.as_dict() | {"seconds": round(seconds, 3)})
    elif sys.stderr.isatty() or tally.problems:
        rate = f", {format_size(tally.bytes / seconds)}/s" if seconds > 0.5 else ""
        skipped = f", {tally.skipped} there already" if tally.skipped else ""
        output.say(f"{what}: {tally.files} files, {format_size(tally.bytes)}{skipped}{rate}")
    if tally.problems:
        raise GravitonError(f"{len(tally.problems)} of them failed; the others are done")
