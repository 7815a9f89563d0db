"""/health, /metrics and /openapi.json: open to everybody who reaches the port."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import falcon

import gravitonfs
from graviton_server.http_api.context import answer
from graviton_server.http_api.openapi import specification

Checks = Callable[[], dict[str, str | None]]
"""What readiness depends on, by name: None, or what is wrong with it. Must answer soon."""


class Health:
    """Alive: the process answers. The checks are told, and do not matter for the status."""

    def __init__(self, checks: Checks, *, production: bool) -> None:
        self._checks = checks
        self._production = production
        self._started = time.time()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        checks = self._found()
        good = all(state == "ok" for state in checks.values())
        value: dict[str, Any] = {"status": "ok" if good else "degraded", "checks": checks}
        value["uptime_seconds"] = round(time.time() - self._started, 3)
        value["version"] = gravitonfs.__version__
        answer(resp, value)
        resp.set_header("Cache-Control", "no-store")

    def on_get_live(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, {"status": "ok"})
        resp.set_header("Cache-Control", "no-store")

    def on_get_ready(self, req: falcon.Request, resp: falcon.Response) -> None:
        """503 while the database or the write floor is missing: a load balancer goes elsewhere."""
        checks = self._found()
        good = all(state == "ok" for state in checks.values())
        answer(resp, {"status": "ok" if good else "unready", "checks": checks}, 200 if good else 503)
        resp.set_header("Cache-Control", "no-store")
        if not good:
            resp.set_header("Retry-After", "5")

    def _found(self) -> dict[str, str]:
        failed = "failed" if self._production else None
        return {name: "ok" if wrong is None else failed or wrong for name, wrong in self._checks().items()}


class Metrics:
    def __init__(self, render: Callable[[], tuple[bytes, str]]) -> None:
        self._render = render

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.data, resp.content_type = self._render()


class Specification:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer(resp, specification())
