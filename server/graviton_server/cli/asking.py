"""A question for whoever has a volume: the process that owns it, or a daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from graviton_server.cli import places
from graviton_server.cli.access import daemon_of
from graviton_server.cli.opening import reach_source
from graviton_server.cli.volume_work import MAIN

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.client.administration import Administration


def ask(
    command: str,
    source: str,
    volume: str | None,
    options: dict[str, Path | None],
    owner: Callable[[Caller, str], Any],
    remote: Callable[[Administration, str], Any],
) -> Any:
    """The answer as JSON has it."""
    if places.is_remote(source):
        from gravitonfs.client.endpoint import Endpoint

        _, named, _ = Endpoint.parse(source)
        with daemon_of(source, options) as daemon:
            answer = remote(daemon, volume or named)
        return answer._asdict() if hasattr(answer, "_asdict") else answer
    with reach_source(source, command) as caller:
        return msgspec.to_builtins(owner(caller, volume or MAIN))
