"""Reaching a volume: through the process that has it open, else by opening it here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from graviton_server.cli import places
from graviton_server.control.client import NobodyThere, RemoteCaller
from graviton_server.control.wire import SOCKET_NAME
from gravitonfs.errors import Locked

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller

_OWNER_ANSWERS_WITHIN = 10.0
_AGAIN_AFTER = 0.05


@contextmanager
def reach(data: Path, role: str) -> Iterator[Caller]:
    """A caller for the volume, closed at the end: what was done is stored then."""
    caller = _reach(data, role)
    try:
        yield caller
    finally:
        caller.close()


@contextmanager
def reach_source(source: str, role: str) -> Iterator[Caller]:
    """As ``reach``, of a data directory, a path in a mount, or a configuration file."""
    if not places.is_remote(source) and Path(source).is_file() and places.parse(source) is None:
        caller = _reach_configured(source, role)
        try:
            yield caller
        finally:
            caller.close()
        return
    with reach(places.source_of(source), role) as found:
        yield found


def _reach_configured(file: str, role: str) -> Caller:
    """Its process, where one has its data directory; else this one becomes an engine of the store."""
    from graviton_server.cli.serve import configured
    from graviton_server.control.calls import LocalCaller
    from graviton_server.control.service import Service
    from graviton_server.wiring import EngineOptions
    from graviton_server.wiring.configured import open_configured

    config = configured(click.get_current_context(), file, {}, insecure=False).config
    found = owner(places.source(config.data_dir))
    if found is not None:
        return found
    options = EngineOptions(
        background=False, trash_days=config.trash.days, trash_min_age=config.trash.min_age
    )
    service = Service(open_configured(config, options), role)
    service.listen()
    return LocalCaller(service, _waiting)


def _reach(data: Path, role: str) -> Caller:
    """Neither side is asked to wait: between two owners it is tried again for a while."""
    give_up = time.monotonic() + _OWNER_ANSWERS_WITHIN
    while True:
        for home in _homes(data):
            try:
                return RemoteCaller(home)
            except NobodyThere:
                pass
        try:
            return _open_here(data, role)
        except Locked as locked:
            if time.monotonic() > give_up:
                raise Locked(f"{locked}; it does not answer commands: wait until it has ended") from None
            time.sleep(_AGAIN_AFTER)


def _homes(data: Path) -> list[Path]:
    """Where a process may listen: one that shares its store does so in its engine's own directory."""
    return [home for home in (data, *sorted(data.glob("engine-*"))) if (home / SOCKET_NAME).exists()]


def _open_here(data: Path, role: str) -> Caller:
    from graviton_server.control.calls import LocalCaller
    from graviton_server.control.service import Service
    from graviton_server.wiring import EngineOptions, open_embedded

    service = Service(open_embedded(data, options=EngineOptions(background=False)), role)
    service.listen()
    return LocalCaller(service, _waiting)


def _waiting(count: int) -> None:
    """Shown when this command is done, and others still work through this process."""
    if sys.stderr.isatty():
        print(f"waiting for {count} other command(s) that use the volume through this one", file=sys.stderr)


def owner(data: Path) -> RemoteCaller | None:
    """The process that has the volume open, if there is one."""
    for home in _homes(data):
        try:
            return RemoteCaller(home)
        except NobodyThere:
            pass
    return None
