"""Daemons and mounts for the matrix: each store is started once, when the first pair needs it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from coherence.sides import DavSide, HttpSide, MountSide, Side
from harness.api import Api
from harness.buckets import CREDENTIALS, new_bucket, shared_server
from harness.ports import free_port
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running

MAIN = "main"
_serial = itertools.count(1)


class Address(NamedTuple):
    http: str
    grpc: str
    dav: str


class Daemon:
    """``graviton serve`` on free ports; started again on the same ones after ``kill``."""

    def __init__(self, graviton: Graviton, file: Path, data: Path, **environment: str) -> None:
        self._graviton, self._file, self._environment = graviton, file, environment
        self.data = data
        self._address: Address | None = None
        self.running = self._started("127.0.0.1:0", "127.0.0.1:0")

    def _started(self, http: str, grpc: str) -> Running:
        command = ["serve", "--config", self._file, "--data", self.data, "--http", http, "--grpc", grpc]
        return self._graviton.start(*command, **self._environment)

    @property
    def address(self) -> Address:
        if self._address is None:
            line = self.running.ready_line()
            found = dict(re.findall(r"(\w+)=(\S+)", line))
            self._address = Address(found["http"], found["grpc"], found["webdav"])
        return self._address

    def kill(self) -> None:
        """SIGKILL."""
        assert self.address
        self.running.kill()

    def start(self) -> None:
        self.running = self._started(self.address.http.removeprefix("http://"), self.address.grpc)
        self.running.ready_line()

    def restart(self) -> None:
        """In order."""
        assert self.address
        assert self.running.stop() == 0, self.running.log_text()
        self.start()

    def make_volume(self, name: str) -> None:
        api = Api(self.address.http)
        answer = api("POST", "/api/v1/admin/volumes", {"name": name}, Content_Type="application/json")
        assert answer.status == 201, answer
        api.close()


class Store:
    """One store with its daemons, all started at once, and the mounts of it."""

    def __init__(
        self,
        graviton: Graviton,
        home: Path,
        lines: Iterable[str] = (),
        *,
        daemons: int,
        shared: bool = True,
        **environment: str,
    ) -> None:
        """``shared``: daemons have one data directory, as packs are kept in it."""
        self._graviton = graviton
        self._environment = environment
        self.home = home
        home.mkdir()
        data = [home / ("data" if shared else f"data-{n}") for n in range(daemons)]
        self.file = self._configuration("mount.conf", [*lines, f'data-dir = "{home}/data"'])
        self.daemons = [
            Daemon(graviton, self._configuration(f"{n}.conf", [*lines, _webdav()]), data[n], **environment)
            for n in range(daemons)
        ]

    def _configuration(self, name: str, lines: Iterable[str]) -> Path:
        file = self.home / name
        file.write_text("graviton {\n" + "\n".join(lines) + "\n}\n")
        return file

    def volume(self, name: str) -> str:
        self.daemons[0].make_volume(name)
        return name

    def remote(self, daemon: int, volume: str) -> str:
        return f"graviton://{self.daemons[daemon].address.grpc}/{volume}"

    def mounts(self, *sources: str | Path, options: Iterable[str] = ()) -> list[tuple[Running, Path]]:
        """Started at once. ``file`` as a source: without a daemon."""
        made = []
        for source in sources:
            point = self.home / f"mnt-{len(self._graviton.running)}"
            point.mkdir()
            more = ["-o", ",".join(options)] if options else []
            running = self._graviton.start("mount", source, point, "-f", *more, **self._environment)
            made.append((running, point))
        for running, _ in made:
            running.ready_line()
        return made

    def gateways(self, *sources: str | Path) -> list[tuple[Running, str]]:
        """Processes of their own, and their addresses."""
        command = ("webdav", "--listen", "127.0.0.1:0")
        made = [self._graviton.start(*command, source, **self._environment) for source in sources]
        return [(running, running.ready_line().partition("webdav=")[2].strip()) for running in made]

    def stop(self) -> None:
        for daemon in self.daemons:
            daemon.running.process.terminate()
        for daemon in self.daemons:
            assert daemon.running.process.wait(60) == 0, daemon.running.log_text()


def _webdav() -> str:
    return f"webdav {{ enabled = true, port = {free_port()} }}"


def database_line(server: PostgresServer, conninfo: str) -> str:
    name = conninfo.rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(server.home), safe='')}/{name}"
    return f'database {{ jdbc-url = "{url}", username = graviton }}'


def embedded(graviton: Graviton, home: Path) -> Store:
    return Store(graviton, home, daemons=1)


def on_directory(graviton: Graviton, home: Path, server: PostgresServer, *, daemons: int = 2) -> Store:
    """Names in PostgreSQL, packs in a directory that the engines share."""
    return Store(graviton, home, [database_line(server, server.database())], daemons=daemons)


def on_bucket(graviton: Graviton, home: Path, server: PostgresServer, *, daemons: int = 2) -> Store:
    """Names in PostgreSQL, packs in a bucket."""
    s3 = shared_server()
    bucket = f'storage {{ backend = s3, s3 {{ bucket = {new_bucket(s3)}, endpoint = "{s3.endpoint}" }} }}'
    lines = [database_line(server, server.database()), bucket]
    return Store(graviton, home, lines, daemons=daemons, shared=False, **CREDENTIALS)


class Pair:
    """Two front ends of one volume; ``one()`` and ``other()`` are what a thread uses to ask them."""

    def __init__(
        self,
        one: Callable[[], Side],
        other: Callable[[], Side],
        mounts: list[tuple[Running, Path]],
        servers: Iterable[Running] = (),
    ) -> None:
        """``servers``: that only this pair uses."""
        self.one, self.other = one, other
        self.mounts = mounts
        self.servers = servers

    def directory(self) -> str:
        """A new one, for one test."""
        name = f"d{next(_serial)}"
        side = self.one()
        assert side.mkdir(name)
        side.close()
        return name


def mounted(store: Store, *sources: str | Path) -> Pair:
    made = store.mounts(*sources)
    one, other = (partial(MountSide, point) for _, point in made)
    return Pair(one, other, made)


def beside(store: Store, source: str | Path, other: Callable[[], Side]) -> Pair:
    """One mount, and another front end."""
    made = store.mounts(source)
    return Pair(partial(MountSide, made[0][1]), other, made)


def gateways(one: Daemon, other: Daemon) -> Pair:
    return Pair(partial(DavSide, one.address.dav), partial(DavSide, other.address.dav), [])


def gateways_alone(store: Store, *sources: str | Path) -> Pair:
    (one, there), (other, yonder) = store.gateways(*sources)
    return Pair(partial(DavSide, there), partial(DavSide, yonder), [], [one, other])


def mount_and_gateway_alone(store: Store, mount: str | Path, gateway: str | Path) -> Pair:
    made = store.mounts(mount)
    [(running, address)] = store.gateways(gateway)
    return Pair(partial(MountSide, made[0][1]), partial(DavSide, address), made, [running])


def http(daemon: Daemon, volume: str) -> Callable[[], Side]:
    return partial(HttpSide, daemon.address.http, volume)


def dav(daemon: Daemon) -> Callable[[], Side]:
    return partial(DavSide, daemon.address.dav)
