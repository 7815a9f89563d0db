"""Work on a whole volume: done by the process that owns it, or here, in a session of a daemon's volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from graviton_server.cli import places
from graviton_server.cli.access import remote_volume
from graviton_server.cli.opening import reach_source

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.content.volume import Volume

MAIN: Final = "main"


def in_volume(
    source: str,
    volume: str | None,
    options: dict[str, Path | None],
    role: str,
    owner: Callable[[Caller, str], Any],
    work: Callable[[Volume], Any],
    *,
    read_only: bool = False,
) -> dict[str, Any]:
    """Done by the process that owns the volume, or here, in a session of a daemon's volume."""
    source = whose(source)
    answer: dict[str, Any]
    if places.is_remote(source):
        with remote_volume(source, volume, options, role, read_only=read_only) as opened:
            answer = msgspec.to_builtins(work(opened))
    else:
        with reach_source(source, role) as caller:
            answer = msgspec.to_builtins(owner(caller, volume or MAIN))
    return answer


def whose(source: str) -> str:
    """What a path in a mount of a daemon's volume is a path of."""
    mountpoint = places.remote_mount(source)
    if mountpoint is not None:
        told = places.mount_of(mountpoint)
        if told is not None:
            return str(told["source"])
    return source
