"""HAProxy and nginx, each with its file of ``deploy/topologies``; certificates for all that listens."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import trustme

from harness.ports import free_ports
from harness.waiting import wait_until

_PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin"


class Certificates:
    """One authority, and one certificate for all that listens on this machine."""

    def __init__(self, home: Path, *names: str) -> None:
        home.mkdir()
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1", *names)
        self.authority, self.chain, self.key = home / "ca.pem", home / "cert.pem", home / "key.pem"
        self.both = home / "graviton.pem"
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        self.authority.write_bytes(authority.cert_pem.bytes())
        self.chain.write_bytes(chain)
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.both.write_bytes(chain + issued.private_key_pem.bytes())

    @property
    def variables(self) -> dict[str, str]:
        """Of the configurations of daemons."""
        return {
            "GRAVITON_TLS_CERT": str(self.chain),
            "GRAVITON_TLS_KEY": str(self.key),
            "GRAVITON_TLS_CA": str(self.authority),
        }

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))


class Ports(NamedTuple):
    http: int
    webdav: int
    grpc: int


def ports() -> Ports:
    return Ports(*free_ports(3))


class _Balancer:
    """A context manager; ``ports`` are those that clients connect to."""

    def __init__(self, home: Path, command: list[str], variables: Mapping[str, str]) -> None:
        self.ports = ports()
        self._log = home / f"{Path(command[0]).name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=home, stdout=log, stderr=log, env={**os.environ, **variables}
            )

    def _wait(self, chosen: Ports) -> None:
        self.ports = chosen
        wait_until(self._answers, "the balancer answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            for port in self.ports:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class HaProxy(_Balancer):
    def __init__(
        self, file: Path, home: Path, certificates: Certificates, variables: Mapping[str, str]
    ) -> None:
        program = shutil.which("haproxy", path=_PLACES)
        assert program is not None, "install the package haproxy (tools/system-packages test)"
        chosen = ports()
        self._socket = home / "haproxy.sock"
        super().__init__(home, [program, "-f", str(file), "-db"], {
            **variables,
            "GRAVITON_LB_HOST": "127.0.0.1",
            "GRAVITON_LB_HTTP_PORT": str(chosen.http),
            "GRAVITON_LB_WEBDAV_PORT": str(chosen.webdav),
            "GRAVITON_LB_GRPC_PORT": str(chosen.grpc),
            "GRAVITON_LB_CERT": str(certificates.both),
            "GRAVITON_LB_SOCKET": str(self._socket),
            "GRAVITON_LB_CHECK": "200ms",
            "GRAVITON_TLS_CA": str(certificates.authority),
        })  # fmt: skip
        self._wait(chosen)

    def command(self, text: str) -> str:
        """One of the runtime API."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self._socket))
            asked.sendall(text.encode() + b"\n")
            answer = b""
            while piece := asked.recv(65536):
                answer += piece
        return answer.decode()

    def up(self) -> list[str]:
        """The servers that pass their checks in all back ends."""
        found: dict[str, list[str]] = {}
        for line in self.command("show stat").splitlines():
            fields = line.split(",")
            if len(fields) > 17 and fields[1] not in ("svname", "FRONTEND", "BACKEND"):
                found.setdefault(fields[1], []).append(fields[17])
        return sorted(
            name for name, states in found.items() if all(state.startswith("UP") for state in states)
        )

    def wait_up(self, *names: str) -> None:
        wait_until(lambda: self.up() == sorted(names), f"just {names} pass their checks", 60)


class Nginx(_Balancer):
    """nginx knows no variables: ``replaced`` is what an operator would edit, and has to be in the file."""

    def __init__(
        self, file: Path, home: Path, certificates: Certificates, replaced: Mapping[str, str]
    ) -> None:
        program = shutil.which("nginx", path=_PLACES)
        assert program is not None, "install the package nginx-light (tools/system-packages test)"
        chosen = ports()
        text = file.read_text()
        for old, new in {
            "/run/nginx.pid": f"{home}/nginx.pid",
            "/etc/graviton/tls": str(certificates.chain.parent),
            "listen 443 ": f"listen 127.0.0.1:{chosen.http} ",
            "listen 8443 ": f"listen 127.0.0.1:{chosen.webdav} ",
            "listen 50051 ": f"listen 127.0.0.1:{chosen.grpc} ",
            **replaced,
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        edited = home / "nginx.conf"
        edited.write_text(text)
        command = [program, "-c", str(edited), "-e", str(home / "nginx-errors.log"), "-g", "daemon off;"]
        super().__init__(home, command, {})
        self._wait(chosen)
