"""graviton mount."""

from __future__ import annotations

from pathlib import Path

import click

from graviton_server.cli import output, places
from graviton_server.cli.daemon import LOG_NAME, Ready, in_background
from graviton_server.cli.options import NAMES, Choices, parse
from graviton_server.cli.params import DATA, DIRECTORY
from graviton_server.cli.serving import Serving, announce, terminate_like_interrupt


@click.command(
    epilog=f"Mount options: {', '.join(NAMES)}. Sizes as 512MiB, limits in bytes a second, umask in octal,"
    " timeout as 60s: how long a request waits before it fails with EIO."
)
@click.argument("source", metavar="DATA", type=DATA)
@click.argument("directory", type=DIRECTORY)
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="Mount options, separated by commas.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground.")
def mount(source: str, directory: str, options: tuple[str, ...], foreground: bool) -> None:
    """Mount the volume in DATA on DIRECTORY.

    Returns when the mount answers; the process behind it logs to DATA/mount.log. A mount point whose
    process died is cleaned up first. 'graviton umount DIRECTORY' ends it.
    """
    choices = parse(options)
    data = places.source(source)
    mountpoint = Path(directory).absolute()
    if foreground:
        terminate_like_interrupt()
        with Serving(data, "mount", choices) as serving:
            serving.run_mount(mountpoint, lambda: announce(f"mount={mountpoint}"))
            output.say("unmounting: storing everything")
        return
    pid = in_background(data, lambda ready: _serve(data, mountpoint, choices, ready))
    output.say(f"{directory} is mounted by process {pid}; it logs to {data / LOG_NAME}")


def _serve(data: Path, mountpoint: Path, choices: Choices, ready: Ready) -> None:
    terminate_like_interrupt()
    with Serving(data, "mount", choices) as serving:
        serving.run_mount(mountpoint, ready)
