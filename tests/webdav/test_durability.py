"""What a gateway has answered is there after ``kill -9``."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.wiring import create_embedded, open_embedded
from harness.dav import Client
from harness.places import make_scratch

GATEWAY = """
import sys, threading
from pathlib import Path
from graviton_server.wiring import open_embedded
from graviton_webdav.app import WebDavServer
engine = open_embedded(Path(sys.argv[1]))
server = WebDavServer(engine.volume("webdav"), port=0)
server.start()
print(server.address[1], flush=True)
threading.Event().wait()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    path = make_scratch()
    yield path
    shutil.rmtree(path)


class Writer(threading.Thread):
    """Writes, moves and copies at random, and keeps what was acknowledged."""

    def __init__(self, port: int, home: str, seed: int) -> None:
        super().__init__()
        self.client = Client(("127.0.0.1", port))
        self.home = home
        self.random = random.Random(seed)
        self.acknowledged: dict[str, bytes] = {}
        self.in_flight: set[str] = set()
        self.count = 0

    def run(self) -> None:
        try:
            while True:
                self.step()
                self.count += 1
        except OSError:
            pass  # the server is gone
        finally:
            self.client.close()

    def step(self) -> None:
        name = f"{self.home}{self.random.randrange(20)}"
        other = f"{self.home}{self.random.randrange(20)}"
        choice = self.random.random()
        self.in_flight = {name, other}
        if choice < 0.6 or name not in self.acknowledged or name == other:
            size = self.random.choice((0, 100, 4096, 70_000, 2_000_000))
            data = self.random.randbytes(size)
            assert self.client("PUT", name, data).status in (201, 204)
            self.acknowledged[name] = data
        elif choice < 0.8:
            assert self.client("MOVE", name, Destination=other).status in (201, 204)
            self.acknowledged[other] = self.acknowledged.pop(name)
        elif choice < 0.9:
            assert self.client("COPY", name, Destination=other).status in (201, 204)
            self.acknowledged[other] = self.acknowledged[name]
        else:
            assert self.client("DELETE", name).status == 204
            del self.acknowledged[name]
        self.in_flight = set()


@pytest.mark.parametrize("seed", range(3))
def test_acknowledged_changes_survive_kill_9(place: Path, seed: int) -> None:
    data = place / "volume"
    create_embedded(data)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(data)], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    maker = Client(("127.0.0.1", port))
    writers = []
    for number in range(3):
        assert maker("MKCOL", f"/{number}/").status == 201
        writers.append(Writer(port, f"/{number}/", seed * 10 + number))
    maker.close()
    for writer in writers:
        writer.start()
    goal = 20 + seed * 25
    while min(writer.count for writer in writers) < goal and any(writer.is_alive() for writer in writers):
        writers[0].join(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for writer in writers:
        writer.join()
    assert all(writer.count >= goal for writer in writers), "a writer has stopped early"
    with open_embedded(data) as engine:
        volume = engine.volume("check")
        for writer in writers:
            found = {}
            directory = volume.namespace.resolve([writer.home.strip("/").encode()])[0].ino
            for entry in volume.namespace.entries(directory, None, 1000):
                body = bytes(volume.reader(entry.attr).read(0, entry.attr.size))
                found[f"{writer.home}{entry.name.decode()}"] = body
            certain = writer.acknowledged.keys() - writer.in_flight
            assert {name: found.get(name) for name in certain} == {
                name: writer.acknowledged[name] for name in certain
            }
            assert found.keys() - writer.acknowledged.keys() <= writer.in_flight
        volume.close()
