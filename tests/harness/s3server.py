"""A real S3 server: SeaweedFS (``weed``, from the development lock), on loopback."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

from harness.ports import free_ports
from harness.waiting import wait_until

ACCESS_KEY = "graviton-test"
SECRET_KEY = "graviton-test-secret"
REGION = "us-east-1"
_TRIES = 3
_PORTS = ("master", "volume", "filer", "s3")
_COUNTERS = (
    "SeaweedFS_s3_request_total",
    "SeaweedFS_s3_bucket_traffic_received_bytes_total",
    "SeaweedFS_s3_bucket_traffic_sent_bytes_total",
)


class Traffic(NamedTuple):
    """Of one bucket, as the server itself counts; bytes as its clients see them."""

    requests: int
    received: int
    sent: int


class S3Server:
    """``weed server`` with its S3 gateway, its data below ``home``. Started by the constructor; ``wait``
    for it, and ``stop`` it."""

    def __init__(self, home: Path, *, tls: bool = False) -> None:
        """``tls``: by https, with a certificate that ``ca_file`` vouches for."""
        self._home = home
        self._tls = tls
        self.ca_file = home / "ca.pem"
        self._log = home / "weed.log"
        self._process: subprocess.Popen[bytes] | None = None
        (home / "data").mkdir(parents=True)
        # Each bucket has volumes of its own: one at a time, not seven.
        (home / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        (home / "s3.json").write_text(json.dumps(_identities()))
        if tls:
            self._make_certificate()
        self._choose_ports()
        self.start()

    def _make_certificate(self) -> None:
        command = [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self._home / "key.pem"),
            "-out", str(self.ca_file),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)

    def _choose_ports(self) -> None:
        ports = free_ports(2 * len(_PORTS) + 1)
        self._metrics = f"http://127.0.0.1:{ports[-1]}/metrics"
        self.port = ports[3]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        options = [f"-{name}.port={port}" for name, port in zip(_PORTS, ports, strict=False)]
        options += [f"-{name}.port.grpc={port}" for name, port in zip(_PORTS, ports[4:-1], strict=True)]
        options.append(f"-metricsPort={ports[-1]}")
        if self._tls:
            self.endpoint = f"https://127.0.0.1:{self.port}"
            options += [f"-s3.cert.file={self.ca_file}", f"-s3.key.file={self._home / 'key.pem'}"]
        self._command = [
            str(Path(sys.executable).parent / "weed"), f"-logdir={self._home}", "server", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", f"-dir={self._home / 'data'}", "-filer", "-s3",
            f"-s3.config={self._home / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=256", "-volume.max=4000", "-master.telemetry=false", *options,
        ]  # fmt: skip

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._home
            )

    def wait(self) -> None:
        """Until it answers. A port that was free may be taken by now: then it is tried with others."""
        for _ in range(_TRIES - 1):
            if wait_until(lambda: self._ended() or self._answers(), "the S3 server answers", 60) == "answers":
                return
            self._choose_ports()
            self.start()
        wait_until(self._answers, f"the S3 server answers; its log is {self._log}", 60)

    def _ended(self) -> str:
        assert self._process is not None
        return "ended" if self._process.poll() is not None else ""

    def _answers(self) -> str:
        try:
            connection = self._connection()
            connection.request("GET", "/healthz")
            good = connection.getresponse().status == 200
            connection.close()
        except OSError:
            return ""
        return "answers" if good and not self._ended() else ""

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            trusted = ssl.create_default_context(cafile=str(self.ca_file))
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=trusted)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)

    def traffic(self, bucket: str) -> Traffic:
        """Since the server was started."""
        with urllib.request.urlopen(self._metrics, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = dict.fromkeys(_COUNTERS, 0.0)
        for line in lines:
            name, _, rest = line.partition("{")
            if name in found and f'bucket="{bucket}"' in rest:
                found[name] += float(rest.rpartition(" ")[2])
        return Traffic(*(int(found[name]) for name in _COUNTERS))

    def kill(self) -> None:
        """SIGKILL; ``start`` brings it back with its data."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
            self._process = None
        shutil.rmtree(self._home, ignore_errors=True)


def _identities() -> object:
    full = {
        "name": "full",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    reader = {
        "name": "reader",
        "credentials": [{"accessKey": "graviton-reader", "secretKey": SECRET_KEY}],
        "actions": ["Read", "List"],
    }
    return {"identities": [full, reader]}
