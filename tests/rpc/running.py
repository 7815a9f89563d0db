"""Daemons as processes, and a wire between that can be cut."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.programs import ROOT, environment
from harness.waiting import wait_until


class Daemon:
    """One process; started again on the same port after a kill."""

    def __init__(self, data: Path, scratch: Path, lease: float = 30.0) -> None:
        self.data = data
        self.lease = lease
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
                [sys.executable, "-m", "rpc.daemon", str(self.data), str(self.port), str(self.lease)],
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
def daemon(data: Path, scratch: Path, lease: float = 30.0) -> Iterator[Daemon]:
    running = Daemon(data, scratch, lease)
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.kill()


@contextmanager
def untroubled(data: Path, scratch: Path) -> Iterator[Daemon]:
    """As ``daemon``; it is stopped in the end, and has logged no error."""
    with daemon(data, scratch) as started:
        yield started
        log = started.stop()
    assert [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line] == []


def goes_on(writer: subprocess.Popen[bytes], seconds: float) -> None:
    """``mount_writer.py`` writes for so long, without an end."""
    try:
        said, _ = writer.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"the writer ended with {writer.returncode}: {said.decode()}")


class Wire:
    """Forwards TCP connections to a port; ``cut`` breaks them all, ``hold`` lets nothing pass meanwhile.

    ``_lock`` guards the sockets and the threads.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._answering = threading.Event()
        self._answering.set()
        self._closed = False
        self.connections = 0
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self.connections += 1
            with self._lock:
                self._sockets |= {near, far}
            self._start(self._join, near, far)

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._forward, args=(far, near, self._answering), daemon=True)
        back.start()
        self._forward(near, far)
        back.join()
        with self._lock:
            self._sockets -= {near, far}
        near.close()
        far.close()

    def _forward(
        self, source: socket.socket, sink: socket.socket, answering: threading.Event | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                if answering is not None:
                    answering.wait()
                sink.sendall(data)
        self._break(source, sink)

    @staticmethod
    def _break(*sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with self._lock:
            self._break(*self._sockets)

    def hold(self) -> None:
        self._flowing.clear()

    def hold_replies(self) -> None:
        """Requests pass, and what they are answered does not."""
        self._answering.clear()

    def release(self) -> None:
        self._flowing.set()
        self._answering.set()

    def close(self) -> None:
        """No connection any more, old or new. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._break(self._listener)
        self.release()
        while True:
            self.cut()
            with self._lock:
                thread = self._threads.pop() if self._threads else None
            if thread is None:
                break
            thread.join(10)
        self._listener.close()
