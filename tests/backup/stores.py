"""Daemons with names in PostgreSQL and packs in a bucket, and files that must come back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

from cli.test_backends import Daemon, address, bucket_lines
from harness.buckets import new_bucket
from harness.postgres import PostgresServer
from harness.programs import ROOT, Graviton, environment
from harness.s3server import S3Server

SCRIPTS = ROOT / "deploy" / "backup"
SIZES = (0, 100, 70_000, 300_000, 5_000_000)


def jdbc(server: PostgresServer, database: str) -> str:
    return f"jdbc:postgresql://{str(server.home).replace('/', '%2F')}/{database}"


class SharedStore:
    """A configuration with a database and a bucket, either of which may be exchanged."""

    def __init__(self, graviton: Graviton, scratch: Path, postgres: PostgresServer, s3: S3Server) -> None:
        self.graviton = graviton
        self.scratch = scratch
        self.postgres = postgres
        self.s3 = s3
        self.bucket = new_bucket(s3)
        self.database = ""
        self.new_database()
        self.extra = ""
        self._daemons = 0

    def new_database(self) -> None:
        self.database = self.postgres.database().rpartition("dbname=")[2]

    @property
    def jdbc(self) -> str:
        return jdbc(self.postgres, self.database)

    def file(self, data: str = "data") -> Path:
        file = self.scratch / f"{data}.conf"
        file.write_text(
            f'graviton {{\nauth.enabled = false\ndata-dir = "{self.scratch / data}"\n'
            f"{bucket_lines(self.s3, self.bucket)}\n"
            f'database {{ jdbc-url = "{self.jdbc}", username = graviton }}\n'
            f"gc {{ interval = 1s, grace = 0s }}\n{self.extra}\n}}\n"
        )
        return file

    def daemon(self, data: str | None = None) -> Daemon:
        self._daemons += 1
        name = data or f"data{self._daemons}"
        return Daemon(self.graviton, self.file(name), self.scratch / name)

    def script(self, name: str, *arguments: str, status: int = 0, **extra: str) -> str:
        """A script of deploy/backup; what it says."""
        assert shutil.which("aws"), "install the package awscli (tools/system-packages test)"
        settings = {
            "PG_JDBC_URL": self.jdbc,
            "PG_USERNAME": "graviton",
            "GRAVITON_S3_ENDPOINT": self.s3.endpoint,
            "GRAVITON_S3_BUCKET": self.bucket,
            "GRAVITON_BACKUP_DIR": str(self.scratch / "backups"),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PATH": f"{self.postgres.binaries}:{_commands(self.scratch)}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [SCRIPTS / name, *arguments],
            env=environment(**settings | extra),
            cwd=self.scratch,
            capture_output=True,
            timeout=120,
            check=False,
        )
        text = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == status, text
        return text


def _commands(scratch: Path) -> Path:
    """A directory with ``graviton`` in it."""
    import sys

    folder = scratch / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "graviton"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m graviton_server "$@"\n')
    program.chmod(0o755)
    return folder


def put_files(daemon: Daemon, prefix: str = "f") -> dict[str, bytes]:
    files = {f"{prefix}{size}": os.urandom(size) for size in SIZES}
    for name, body in files.items():
        daemon.put(name, body)
    return files


def delete(daemon: Daemon, name: str) -> None:
    url = f"{address(daemon.ready, 'http')}/api/v1/files/{name}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60).close()


def metric(daemon: Daemon, name: str) -> float:
    with urllib.request.urlopen(f"{address(daemon.ready, 'http')}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert match is not None, text
    return float(match[1])
