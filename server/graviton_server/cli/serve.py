"""graviton serve."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import click

from graviton_server.cli import output, places
from graviton_server.cli.options import Choices
from graviton_server.cli.params import ADDRESS, DATA, FILE
from graviton_server.cli.serving import Serving, announce, terminate_like_interrupt, until_signal

if TYPE_CHECKING:
    from graviton_server.config.environment import Surroundings
    from graviton_server.config.load import Loaded

log = logging.getLogger("graviton")

_LEVELS = {"WARN": "warning"}


@click.command()
@click.option(
    "--config", "file", type=FILE, help="Configuration (default: GRAVITON_CONFIG, else the system's)."
)
@click.option(
    "--data", type=DATA, help="The engine's directory, in place of graviton.data-dir; made when missing."
)
@click.option("--http", type=ADDRESS, help="HOST:PORT of the HTTP API (port 0: any).")
@click.option("--grpc", type=ADDRESS, help="HOST:PORT of gRPC (port 0: any).")
@click.option("--insecure", is_flag=True, help="Listen for other machines without authentication.")
@click.pass_context
def serve(
    ctx: click.Context,
    file: str | None,
    data: str | None,
    http: tuple[str, int] | None,
    grpc: tuple[str, int] | None,
    insecure: bool,
) -> None:
    """Serve volumes over the network: the daemon.

    Prints a line beginning with 'ready' when everything answers; Ctrl-C or SIGTERM stores everything and
    ends it.
    """
    loaded = configured(ctx, file, address_flags(data, http, grpc), insecure=insecure)
    config = loaded.config
    terminate_like_interrupt()
    from graviton_server.cli.limits import SharedLimits

    data_dir = places.source(config.data_dir)
    with Serving(data_dir, "serve", choices_of(loaded), create=True, config=config) as serving:
        limits = SharedLimits(config)
        served = (config, loaded.surroundings, limits)
        parts = [
            f"http={serving.serve_http(*served, insecure=insecure)}",
            f"grpc={serving.serve_grpc(*served, insecure=insecure)}",
        ]
        if config.console.enabled:
            parts.append(f"console={serving.service.http}/console/")
        if config.webdav.enabled:
            parts.append(f"webdav={serving.serve_webdav(config, limits, insecure=insecure)}")
        if config.metrics.enabled and config.metrics.prometheus_port is not None:
            serving.export_metrics(config.server.http.host, config.metrics.prometheus_port)
        until_signal(lambda: announce(" ".join(parts)))
        output.say("stopping: storing everything")
    output.say("stopped; everything is stored")


def address_flags(
    data: str | None, http: tuple[str, int] | None, grpc: tuple[str, int] | None
) -> dict[str, Any]:
    """Flags as the keys they stand for."""
    flags: dict[str, Any] = {"graviton.data-dir": None if data is None else os.path.abspath(data)}
    for name, address in (("http", http), ("grpc", grpc)):
        if address is not None:
            flags[f"graviton.server.{name}.host"], flags[f"graviton.server.{name}.port"] = address
    return flags


def configured(ctx: click.Context, file: str | None, flags: dict[str, Any], *, insecure: bool) -> Loaded:
    """The configuration, with logging as it says and its warnings told."""
    from graviton_server import logs
    from graviton_server.config.load import load

    loaded = load(file, flags=flags)
    logging_ = loaded.config.logging
    level, form = ctx.obj or (None, None)
    default_form = "json" if loaded.surroundings.production else "human"
    written = {"text": "human", "json": "json", None: default_form}[logging_.format]
    logs.setup(level or _LEVELS.get(logging_.level, logging_.level.lower()), form or written)
    if insecure:
        refuse_insecure(loaded.surroundings)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded


def refuse_insecure(around: Surroundings) -> None:
    """In production nobody is let in by mistake."""
    if around.production:
        raise click.UsageError("--insecure is refused with GRAVITON_ENV=production: set up graviton.auth")


def choices_of(loaded: Loaded, given: Choices | None = None) -> Choices:
    """What the configuration asks for, beneath what was ``given`` as options."""
    choices = given or Choices()
    wanted = _wanted(loaded)
    return wanted._replace(
        **{name: value for name, value in choices._asdict().items() if value != Choices._field_defaults[name]}
    )


def _wanted(loaded: Loaded) -> Choices:
    from graviton_server.maintenance.backups import Plan
    from graviton_server.maintenance.snapshotting import Kept

    config = loaded.config
    embedded = config.database.jdbc_url is None and config.storage.backend == "directory"
    given = "graviton.gc.interval" in loaded.sources
    interval = config.gc.interval if given or not embedded else None
    return Choices(
        memory=loaded.surroundings.memory,
        collect_rest=interval,
        upkeep_rate=config.scrub.bytes_per_second,
        grace=config.gc.grace,
        keep=config.gc.keep,
        snapshots=Kept(config.snapshots.hourly, config.snapshots.daily, config.snapshots.weekly),
        trash=(config.trash.days, config.trash.min_age),
        backup=Plan(config.backup.interval, config.backup.keep),
        history_interval=config.console.history_interval,
        max_file_size=config.constraints.max_blob_size,
    )


def refuse_what_up_lacks(loaded: Loaded) -> None:
    """``up`` has names and packs in one directory; ``serve`` knows other places too."""
    from gravitonfs.errors import Unsupported

    config = loaded.config
    if config.database.jdbc_url is not None:
        raise Unsupported("graviton.database.jdbc-url: 'up' keeps names in SQLite; use 'graviton serve'")
    if config.storage.backend != "directory":
        raise Unsupported(
            f"graviton.storage.backend = {config.storage.backend}: 'up' keeps packs in DATA;"
            " use 'graviton serve'"
        )
