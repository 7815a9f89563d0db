"""Daemons run from the files of ``deploy/topologies`` as they are, told their places by variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from harness.buckets import CREDENTIALS, new_bucket
from harness.postgres import PostgresServer
from harness.programs import ROOT, Graviton, Running
from harness.s3server import REGION, S3Server
from topologies.balancers import Certificates, HaProxy, Ports, ports

FILES = ROOT / "deploy" / "topologies"


class Daemon:
    """``graviton serve`` on ports that it keeps over restarts."""

    def __init__(
        self,
        graviton: Graviton,
        file: Path,
        data: Path,
        certificates: Certificates,
        variables: Mapping[str, str],
    ) -> None:
        self._graviton, self.file, self.data = graviton, file, data
        self.ports: Ports = ports()
        self.variables = {
            **certificates.variables,
            **variables,
            "GRAVITON_HOST": "127.0.0.1",
            "GRAVITON_DATA_DIR": str(data),
            "GRAVITON_HTTP_PORT": str(self.ports.http),
            "GRAVITON_GRPC_PORT": str(self.ports.grpc),
            "GRAVITON_WEBDAV_PORT": str(self.ports.webdav),
        }
        self.running: Running
        self.start()

    def start(self) -> None:
        self.running = self._graviton.start("serve", "--config", self.file, **self.variables)

    def ready(self) -> None:
        self.running.ready_line(90)

    def token(self, *scope: str) -> str:
        """To read and write, without ``scope``."""
        wanted = [word for one in scope for word in ("--scope", one)]
        made = self._graviton.run("token", "create", self.data, "--name", "test", *wanted)
        return made.stdout.decode().split()[0]

    def behind(self, prefix: str) -> dict[str, str]:
        """What the balancer's file calls it."""
        return {
            f"{prefix}_HOST": "127.0.0.1",
            f"{prefix}_NAME": "localhost",
            f"{prefix}_HTTP_PORT": str(self.ports.http),
            f"{prefix}_GRPC_PORT": str(self.ports.grpc),
            f"{prefix}_WEBDAV_PORT": str(self.ports.webdav),
        }


def names_in(postgres: PostgresServer) -> dict[str, str]:
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    return {"PG_JDBC_URL": url, "PG_USERNAME": "graviton", "PG_PASSWORD": ""}


def bucket_of(server: S3Server) -> dict[str, str]:
    return {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "GRAVITON_S3_BUCKET": new_bucket(server),
        "GRAVITON_S3_ENDPOINT": server.endpoint,
    }


def haproxy_before(
    daemons: Sequence[Daemon], file: Path, home: Path, certificates: Certificates
) -> Iterator[HaProxy]:
    """For a fixture: g1, g2, ... of the file are these, and all pass their checks."""
    places: dict[str, str] = {}
    for number, daemon in enumerate(daemons, 1):
        places |= daemon.behind(f"GRAVITON_{number}")
    made = HaProxy(file, home, certificates, places)
    made.wait_up(*(f"g{number}" for number in range(1, len(daemons) + 1)))
    yield made
    made.stop()
