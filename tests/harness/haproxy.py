"""HAProxy in front of daemons: TCP, health checks, connections in turn."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from harness.ports import free_port
from harness.waiting import wait_until

_CONFIGURATION = """
global
    stats socket {home}/haproxy.sock mode 600 level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch
listen grpc
    bind 127.0.0.1:{port}
    balance roundrobin
{servers}
"""
_SERVER = "    server s{number} {address} check inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions"


class HaProxy:
    """A context manager. ``address`` is what clients connect to."""

    def __init__(self, home: Path, servers: Iterable[str]) -> None:
        found = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert found is not None, "install the package haproxy (tools/system-packages test)"
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        lines = "\n".join(_SERVER.format(number=n, address=address) for n, address in enumerate(servers))
        file = home / "haproxy.cfg"
        file.write_text(_CONFIGURATION.format(home=home, port=port, servers=lines))
        self._socket = home / "haproxy.sock"
        with (home / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen([found, "-f", file, "-db"], cwd=home, stdout=log, stderr=log)
        wait_until(self._socket.exists, "HAProxy runs")

    def __enter__(self) -> HaProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
