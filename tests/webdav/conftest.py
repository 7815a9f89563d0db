"""A real engine and a real server on loopback for each module; tests work in directories of their own."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterator

import pytest

from graviton_server.wiring import Engine, open_embedded
from graviton_webdav.app import WebDavServer
from gravitonfs.content.volume import Volume
from harness.dav import Client
from harness.places import make_scratch

_numbers = itertools.count()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    path = make_scratch()
    with open_embedded(path / "volume", create=True) as opened:
        yield opened
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def volume(engine: Engine) -> Iterator[Volume]:
    attached = engine.volume("webdav")
    yield attached
    attached.close()


@pytest.fixture(scope="module")
def server(volume: Volume) -> Iterator[WebDavServer]:
    with WebDavServer(volume, port=0) as running:
        yield running


@pytest.fixture
def dav(server: WebDavServer, caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    """A client; an error in the server's log fails the test."""
    client = Client(server.address)
    yield client
    client.close()
    bad = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not bad, f"unexpected in the log: {bad}"


@pytest.fixture
def home(dav: Client, request: pytest.FixtureRequest) -> str:
    """A collection of the test's own, ending with a slash."""
    path = f"/{request.node.originalname}-{next(_numbers)}/"
    assert dav("MKCOL", path).status == 201
    return path
