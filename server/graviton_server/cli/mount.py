"""graviton mount."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from graviton_server.cli import output, places
from graviton_server.cli.daemon import LOG_NAME, Ready, in_background
from graviton_server.cli.diskcache import refuse_disk_cache, told, with_disk_cache
from graviton_server.cli.options import NAMES, Choices, parse
from graviton_server.cli.params import DATA, DIRECTORY
from graviton_server.cli.serve import choices_of, configured
from graviton_server.cli.serving import Serving, announce, terminate_like_interrupt
from gravitonfs.errors import NotFound

if TYPE_CHECKING:
    from graviton_server.config.load import Loaded


@click.command(
    epilog=f"Mount options: {', '.join(NAMES)}. Sizes as 512MiB, limits in bytes a second, umask in octal,"
    " timeout as 60s: how long a request waits before it fails with EIO; drain-timeout=: how long a mount"
    " that is told to end stores what is left (300s). mounter=: the socket of 'graviton mounter', which"
    " mounts in its place. memory= bounds what is cached and on its way in memory; cache-size= what is cached"
    " on disk, in cache-dir=, of a volume that is elsewhere"
    " (default: up to 8GiB in ~/.cache/graviton; 0: nothing); cache-reserve= what stays free on that disk."
)
@click.argument("source", metavar="SOURCE", type=DATA)
@click.argument("directory", type=DIRECTORY)
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="Mount options, separated by commas.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground.")
@click.pass_context
def mount(
    ctx: click.Context, source: str, directory: str, options: tuple[str, ...], foreground: bool
) -> None:
    """Mount the volume of SOURCE on DIRECTORY.

    SOURCE is a data directory, a configuration file (names and packs are used where it says, without a
    daemon), or graviton://HOST:PORT/VOLUME of a daemon (gravitons:// with TLS; several
    HOST:PORT separated by commas). Returns when the mount answers; the process behind it logs to
    DATA/mount.log, without a data directory below ~/.local/state/graviton. A mount point whose process died
    is cleaned up first. 'graviton umount DIRECTORY' ends it.
    """
    choices = parse(options)
    if choices.journal_size is not None and not choices.local:
        raise click.UsageError("journal-size: for durability=local alone")
    mountpoint = Path(directory).absolute()
    if places.is_remote(source):
        _remote(source, mountpoint, choices, foreground)
        return
    data = places.source(source)
    if choices.of_daemons():
        raise click.UsageError(f"{', '.join(choices.of_daemons())}: for a SOURCE of graviton:// alone")
    if data.is_file():
        _direct(configured(ctx, str(data), {}, insecure=False), mountpoint, choices, foreground)
        return
    _needs_no_journal(choices)
    refuse_disk_cache(choices)
    if foreground:
        terminate_like_interrupt()
        with Serving(data, "mount", choices) as serving:
            serving.run_mount(mountpoint, lambda: announce(f"mount={mountpoint}"))
            output.say("unmounting: storing everything")
        return
    from graviton_server.wiring import is_volume

    if not is_volume(data):
        raise NotFound(f"{data} is no volume: make one with 'graviton init {data}'")
    pid = in_background(data / LOG_NAME, lambda ready: _serve(data, mountpoint, choices, ready))
    output.say(f"{directory} is mounted by process {pid}; it logs to {data / LOG_NAME}")


def _needs_no_journal(choices: Choices) -> None:
    """The names of an embedded volume are on this machine's disk already, and so are its bytes."""
    if choices.local:
        output.say("durability=local: fsync is answered by this machine's disk anyway")


def _direct(loaded: Loaded, mountpoint: Path, choices: Choices, foreground: bool) -> None:
    """The mount is an engine of the store that the configuration describes."""
    from graviton_server.cli.journalled import run_journalled
    from graviton_server.cli.remote import log_of

    config = loaded.config
    data = places.source(config.data_dir)
    choices = choices_of(loaded, choices)
    journalled = False
    if config.storage.backend != "directory" or config.database.jdbc_url is not None:
        choices = with_disk_cache(choices, mountpoint, default=config.storage.backend != "directory")
        output.say(told(choices))
        journalled = choices.local and not choices.ro
    else:
        _needs_no_journal(choices)
        refuse_disk_cache(choices)

    def serve(ready: Ready) -> None:
        terminate_like_interrupt()
        if journalled:
            run_journalled(loaded, data, mountpoint, choices, ready)
            return
        with Serving(data, "mount", choices, create=True, config=config) as serving:
            serving.run_mount(mountpoint, ready)
            output.say("unmounting: storing everything")

    if foreground:
        serve(lambda: announce(f"mount={mountpoint}"))
        return
    log = log_of(mountpoint)
    pid = in_background(log, serve)
    output.say(f"{mountpoint} is mounted by process {pid}; it logs to {log}")


def _remote(source: str, mountpoint: Path, choices: Choices, foreground: bool) -> None:
    from graviton_server.cli.remote import log_of, run_mount

    choices = with_disk_cache(choices, mountpoint, default=True)
    output.say(told(choices))
    if foreground:
        terminate_like_interrupt()
        run_mount(source, mountpoint, choices, lambda: announce(f"mount={mountpoint}"))
        return

    def serve(ready: Ready) -> None:
        terminate_like_interrupt()
        run_mount(source, mountpoint, choices, ready)

    log = log_of(mountpoint)
    pid = in_background(log, serve)
    output.say(f"{mountpoint} is mounted by process {pid}; it logs to {log}")


def _serve(data: Path, mountpoint: Path, choices: Choices, ready: Ready) -> None:
    terminate_like_interrupt()
    with Serving(data, "mount", choices) as serving:
        serving.run_mount(mountpoint, ready)
