"""A router over shards, all of them real daemons."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psycopg

from cli.test_backends import Daemon, address
from harness.ports import free_port
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running

MIB = 1 << 20
TROUBLE = (
    r"the target s\d fails|the shard \w+ \(graviton|the copy of .* waits|looking after copies|a late copy"
    r"|is given up|no copy of .* can be reached|trying again|cannot be stored|does not answer"
)
"""What the logs say of a shard that is out of reach."""
OPEN = "auth.enabled = false"


class ShardDaemon:
    def __init__(self, graviton: Graviton, scratch: Path, name: str, *lines: str) -> None:
        self.graviton = graviton
        self.name = name
        self.data = scratch / f"shard-{name}"
        self.port = free_port()
        self.file = scratch / f"{name}.conf"
        self.file.write_text("graviton {\n" + "\n".join(lines or (OPEN,)) + "\n}\n")
        self.running: Running
        self.start()

    def start(self) -> None:
        self.running = self.graviton.start(
            "serve", "--config", self.file, "--data", self.data,
            "--http", "127.0.0.1:0", "--grpc", f"127.0.0.1:{self.port}",
        )  # fmt: skip
        self.running.ready_line()

    def freeze(self) -> None:
        self.running.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.running.process.send_signal(signal.SIGCONT)

    def entry(self, more: str = "") -> str:
        return f'{{ name = {self.name}, address = "graviton://127.0.0.1:{self.port}"{more} }}'

    def packs(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (self.data / "packs").rglob("*.pack")}


def postgres_lines(postgres: PostgresServer) -> str:
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    return f'database {{ jdbc-url = "{url}", username = graviton }}'


def in_database(lines: str, statement: str) -> None:
    """``lines``: those of ``postgres_lines``."""
    found = re.search(r"postgresql://([^/]+)/(\w+)", lines)
    assert found is not None
    with psycopg.connect(f"host={unquote(found[1])} user=graviton dbname={found[2]}") as connection:
        connection.execute(statement.encode())


class Router(Daemon):
    """With names in PostgreSQL where ``lines`` say so."""

    def __init__(
        self, graviton: Graviton, scratch: Path, entries: Sequence[str], *lines: str, name: str = "router"
    ) -> None:
        self.graviton = graviton
        self.file = scratch / f"{name}.conf"
        self.lines = lines
        self.port = free_port()
        self.configure(entries)
        super().__init__(graviton, self.file, scratch / name)
        self._start = lambda: graviton.start(
            "serve", "--config", self.file, "--data", self.data, "--http", "127.0.0.1:0",
            "--grpc", f"127.0.0.1:{self.port}",
        )  # fmt: skip
        self.running.ready_line()
        if name == "router":  # a port that stays the same over restarts
            self.running.stop()
            self.restart()
            self.running.ready_line()

    def configure(self, entries: Sequence[str]) -> None:
        shards = "\n".join(entries)
        body = "\n".join((OPEN, *self.lines, f"storage {{ backend = sharded, sharded.shards = [{shards}] }}"))
        self.file.write_text(f"graviton {{\n{body}\nreplication.repair.interval = 1s\n}}\n")

    def restart(self) -> None:
        super().restart()
        self.running.ready_line()

    @property
    def address(self) -> str:
        return f"graviton://127.0.0.1:{self.port}"

    def mount(self, point: Path, *options: str) -> Running:
        return self.graviton.mount(self.address, point, *options)  # type: ignore[arg-type]

    def targets(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.graviton.run("target", "list", self.data, "--json").stdout)
        return {one["name"]: one for one in found}

    def settled(self) -> bool:
        found = self.targets().values()
        return not any(one["missing"] + one["bad"] + one["moving"] + one["leaving"] for one in found)

    def clean(self) -> None:
        found = json.loads(self.graviton.run("fsck", "--read-data", "--json", self.data, timeout=300).stdout)
        assert not found["findings"], found["findings"]

    def metric(self, name: str, labels: str = "") -> float:
        with urllib.request.urlopen(f"{address(self.ready, 'http')}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return float(re.findall(rf"^graviton_{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)[0])
