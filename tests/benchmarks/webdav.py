"""The WebDAV rows: one client on one connection against each server."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.environment import program
from tests.benchmarks.report import number
from tests.benchmarks.results import ROWS, Results
from tests.benchmarks.systems import SOURCES, peak_memory
from tests.benchmarks.workloads import CHUNK, Sizes, clock, incompressible

USER, PASSWORD = "bench", "correct horse"
WEBDAV_GROUPS = {"webdav": False, "webdav-password": True}
PROPFIND = b'<?xml version="1.0"?><propfind xmlns="DAV:"><allprop/></propfind>'


class Client:
    """HTTP/1.1 on one kept connection, without anything between."""

    def __init__(self, port: int, *, password: bool) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, blocksize=CHUNK)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"} if password else {}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        self.connection.request(method, path, body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content

    def put_big(self, path: str, data: memoryview) -> None:
        self.connection.putrequest("PUT", path)
        for name, value in {**self.headers, "Content-Length": str(len(data))}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        for start in range(0, len(data), CHUNK):
            self.connection.send(data[start : start + CHUNK])
        answer = self.connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"PUT {path}: {answer.status}")

    def get_big(self, path: str) -> int:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        buffer = memoryview(bytearray(CHUNK))
        total = 0
        while count := answer.readinto(buffer):
            total += count
        return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A WebDAV server on a directory of its own."""

    def __init__(self, name: str, home: Path, *, password: bool) -> None:
        self.port = _free_port()
        self.home = home
        self.password = password
        data = home / "data"
        data.mkdir(parents=True)
        self.log = (home / "log").open("wb")
        command = self._graviton(data) if name == "graviton" else self._rclone(data)
        start = time.perf_counter()
        self.process = self._spawn(command)
        while not self._answers():
            if self.process.poll() is not None or time.perf_counter() - start > 60:
                raise RuntimeError(f"{name} does not answer:\n{(home / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def _spawn(self, command: list[str], stdin: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": SOURCES}
        return subprocess.Popen(command, stdin=stdin, stdout=self.log, stderr=self.log, env=environment)

    def _rclone(self, data: Path) -> list[str]:
        users = ["--user", USER, "--pass", PASSWORD] if self.password else []
        return [program("rclone"), "serve", "webdav", str(data), "--addr", f"127.0.0.1:{self.port}", *users]

    def _graviton(self, data: Path) -> list[str]:
        graviton = [sys.executable, "-m", "graviton_server"]
        volume = str(data / "volume")
        self._spawn([*graviton, "init", volume]).wait(60)
        users = []
        if self.password:
            users = ["--users", str(self.home / "users")]
            making = self._spawn([*graviton, "passwd", users[1], USER, "--stdin"], stdin=subprocess.PIPE)
            making.communicate(f"{PASSWORD}\n".encode(), timeout=60)
        return [*graviton, "webdav", volume, "--listen", f"127.0.0.1:{self.port}", *users]

    def _answers(self) -> bool:
        try:
            Client(self.port, password=self.password).ask("PROPFIND", "/", Depth="0")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def close(self) -> int:
        peak = peak_memory(self.process.pid)
        self.process.terminate()
        self.process.wait(120)
        self.log.close()
        shutil.rmtree(self.home)
        return peak


class _Told:
    def __init__(self, results: Results, system: str, ending: str) -> None:
        self.results, self.system, self.ending = results, system, ending

    def __call__(self, row: str, value: float) -> None:
        name = f"WebDAV {row}{self.ending}"
        self.results.add(name, self.system, value)
        print(f"  {self.system:10} {name:42} {number(value, ROWS[name].unit)}", flush=True)


def _big(client: Client, tell: _Told, sizes: Sizes) -> None:
    data = incompressible(sizes.big)
    with clock() as spent:
        client.put_big("/big", data)
    tell("PUT, one big file", len(data) / 1e6 / spent())
    with clock() as spent:
        total = client.get_big("/big")
    assert total == len(data)
    tell("GET, one big file", total / 1e6 / spent())
    with clock() as spent:
        client.ask("COPY", "/big", Destination=f"http://127.0.0.1:{client.connection.port}/copy")
    tell("COPY, one big file", spent() * 1000)


def _small(client: Client, tell: _Told) -> None:
    block = bytes(incompressible(4096))
    client.ask("MKCOL", "/small/")
    with clock() as spent:
        for index in range(1000):
            client.ask("PUT", f"/small/file-{index:05}", index.to_bytes(8, "little") + block[8:])
    tell("PUT of 4 KiB files", 1000 / spent())
    with clock() as spent:
        for index in range(1000):
            client.ask("GET", f"/small/file-{index:05}")
    tell("GET of 4 KiB files", 1000 / spent())
    _propfind(client, tell, 1000)
    for index in range(1000, 10000):
        client.ask("PUT", f"/small/file-{index:05}", b"x")
    _propfind(client, tell, 10000)


def _propfind(client: Client, tell: _Told, members: int) -> None:
    with clock() as spent:
        for _ in range(5):
            answer = client.ask("PROPFIND", "/small/", PROPFIND, Depth="1")
    assert answer.count(b"file-") >= members
    tell(f"PROPFIND of {members:,}", spent() * 1000 / 5)


def run_webdav(group: str, systems: list[str], results: Results, sizes: Sizes, work: Path) -> None:
    """One round: rclone, then Graviton when it is among the systems."""
    password = WEBDAV_GROUPS[group]
    for name in ["rclone", *(["graviton"] if "graviton" in systems else [])]:
        server = Server(name, work / f"dav-{name}", password=password)
        try:
            client = Client(server.port, password=password)
            tell = _Told(results, name, ", with password" if password else "")
            _big(client, tell, sizes)
            _small(client, tell)
        finally:
            peak = server.close()
        results.add_process("rclone" if name == "rclone" else "graviton", peak, [])
