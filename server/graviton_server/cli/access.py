"""Options by which a command reaches a daemon, for those that take graviton:// as well as a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gravitonfs.client.administration import Administration
    from gravitonfs.client.connection import Connection
    from gravitonfs.content.volume import Volume

_FILE = click.Path(dir_okay=False, path_type=Path)
_ACCESS = (
    click.argument("source", metavar="SOURCE"),
    click.option("--token-file", type=_FILE, help="A token with the scope admin; default: GRAVITON_TOKEN."),
    click.option("--ca-file", type=_FILE, help="Whom to trust, for gravitons:// (PEM)."),
    click.option("--cert-file", type=_FILE, help="A client certificate (PEM)."),
    click.option("--key-file", type=_FILE, help="Its key (PEM)."),
)


def access(command: Any) -> Any:
    for one in reversed(_ACCESS):
        command = one(command)
    return command


@contextmanager
def daemon_of(source: str, options: dict[str, Path | None]) -> Iterator[Administration]:
    """Of ``graviton://HOST:PORT/VOLUME``."""
    from gravitonfs.client.administration import Administration

    with _connection(source, options) as (connection, _):
        yield Administration(connection)


@contextmanager
def remote_volume(
    source: str, volume: str | None, options: dict[str, Path | None], label: str, *, read_only: bool
) -> Iterator[Volume]:
    """A session of it. ``volume``: another one than the source names."""
    from gravitonfs.client.volumes import open_volume

    with _connection(source, options) as (connection, named):
        opened = open_volume(connection, volume or named, label=label, read_only=read_only)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def _connection(source: str, options: dict[str, Path | None]) -> Iterator[tuple[Connection, str]]:
    """And the volume that the source names."""
    from gravitonfs.client.connection import Connection
    from gravitonfs.client.endpoint import Endpoint

    endpoint, volume, _ = Endpoint.parse(source)
    connection = Connection(
        endpoint.with_options(
            token_file=options["token_file"],
            ca_file=options["ca_file"],
            cert_file=options["cert_file"],
            key_file=options["key_file"],
        )
    )
    try:
        yield connection, volume
    finally:
        connection.close()
