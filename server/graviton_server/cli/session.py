"""graviton session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.access import access, daemon_of
from graviton_server.cli.opening import reach_source
from graviton_server.cli.places import is_remote
from graviton_server.control.store_requests import EvictSession, ListSessions


@click.group()
def session() -> None:
    """Who uses a volume: mounts, gateways, programs.

    SOURCE is the data directory of a volume, or of a process that shares its store, or
    graviton://HOST:PORT. One that "holds" has its volume to itself and keeps what it was told; others
    that come wait until it lets go.
    """


@session.command("list")
@access
@output.json_option
def list_(source: str, as_json: bool, **access_: Path | None) -> None:
    """List sessions."""
    if is_remote(source):
        with daemon_of(source, access_) as daemon:
            found = [one._asdict() for one in daemon.sessions()]
    else:
        with reach_source(source, "session") as caller:
            found = [msgspec.to_builtins(one) for one in caller.call(ListSessions())]
    if as_json:
        output.print_json(found)
        return
    titles = ("number", "volume", "what", "", "idle")
    output.rows([titles] + [_row(one) for one in found])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    marks = {
        "holds": one["holds"],
        "read-only": one["read_only"],
        "remote": one["remote"],
        "away": not one["attached"],
    }
    idle = one.get("idle_seconds")
    told = ",".join(mark for mark, so in marks.items() if so)
    return str(one["number"]), one["volume"], one["label"], told, "" if idle is None else f"{idle:.0f} s"


@session.command()
@access
@click.argument("number", type=click.IntRange(1))
def evict(source: str, number: int, **access_: Path | None) -> None:
    """End a session: what it sends from now on is refused.

    For one whose process is gone, so that nobody has to wait for it. A mount that lives begins another
    session; what it has not stored yet may fail.
    """
    if is_remote(source):
        with daemon_of(source, access_) as daemon:
            daemon.evict(number)
    else:
        with reach_source(source, "session") as caller:
            caller.call(EvictSession(number=number))
    output.say(f"session {number} has ended")
