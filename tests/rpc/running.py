"""Daemons as processes, and a wire between that can be cut."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.programs import ROOT, environment
from harness.waiting import wait_until


class Daemon:
    """One process; started again on the same port after a kill."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.data = data
        self.scratch = scratch
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.count = 0
        self.start()

    def start(self) -> None:
        self.count += 1
        output, log = self.scratch / f"daemon-{self.count}.out", self.scratch / f"daemon-{self.count}.log"
        extra = {"PYTHONPATH": environment()["PYTHONPATH"] + f":{ROOT / 'tests'}"}
        with output.open("wb") as out, log.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rpc.daemon", str(self.data), str(self.port)],
                env=environment(**extra),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

        def ready() -> int | None:
            lines = output.read_text().split()
            if len(lines) == 2:
                return int(lines[1])
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()
            return None

        self.port = wait_until(ready, "the daemon to be ready", 60) or 0

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> str:
        """Ends it, and returns what it logged."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0, self.log()
        return self.log()

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.scratch.glob("daemon-*.log")))


@contextmanager
def daemon(data: Path, scratch: Path) -> Iterator[Daemon]:
    running = Daemon(data, scratch)
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill()


class Wire:
    """Forwards TCP connections to a port; ``cut`` breaks them all, ``hold`` lets nothing pass meanwhile."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._open = threading.Event()
        self._open.set()
        self._refuse = False
        self._closed = False
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuse:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                near.close()
                continue
            self.connections += 1
            with self._lock:
                self._sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._open.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def refuse(self, refuse: bool) -> None:
        """New connections are closed at once; those there are, are cut."""
        self._refuse = refuse
        if refuse:
            self.cut()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        self._open.set()
        self.cut()
