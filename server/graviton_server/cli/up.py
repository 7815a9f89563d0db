"""graviton up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from graviton_server.cli import output, places
from graviton_server.cli.diskcache import refuse_disk_cache
from graviton_server.cli.options import parse
from graviton_server.cli.params import ADDRESS, ADDRESS_OR_OFF, DATA, DIRECTORY, FILE
from graviton_server.cli.serve import address_flags, choices_of
from graviton_server.cli.serving import Serving, announce, check_apart, terminate_like_interrupt, until_signal

if TYPE_CHECKING:
    from graviton_server.cli.limits import SharedLimits
    from graviton_server.config.load import Loaded


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
@click.option("--http", type=ADDRESS, help="HOST:PORT of the HTTP API (port 0: any); default: not served.")
@click.option("--grpc", type=ADDRESS, help="HOST:PORT of gRPC (port 0: any); default: not served.")
@click.option("--config", "file", type=FILE, help="Configuration of what is served.")
@click.option("--insecure", is_flag=True, help="Listen for other machines without authentication.")
@click.option("--users", type=FILE, help="Users file of the gateway ('graviton passwd' makes it).")
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="As for 'graviton mount'.")
@click.pass_context
def up(
    ctx: click.Context,
    data: str,
    directory: str | None,
    webdav: tuple[str, int] | None,
    http: tuple[str, int] | None,
    grpc: tuple[str, int] | None,
    file: str | None,
    insecure: bool,
    users: str | None,
    options: tuple[str, ...],
) -> None:
    """Open a volume, mount it and serve it over WebDAV, all in one process.

    Prints a line beginning with 'ready' when everything answers. Ctrl-C or SIGTERM stores everything,
    unmounts and ends it; so does 'graviton umount DIR'.
    """
    if directory is None and webdav is None and http is None and grpc is None:
        raise click.UsageError(
            "there is nothing to serve: give --mount DIR, or --webdav, --http or --grpc HOST:PORT"
        )
    choices = parse(options)
    refuse_disk_cache(choices)
    loaded = limits = None
    if file is not None or http is not None or grpc is not None or insecure:
        from graviton_server.cli.limits import SharedLimits

        loaded = _configured(ctx, file, address_flags(data, http, grpc), insecure=insecure)
        choices = choices_of(loaded, choices)
        limits = SharedLimits(loaded.config)
    source = places.source(data)
    terminate_like_interrupt()
    mountpoint = None
    if directory is not None:
        check_apart(source, Path(directory).absolute())
        mountpoint = made_directory(directory)
    with Serving(source, "up", choices, create=True) as serving:
        address = None
        if webdav is not None:
            from graviton_server.cli.gateway import gateway_config
            from graviton_server.cli.limits import SharedLimits

            given = ctx.get_parameter_source("webdav") is not ParameterSource.DEFAULT
            config = gateway_config(loaded, webdav if given or loaded is None else None, users)
            limits = limits or SharedLimits(config)
            address = serving.serve_webdav(config, limits, insecure=insecure)
        parts = []
        if mountpoint is not None:
            parts.append(f"mount={mountpoint}")
        if address is not None:
            parts.append(f"webdav={address}")
        if loaded is not None and limits is not None:
            parts += _serve_apis(serving, loaded, limits, insecure=insecure)

        def ready() -> None:
            announce(" ".join(parts))
            _tell_what_to_try(data, directory, address)

        if mountpoint is not None:
            serving.run_mount(mountpoint, ready)
        else:
            until_signal(ready)
        output.say("stopping: storing everything")
    output.say("stopped; everything is stored")


def _configured(ctx: click.Context, file: str | None, flags: dict[str, Any], *, insecure: bool) -> Loaded:
    from graviton_server.cli.serve import configured, refuse_what_up_lacks

    loaded = configured(ctx, file, flags, insecure=insecure)
    refuse_what_up_lacks(loaded)
    return loaded


def _serve_apis(serving: Serving, loaded: Loaded, limits: SharedLimits, *, insecure: bool) -> list[str]:
    """Those that flags or the configuration say where to listen for."""
    served = (loaded.config, loaded.surroundings, limits)
    parts = []
    if _asked_for(loaded, "http"):
        parts.append(f"http={serving.serve_http(*served, insecure=insecure)}")
        if loaded.config.console.enabled:
            parts.append(f"console={serving.service.http}/console/")
    if _asked_for(loaded, "grpc"):
        parts.append(f"grpc={serving.serve_grpc(*served, insecure=insecure)}")
    return parts


def _asked_for(loaded: Loaded, api: str) -> bool:
    return any(key.startswith(f"graviton.server.{api}.") for key in loaded.sources)


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
