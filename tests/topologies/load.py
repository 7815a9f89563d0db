"""Clients of every kind that write and read through a balancer while daemons come and go."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from types import TracebackType

from harness.places import unmount
from harness.programs import ROOT
from harness.waiting import wait_until
from topologies.front_ends import FrontEnds

_WRITER = ROOT / "tests" / "rpc" / "mount_writer.py"


class Load:
    """A context manager. ``lenient``: a client of HTTP or WebDAV goes on where a daemon took a request with
    it, as it has to; mounts and clients of gRPC notice nothing."""

    def __init__(self, ends: FrontEnds, *, lenient: bool) -> None:
        self._ends, self._lenient = ends, lenient
        self._stop = threading.Event()
        self.done = {"http": 0, "dav": 0, "grpc": 0}
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._loop, args=(way, make))
            for way, make in (("http", self._http), ("dav", self._dav), ("grpc", self._grpc))
        ]

    def __enter__(self) -> Load:
        self._point = self._ends.scratch / "mnt-load"
        self._mount = self._ends.mount(self._point, "subdir=load")
        self._stopped = self._ends.scratch / "load.stop"
        command = [sys.executable, str(_WRITER), str(self._point), str(self._stopped)]
        self._writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._stopped.touch()
        for thread in self._threads:
            thread.join(60)
        said, _ = self._writer.communicate(timeout=100)
        if error is None:
            assert self._writer.returncode == 0, said.decode()
            assert not self.errors, self.errors
        unmount(self._point)
        assert self._mount.process.wait(60) == 0, self._mount.log_text()

    def goes_on(self, more: int = 3) -> None:
        """Wait until each kind of client has done so much more."""
        before = dict(self.done)

        def further() -> bool:
            assert self._writer.poll() is None, self._writer.communicate()[0].decode()
            return bool(self.errors) or all(self.done[way] >= before[way] + more for way in before)

        wait_until(further, f"all go on from {before}", 60)
        assert not self.errors, self.errors

    def _loop(self, way: str, make: Callable[[], Callable[[str, bytes], None]]) -> None:
        number = 0
        once = make()
        while not self._stop.is_set() and not self.errors:
            number += 1
            try:
                once(f"{way}-{number}", os.urandom([1000, 400_000][number % 2]))
            except (OSError, http.client.HTTPException, AssertionError, RuntimeError) as error:
                if not self._lenient or way == "grpc":
                    self.errors.append(f"{way}-{number}: {error!r}")
                once = make()
                continue
            self.done[way] += 1
        once("", b"")

    def _http(self) -> Callable[[str, bytes], None]:
        api = self._ends.api()

        def once(name: str, body: bytes) -> None:
            if not name:
                api.close()
                return
            told = api("PUT", f"/api/v1/files/{name}", body)
            assert told.status == 201, told
            told = api("GET", f"/api/v1/files/{name}")
            assert (told.status, told.body) == (200, body), told.status

        return once

    def _dav(self) -> Callable[[str, bytes], None]:
        dav = self._ends.dav()

        def once(name: str, body: bytes) -> None:
            if not name:
                dav.close()
                return
            told = dav("PUT", f"/{name}", body)
            assert told[0] == 201, told
            assert dav("GET", f"/{name}") == (200, body)

        return once

    def _grpc(self) -> Callable[[str, bytes], None]:
        client = self._ends.client()

        def once(name: str, body: bytes) -> None:
            if not name:
                client.close()
                return
            client.write_bytes(f"/{name}", body)
            assert client.read_bytes(f"/{name}") == body

        return once


def prepared(ends: FrontEnds) -> FrontEnds:
    """The directory that the mount of a load has to itself."""
    with closing(ends.dav()) as dav:
        assert dav("MKCOL", "/load")[0] == 201
    return ends
