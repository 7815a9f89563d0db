"""Asking a volume in this process, for what no command shows."""

from __future__ import annotations

from pathlib import Path

from graviton_server.cli.opening import reach
from graviton_server.control.answers import Node
from graviton_server.control.requests import Stat


def node_at(data: Path, name: str) -> Node:
    with reach(data, "test") as caller:
        return caller.call(Stat(path=b"/" + name.encode(), details=True))
