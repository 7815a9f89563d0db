"""/api/v1/admin/work and usage: what a page asks every few seconds, and costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import falcon
import msgspec

import gravitonfs
from graviton_server.control.requests import GetWork
from graviton_server.http_api.admin import Ask
from graviton_server.http_api.context import answer, number

_END = 10**11


class Watching:
    def __init__(self, ask: Ask, history: Callable[[], list[dict[str, Any]]]) -> None:
        self._ask = ask
        self._history = history

    def on_get_work(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What the process does in the background; without figures that are read from the whole store."""
        answer(resp, msgspec.to_builtins(self._ask(GetWork())) | {"version": gravitonfs.__version__})

    def on_get_usage(self, req: falcon.Request, resp: falcon.Response) -> None:
        since = number(req, "since", 0, _END) or 0
        until = number(req, "until", 0, _END)
        kept = self._history()
        answer(
            resp, {"samples": [s for s in kept if since <= s["time"] <= (_END if until is None else until)]}
        )
