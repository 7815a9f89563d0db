"""A mount with a journal, behind a wire that can be cut."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb
from harness.programs import Graviton, Running
from harness.proxy import TcpProxy
from rpc.running import Daemon, untroubled
from rpc.test_faults import connected

__all__ = ["Laptop", "Writer", "evict", "kept", "laptop", "opened", "proxy", "served"]


@pytest.fixture
def served(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with untroubled(scratch / "data", folder) as started:
        yield started


@pytest.fixture
def proxy(served: Daemon) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", served.port) as made:
        yield made


class Laptop:
    """A mount behind a wire that can be cut, with its journal in the scratch directory."""

    def __init__(self, graviton: Graviton, proxy: TcpProxy, scratch: Path) -> None:
        self.graviton = graviton
        self.proxy = proxy
        # What asks while the daemon is away fails, and is logged: statfs and getattr of the kernel's own too.
        graviton.allow_log("the daemon does not answer")
        self.state = str(scratch / "state")
        self.point = scratch / "mnt"
        self.local = scratch / "local"
        self.process: Running | None = None

    @property
    def source(self) -> str:
        return f"graviton://127.0.0.1:{self.proxy.port}/main"

    def mount(self, *options: str) -> Running:
        more = ("durability=local", f"cache-dir={self.local},cache-reserve=0", *(options or ("timeout=3s",)))
        self.process = self.graviton.mount(
            self.source,  # type: ignore[arg-type]
            self.point,
            *more,
            XDG_STATE_HOME=self.state,
        )
        return self.process

    def start(self) -> Running:
        """As ``mount``, without waiting for it."""
        options = f"durability=local,cache-dir={self.local},cache-reserve=0"
        return self.graviton.start("mount", self.source, self.point, "-f", "-o", options)

    def away(self) -> None:
        self.proxy.refusing = True
        self.proxy.cut_all()

    def back(self) -> None:
        self.proxy.heal()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def segments(self) -> list[Path]:
        return sorted(self.local.rglob("*.journal"))

    def unmount(self) -> None:
        assert self.process is not None
        self.graviton.unmount(self.process, self.point)


@pytest.fixture
def laptop(graviton: Graviton, proxy: TcpProxy, scratch: Path) -> Laptop:
    return Laptop(graviton, proxy, scratch)


_WRITER = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
print("done", flush=True)
while True:
    line = sys.stdin.readline().split()
    if not line:
        break
    if line[0] == "write":
        os.pwrite(descriptor, bytes.fromhex(line[2]) * int(line[3]), int(line[1]))
    elif line[0] == "sync":
        os.fsync(descriptor)
    elif line[0] == "size":
        os.ftruncate(descriptor, int(line[1]))
    print("done", flush=True)
os._exit(0)
"""


class Writer:
    """A program with a file open. A process of its own: closing the file may have to wait for the daemon."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "done\n"

    def do(self, *words: object) -> float:
        """How long it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        start = time.monotonic()
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        return time.monotonic() - start

    def write(self, offset: int, pattern: bytes, count: int = 1) -> None:
        self.do("write", offset, pattern.hex(), count)

    def sync(self) -> float:
        return self.do("sync")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def opened() -> Iterator[list[Writer]]:
    writers: list[Writer] = []
    yield writers
    for writer in writers:
        writer.end()


def evict(port: int, label: str) -> None:
    connection = connected(port)
    admin = "/graviton.v1.AdminService/"
    listed = connection.call(
        admin + "ListSessions", pb.ListSessionsRequest(volume="main"), pb.ListSessionsReply, timeout=5
    )
    for session in listed.sessions:
        if session.label.startswith(label):
            request = pb.EvictSessionRequest(number=session.number)
            connection.call(admin + "EvictSession", request, pb.EvictSessionReply, timeout=5)
    connection.close()


def kept(laptop: Laptop) -> list[bytes]:
    """What is in .graviton-lost, as bytes."""
    folder = laptop.point / ".graviton-lost"
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
