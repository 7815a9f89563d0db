"""graviton cat, cp, mv, rm, mkdir, warmup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import groupby

import click

from graviton_server.cli import output
from graviton_server.cli.opening import reach
from graviton_server.cli.params import PATH
from graviton_server.cli.places import Place, place, place_to_change
from graviton_server.control import requests
from gravitonfs.errors import CrossVolume


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
def cat(paths: tuple[str, ...]) -> None:
    """Write files to standard output, one after the other."""
    for where in [place(text) for text in paths]:
        with reach(where.data, "cat") as caller:
            caller.call(requests.ReadFile(path=where.path), sink=output.write)
            sys.stdout.buffer.flush()


def same_volume(places: Iterable[Place]) -> None:
    if len({os.path.realpath(where.data) for where in places}) > 1:
        raise CrossVolume("both must be in one volume: copy between volumes with 'graviton get' and 'put'")


@click.command()
@click.argument("sources", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.argument("target", metavar="TARGET", type=PATH)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Copy directories with all that is in them.")
@click.option(
    "-p", "--preserve", is_flag=True, help="Keep owner and times (modes and attributes always stay)."
)
@click.option("-n", "--no-clobber", is_flag=True, help="Refuse to replace what is there.")
def cp(sources: tuple[str, ...], target: str, recursive: bool, preserve: bool, no_clobber: bool) -> None:
    """Copy inside a volume: at once, whatever the size, sharing the bytes.

    TARGET is the copy's name, or a directory to copy into. A directory becomes visible whole.
    """
    froms = [place(text) for text in sources]
    to = place_to_change(target)
    same_volume([*froms, to])
    with reach(to.data, "cp") as caller:
        for where in froms:
            caller.call(
                requests.Copy(
                    source=where.path,
                    target=_target(to, many=len(froms) > 1),
                    recursive=recursive,
                    preserve=preserve,
                    replace=not no_clobber,
                    uid=os.geteuid(),
                    gid=os.getegid(),
                )
            )
        caller.call(requests.Flush())


@click.command()
@click.argument("sources", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.argument("target", metavar="TARGET", type=PATH)
@click.option("-n", "--no-clobber", is_flag=True, help="Refuse to replace what is there.")
def mv(sources: tuple[str, ...], target: str, no_clobber: bool) -> None:
    """Move or rename inside a volume."""
    froms = [place_to_change(text) for text in sources]
    to = place_to_change(target)
    same_volume([*froms, to])
    with reach(to.data, "mv") as caller:
        for where in froms:
            path = _target(to, many=len(froms) > 1)
            caller.call(requests.Move(source=where.path, target=path, replace=not no_clobber))
        caller.call(requests.Flush())


def _target(to: Place, *, many: bool) -> bytes:
    """Several sources need a directory; a slash at the end asks for one."""
    return to.path.rstrip(b"/") + b"/" if many else to.path


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option("-r", "-R", "--recursive", is_flag=True, help="Remove directories with all that is in them.")
@click.option("-f", "--force", is_flag=True, help="Do not mind what is not there.")
def rm(paths: tuple[str, ...], recursive: bool, force: bool) -> None:
    """Remove files and trees.

    A tree is gone at once, whatever its size; its space comes back in the background.
    """
    for data, places in groupby([place_to_change(text) for text in paths], lambda where: where.data):
        with reach(data, "rm") as caller:
            for where in places:
                caller.call(requests.Remove(path=where.path, recursive=recursive, missing_ok=force))
            caller.call(requests.Flush())


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option("-p", "--parents", is_flag=True, help="Make missing parents; do not mind what is there.")
def mkdir(paths: tuple[str, ...], parents: bool) -> None:
    """Create directories."""
    mask = os.umask(0o022)
    os.umask(mask)
    for data, places in groupby([place_to_change(text) for text in paths], lambda where: where.data):
        with reach(data, "mkdir") as caller:
            for where in places:
                caller.call(
                    requests.MakeDirectory(
                        path=where.path,
                        parents=parents,
                        mode=0o777 & ~mask,
                        uid=os.geteuid(),
                        gid=os.getegid(),
                    )
                )
            caller.call(requests.Flush())


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at a time."
)
@output.json_option
def warmup(paths: tuple[str, ...], jobs: int, as_json: bool) -> None:
    """Read files and trees into the caches, and verify every block on the way.

    Useful while a process has the volume open, whose caches are filled.
    """
    total = 0
    for where in [place(text) for text in paths]:
        with reach(where.data, "warmup") as caller, output.progress("reading") as on_event:
            total += caller.call(requests.Warm(path=where.path, jobs=jobs), on_event=on_event)
    if as_json:
        output.print_json({"bytes": total})
    else:
        from gravitonfs.core.units import format_size

        output.line(f"{format_size(total)} read")
