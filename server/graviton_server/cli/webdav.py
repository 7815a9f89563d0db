"""graviton webdav."""

from __future__ import annotations

from pathlib import Path

import click

from graviton_server.cli import output, places
from graviton_server.cli.options import Choices
from graviton_server.cli.params import ADDRESS, DATA, FILE
from graviton_server.cli.serving import Serving, announce, terminate_like_interrupt


@click.command()
@click.argument("source", metavar="DATA", type=DATA)
@click.option(
    "--listen",
    type=ADDRESS,
    default="127.0.0.1:8081",
    show_default=True,
    help="HOST:PORT; port 0 takes any that is free.",
)
@click.option("--users", type=FILE, help="Users file ('graviton passwd' makes it); required but on loopback.")
def webdav(source: str, listen: tuple[str, int], users: str | None) -> None:
    """Serve a volume over WebDAV, in the foreground.

    Prints a line beginning with 'ready' when it answers; Ctrl-C or SIGTERM ends it.
    """
    terminate_like_interrupt()
    with Serving(places.source(source), "webdav", Choices()) as serving:
        address = serving.serve_webdav(*listen, Path(users).absolute() if users else None)
        announce(f"webdav={address}")
        serving.wait()
    output.say("stopped; everything is stored")
