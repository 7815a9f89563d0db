"""graviton token."""

from __future__ import annotations

import time

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import reach_source
from graviton_server.cli.params import DATA, DURATION
from graviton_server.control.store_requests import ListTokens, MakeToken, RevokeToken


@click.group()
def token() -> None:
    """Tokens for programs: as Bearer tokens, and as passwords of WebDAV.

    The volume keeps their hashes only.
    """


@token.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.option("--name", required=True, help="What it is for; shows in lists and logs.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    default=("read", "write"),
    show_default=True,
    help="What it allows; may be given more than once. 'admin' includes the others.",
)
@click.option("--volume", "volumes", multiple=True, help="Only for this volume; may be given more than once.")
@click.option("--expires", type=DURATION, help="How long it is valid, such as 90d; default: until revoked.")
@output.json_option
def create(
    source: str,
    name: str,
    scopes: tuple[str, ...],
    volumes: tuple[str, ...],
    expires: float | None,
    as_json: bool,
) -> None:
    """Make a token and print it, this once."""
    request = MakeToken(name=name, scopes=list(scopes), volumes=list(volumes) or None, lasts=expires)
    with reach_source(source, "token") as caller:
        made = caller.call(request)
    if as_json:
        output.print_json({"token": made.token} | msgspec.to_builtins(made.info))
    else:
        output.line(made.token)
        output.say(f"keep it: it is not shown again. Its id is {made.info.id}")


@token.command("list")
@click.argument("source", metavar="SOURCE", type=DATA)
@output.json_option
def list_(source: str, as_json: bool) -> None:
    """List tokens, without their secrets."""
    with reach_source(source, "token") as caller:
        found = caller.call(ListTokens())
    if as_json:
        output.print_json(msgspec.to_builtins(found))
        return
    titles = ("id", "name", "scopes", "volumes", "made", "expires")
    output.rows(
        [titles]
        + [
            (
                one.id,
                one.name,
                ",".join(one.scopes),
                "all" if one.volumes is None else ",".join(one.volumes),
                _day(one.created),
                "never" if one.expires is None else _day(one.expires),
            )
            for one in found
        ]
    )


@token.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@click.argument("which", metavar="ID|NAME")
def revoke(source: str, which: str) -> None:
    """Revoke a token; it is refused within seconds."""
    with reach_source(source, "token") as caller:
        gone = caller.call(RevokeToken(token=which))
    output.say(f"the token {gone.name} ({gone.id}) is revoked")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
