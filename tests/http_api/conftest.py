"""Daemons as their users start them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.api import Api, address_in
from harness.programs import Graviton, Running


class Daemon:
    """One ``graviton serve`` with a configuration; can be started again on the same data."""

    def __init__(self, graviton: Graviton, scratch: Path, config: str, **environment: str) -> None:
        self._graviton = graviton
        self._environment = environment
        self._clients: list[Api] = []
        self.data = scratch / "data"
        self.file = scratch / "graviton.conf"
        self.file.write_text(config)
        self.start()

    def start(self) -> None:
        self.running: Running = self._graviton.start(
            "serve",
            "--config",
            self.file,
            "--data",
            self.data,
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
            **self._environment,
        )
        self.ready = self.running.ready_line()
        self.url = address_in(self.ready)
        self.api = Api(self.url)

    def restart(self, *, kill: bool = False) -> None:
        self.api.close()
        if kill:
            self.running.kill()
        else:
            assert self.running.stop() == 0
        self.start()

    def client(self, token: str | None = None) -> Api:
        """Closed with the daemon."""
        self._clients.append(Api(self.url, token=token))
        return self._clients[-1]

    def close(self) -> None:
        for client in (self.api, *self._clients):
            client.close()


@pytest.fixture
def daemon(graviton: Graviton, scratch: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def start(config: str = "", **environment: str) -> Daemon:
        made.append(Daemon(graviton, scratch, config, **environment))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def api(daemon: Callable[..., Daemon]) -> Api:
    return daemon().api
