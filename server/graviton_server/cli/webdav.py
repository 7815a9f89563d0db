"""graviton webdav."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graviton_server.cli import output, places
from graviton_server.cli.diskcache import refuse_disk_cache, told, with_disk_cache
from graviton_server.cli.gateway import RemoteGateway, gateway_config
from graviton_server.cli.options import GATEWAY_NAMES, Choices, parse
from graviton_server.cli.params import ADDRESS, DATA, FILE
from graviton_server.cli.serve import choices_of, configured, refuse_insecure
from graviton_server.cli.serving import Serving, announce, terminate_like_interrupt, until_signal

if TYPE_CHECKING:
    from graviton_server.config.load import Loaded
    from graviton_server.config.sections import Config


@click.command(
    epilog=f"Options of -o, as for 'graviton mount': {', '.join(GATEWAY_NAMES)}."
    " timeout is how long a request waits for a daemon that is away."
)
@click.argument("source", metavar="SOURCE", type=DATA)
@click.option("--listen", type=ADDRESS, help="HOST:PORT (port 0: any that is free); default: 127.0.0.1:8081.")
@click.option("--users", type=FILE, help="Users file ('graviton passwd' makes it); required but on loopback.")
@click.option(
    "--config",
    "file",
    type=FILE,
    help="Configuration of the gateway where SOURCE is none: graviton.webdav, auth, constraints, logging and"
    " server.http.request-timeout.",
)
@click.option("--insecure", is_flag=True, help="Listen for other machines without authentication.")
@click.option("-o", "options", metavar="OPTIONS", multiple=True, help="Options, separated by commas.")
@click.pass_context
def webdav(
    ctx: click.Context,
    source: str,
    listen: tuple[str, int] | None,
    users: str | None,
    file: str | None,
    insecure: bool,
    options: tuple[str, ...],
) -> None:
    """Serve the volume of SOURCE over WebDAV, in the foreground.

    SOURCE is a data directory, a configuration file (names and packs are used where it says, without a
    daemon), or graviton://HOST:PORT/VOLUME of a daemon (gravitons:// with TLS; several HOST:PORT separated
    by commas). Prints a line beginning with 'ready' when it answers; Ctrl-C or SIGTERM ends it.
    """
    choices = _parsed(options)
    flags = _flags(listen, users)
    if places.is_remote(source):
        loaded = _of_gateway(ctx, file, flags, insecure=insecure)
        _remote(source, choices, gateway_config(loaded, listen, users), insecure=insecure)
        return
    for name in (*choices.of_daemons(), *(["timeout"] if choices.timeout != Choices().timeout else [])):
        raise click.UsageError(f"{name}: for a SOURCE of graviton:// alone")
    data = places.source(source)
    if data.is_file():
        if file is not None:
            raise click.UsageError(f"--config: SOURCE is a configuration file already: {source}")
        _direct(configured(ctx, str(data), flags, insecure=insecure), choices, insecure=insecure)
        return
    refuse_disk_cache(choices)
    loaded = _of_gateway(ctx, file, flags, insecure=insecure)
    if loaded is not None:
        choices = choices_of(loaded, choices)
    _serve(data, choices, gateway_config(loaded, listen, users), insecure=insecure)


def _parsed(options: tuple[str, ...]) -> Choices:
    choices = parse(options)
    foreign = choices.of_mounts()
    if foreign:
        raise click.UsageError(f"{', '.join(foreign)}: for 'graviton mount' alone")
    return choices


def _flags(listen: tuple[str, int] | None, users: str | None) -> dict[str, Any]:
    """As the keys they stand for."""
    flags: dict[str, Any] = {}
    if listen is not None:
        flags["graviton.webdav.host"], flags["graviton.webdav.port"] = listen
    if users is not None:
        flags["graviton.webdav.users-file"] = str(Path(users).absolute())
    return flags


def _of_gateway(
    ctx: click.Context, file: str | None, flags: dict[str, Any], *, insecure: bool
) -> Loaded | None:
    """Says nothing of where names and packs are: that is SOURCE's business."""
    if file is None:
        if insecure:
            from graviton_server.config.environment import surroundings

            refuse_insecure(surroundings(os.environ))
        return None
    loaded = configured(ctx, file, flags, insecure=insecure)
    for key, where in loaded.sources.items():
        if key.startswith(("graviton.database.", "graviton.storage.")) and not where.startswith(
            "environment"
        ):
            raise click.UsageError(f"{key} in {file}: give {file} as SOURCE to serve what it describes")
    return loaded


def _direct(loaded: Loaded, choices: Choices, *, insecure: bool) -> None:
    """The gateway is an engine of the store that the configuration describes."""
    config = loaded.config
    choices = choices_of(loaded, choices)
    if config.storage.backend != "directory" or config.database.jdbc_url is not None:
        choices = with_disk_cache(choices, None, default=config.storage.backend != "directory")
        output.say(told(choices))
    else:
        refuse_disk_cache(choices)
    _serve(places.source(config.data_dir), choices, config, insecure=insecure, store=config)


def _serve(
    data: Path, choices: Choices, config: Config, *, insecure: bool, store: Config | None = None
) -> None:
    """``store``: says where names and packs are, in place of all in ``data``."""
    from graviton_server.cli.limits import SharedLimits

    terminate_like_interrupt()
    with Serving(data, "webdav", choices, create=store is not None, config=store) as serving:
        address = serving.serve_webdav(config, SharedLimits(config), insecure=insecure, read_only=choices.ro)
        until_signal(lambda: announce(f"webdav={address}"))
    output.say("stopped; everything is stored")


def _remote(source: str, choices: Choices, config: Config, *, insecure: bool) -> None:
    choices = with_disk_cache(choices, None, default=True)
    output.say(told(choices))
    terminate_like_interrupt()
    with RemoteGateway(source, choices, config, insecure=insecure) as gateway:
        until_signal(lambda: announce(f"webdav={gateway.url}"))
    output.say("stopped; everything is stored")
