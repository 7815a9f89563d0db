"""graviton up."""

from __future__ import annotations

import os
from pathlib import Path

import click

from graviton_server.cli import output, places
from graviton_server.cli.options import parse
from graviton_server.cli.params import ADDRESS_OR_OFF, DATA, DIRECTORY, FILE
from graviton_server.cli.serving import Serving, announce, check_apart, terminate_like_interrupt


@click.command()
@click.option("--data", type=DATA, required=True, help="The volume's directory; made when missing.")
@click.option("--mount", "directory", type=DIRECTORY, help="Where to mount it; made when missing.")
@click.option(
    "--webdav",
    type=ADDRESS_OR_OFF,
    default="127.0.0.1:8081",
    show_default=True,
    help="HOST:PORT of the WebDAV gateway (port 0: any), or 'off'.",
)
@click.option("--users", type=FILE, help="Users file of the gateway ('graviton passwd' makes it).")
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="As for 'graviton mount'.")
def up(
    data: str,
    directory: str | None,
    webdav: tuple[str, int] | None,
    users: str | None,
    options: tuple[str, ...],
) -> None:
    """Open a volume, mount it and serve it over WebDAV, all in one process.

    Prints a line beginning with 'ready' when everything answers. Ctrl-C or SIGTERM stores everything,
    unmounts and ends it; so does 'graviton umount DIR'.
    """
    if directory is None and webdav is None:
        raise click.UsageError("there is nothing to serve: give --mount DIR, or --webdav HOST:PORT")
    choices = parse(options)
    source = places.source(data)
    terminate_like_interrupt()
    mountpoint = None
    if directory is not None:
        check_apart(source, Path(directory).absolute())
        mountpoint = made_directory(directory)
    with Serving(source, "up", choices, create=True) as serving:
        address = None
        if webdav is not None:
            address = serving.serve_webdav(*webdav, Path(users).absolute() if users else None)
        parts = []
        if mountpoint is not None:
            parts.append(f"mount={mountpoint}")
        if address is not None:
            parts.append(f"webdav={address}")

        def ready() -> None:
            announce(" ".join(parts))
            _tell_what_to_try(data, directory, address)

        if mountpoint is not None:
            serving.run_mount(mountpoint, ready)
        else:
            ready()
            serving.wait()
        output.say("stopping: storing everything")
    output.say("stopped; everything is stored")


def made_directory(text: str) -> Path:
    """The mount point, made when there is none; a dead mount's is cleaned by mounting."""
    path = Path(text).absolute()
    try:
        os.makedirs(path, exist_ok=True)  # Path.mkdir would fail on a dead mount with ENOTCONN
    except FileExistsError:
        pass  # also what a dead mount looks like; the mount itself looks closer
    return path


def _tell_what_to_try(data: str, directory: str | None, address: str | None) -> None:
    if directory is not None:
        output.line(f"  the file system is at {directory}; try:  cp -r /etc/. {directory}/")
    if address is not None:
        output.line(f"  over WebDAV it is at  {address}")
    output.line(f"  how much it takes:    graviton info {data}")
    output.line(f"  what it is doing:     graviton stats {data}")
    output.line("  Ctrl-C stores everything and stops")
