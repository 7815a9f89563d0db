"""Daemons whose page is opened, and programs that are signed in as browsers are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.browser import Signed
from console.page import Page, chromium
from harness.api import Api, address_in
from harness.programs import Graviton, Running


class Daemon:
    """``graviton serve``; can be started again on the same data."""

    def __init__(self, graviton: Graviton, scratch: Path, config: str) -> None:
        self.graviton = graviton
        self.data = scratch / "data"
        self.file = scratch / "graviton.conf"
        self.file.write_text(config)
        self.clients: list[Api] = []
        self.start()

    def start(self, port: int = 0) -> None:
        where = ("--data", self.data, "--http", f"127.0.0.1:{port}", "--grpc", "127.0.0.1:0")
        self.running: Running = self.graviton.start("serve", "--config", self.file, *where)
        self.ready = self.running.ready_line()
        self.url = address_in(self.ready)
        self.api = self.client()

    def client(self, token: str | None = None) -> Api:
        self.clients.append(Api(self.url, token=token))
        return self.clients[-1]

    def token(self, name: str, *options: str) -> str:
        made = self.graviton.run("token", "create", self.data, "--name", name, *options)
        return made.stdout.decode().strip()

    def signed_in(self, token: str) -> Signed:
        return Signed(self.client(), self.url, token)

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def daemon(graviton: Graviton, scratch: Path) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def start(config: str = "") -> Daemon:
        made.append(Daemon(graviton, scratch, config))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium and chromium-driver are not installed")
    os.environ["SE_OFFLINE"] = "true"  # nothing is fetched for it
    folder = tmp_path_factory.mktemp("chromium")
    driver = chromium(folder)
    yield Page(driver, folder / "downloads")
    driver.quit()


@pytest.fixture
def page(_chromium: Page) -> Iterator[Page]:
    """A browser that knows nothing yet. What its console complains of fails the test."""
    yield _chromium
    troubles = _chromium.troubles()
    _chromium.forget()
    assert not troubles, troubles
