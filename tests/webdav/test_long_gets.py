"""GET of files that are longer than the cache is wide, and the memory that a busy gateway takes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from graviton_server.wiring import Engine, EngineOptions, open_embedded
from graviton_webdav.app import WebDavServer
from graviton_webdav.passwords import set_password
from harness.dav import Client
from harness.places import make_scratch
from harness.programs import Graviton
from harness.waiting import wait_until

MIB = 1 << 20
SIZE = 24 * MIB


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    place = make_scratch()
    options = EngineOptions(cache=8 * MIB, background=False)
    with open_embedded(place / "v", create=True, options=options) as opened:
        yield opened
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[WebDavServer]:
    with closing(engine.volume("webdav")) as volume, WebDavServer(volume, port=0) as running:
        yield running


@pytest.fixture(scope="module")
def data(engine: Engine, server: WebDavServer) -> bytes:
    content = os.urandom(SIZE // 2) + b"again and again " * (SIZE // 32)
    with closing(Client(server.address)) as client:
        assert client("PUT", "/long", content).status == 201
    engine.store.seal_open()
    return content


def test_a_long_file_whole_in_part_and_in_parts(server: WebDavServer, data: bytes) -> None:
    with closing(Client(server.address)) as client:
        for _ in range(2):
            answer = client("GET", "/long")
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
            assert answer.body == data
        answer = client("GET", "/long", Range=f"bytes=12345-{SIZE - 2}")
        assert (answer.status, answer.body) == (206, data[12345 : SIZE - 1])
        answer = client("GET", "/long", Range=f"bytes=1-{8 * MIB},{9 * MIB}-{SIZE - 1}")
        assert answer.status == 206
        assert len(answer.body) == int(answer.headers["Content-Length"])
        assert data[1 : 8 * MIB + 1] in answer.body
        assert data[9 * MIB :] in answer.body
        assert client("GET", "/long", Range="bytes=0-9").body == data[:10]


def test_who_goes_away_in_the_middle_leaves_nothing_behind(
    engine: Engine, server: WebDavServer, data: bytes
) -> None:
    held = engine.content.fetcher.held
    for _ in range(5):
        with socket.create_connection(server.address, timeout=30) as connection:
            connection.sendall(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            assert held.used > 0
    wait_until(lambda: held.used == 0 and server.busy == 0, "the aborted answers to be given up")
    with closing(Client(server.address)) as client:
        assert client("GET", "/long").body == data


@pytest.mark.soak
def test_six_busy_clients_stay_under_600_mib(graviton: Graviton, scratch: Path) -> None:
    set_password(scratch / "users", "ann", "secret")
    graviton.run("init", scratch / "v")
    running = graviton.start("webdav", scratch / "v", "--listen", "127.0.0.1:0", "--users", scratch / "users")
    found = re.search(r":(\d+)/", running.ready_line())
    assert found is not None
    address = ("127.0.0.1", int(found[1]))
    wrong: list[str] = []

    def work(number: int) -> None:
        with closing(Client(address, "ann", "secret")) as client:
            size = (20 + 7 * number) * MIB
            for turn in range(5):
                content = os.urandom(size)
                client("PUT", f"/{number}-{turn}", content)
                if client("GET", f"/{number}-{turn}").body != content:
                    wrong.append(f"{number}-{turn}")
                client("GET", f"/{number}-0")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{running.pid}/status").read_text())
    running.stop()
    assert not wrong
    assert peak is not None
    assert int(peak[1]) < 600 << 10
