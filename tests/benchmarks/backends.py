"""The one PostgreSQL and the one S3 server that a run's shared volumes use, JuiceFS's and Graviton's."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.benchmarks.environment import ROOT

if TYPE_CHECKING:
    from harness.postgres import PostgresServer
    from harness.s3server import S3Server, Traffic

sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "gravitonfs", "server", "webdav")]


class Backends:
    """Both servers with their default durability: PostgreSQL's fsync and synchronous_commit are on."""

    def __init__(self) -> None:
        from harness.places import make_scratch
        from harness.postgres import PostgresServer, debian_binaries
        from harness.s3server import S3Server

        self.postgres: PostgresServer = PostgresServer(debian_binaries())
        self.s3: S3Server = S3Server(make_scratch() / "weed")
        self.s3.wait()

    def close(self) -> None:
        self.s3.stop()
        self.postgres.close()


@functools.cache
def backends() -> Backends:
    """Started when the first shared system asks."""
    return Backends()


def stop_backends() -> None:
    if backends.cache_info().currsize:
        backends().close()
        backends.cache_clear()


class Place:
    """An empty database and an empty bucket: where one volume is."""

    def __init__(self) -> None:
        from harness.buckets import new_bucket

        servers = backends()
        self._conninfo = servers.postgres.database()
        self.database = self._conninfo.rpartition("dbname=")[2]
        self.bucket = new_bucket(servers.s3)

    @property
    def juicefs_meta(self) -> str:
        home = backends().postgres.home
        return f"postgres://graviton@/{self.database}?host={home}&sslmode=disable"

    @property
    def bucket_url(self) -> str:
        return f"{backends().s3.endpoint}/{self.bucket}"

    def configuration(self, data: Path) -> str:
        """Graviton's: only where things are, defaults for all else."""
        servers = backends()
        url = f"jdbc:postgresql://{quote(str(servers.postgres.home), safe='')}/{self.database}"
        return (
            f'graviton {{\n  data-dir = "{data}"\n'
            f'  database {{ jdbc-url = "{url}", username = graviton }}\n'
            f"  storage {{ backend = s3, s3 {{ bucket = {self.bucket},"
            f' endpoint = "{servers.s3.endpoint}" }} }}\n'
            "}\n"
        )

    def traffic(self) -> Traffic:
        return backends().s3.traffic(self.bucket)

    def close(self) -> None:
        """Gives the disk space back, so that a later round finds what the first one found."""
        from harness.buckets import client

        servers = backends()
        servers.postgres.drop(self._conninfo)
        boto = client(servers.s3.endpoint)
        while found := boto.list_objects_v2(Bucket=self.bucket).get("Contents"):
            names = [{"Key": item["Key"]} for item in found]
            boto.delete_objects(Bucket=self.bucket, Delete={"Objects": names})
        boto.delete_bucket(Bucket=self.bucket)
