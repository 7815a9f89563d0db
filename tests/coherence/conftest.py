"""The pairs of front ends that must agree, and the stores behind them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coherence import stores
from coherence.stores import MAIN, Pair, Store
from harness.places import make_scratch, unmount, unmount_below
from harness.postgres import PostgresServer, debian_binaries
from harness.programs import Graviton


class Stores:
    """Made when the first pair needs them."""

    def __init__(self, graviton: Graviton, home: Path, postgres: Callable[[], PostgresServer]) -> None:
        self._graviton, self._home, self._postgres = graviton, home, postgres
        self._made: dict[str, Store] = {}

    def _get(self, name: str, make: Callable[[Graviton, Path], Store]) -> Store:
        if name not in self._made:
            self._made[name] = make(self._graviton, self._home / name)
        return self._made[name]

    @property
    def embedded(self) -> Store:
        return self._get("embedded", stores.embedded)

    @property
    def directory(self) -> Store:
        return self._get("directory", lambda g, home: stores.on_directory(g, home, self._postgres()))

    @property
    def bucket(self) -> Store:
        return self._get("bucket", lambda g, home: stores.on_bucket(g, home, self._postgres()))

    @property
    def without_daemons(self) -> Store:
        return self._get("alone", lambda g, home: stores.on_directory(g, home, self._postgres(), daemons=0))

    def stop(self) -> None:
        for store in self._made.values():
            store.stop()


def _remote_mounts(all_: Stores) -> Pair:
    store = all_.embedded
    volume = store.volume("mounts")
    return stores.mounted(store, *[store.remote(0, volume)] * 2)


def _mount_and_webdav(all_: Stores) -> Pair:
    store = all_.embedded
    return stores.beside(store, store.remote(0, MAIN), stores.dav(store.daemons[0]))


def _mount_and_http(all_: Stores) -> Pair:
    store = all_.embedded
    volume = store.volume("http")
    return stores.beside(store, store.remote(0, volume), stores.http(store.daemons[0], volume))


def _through_two_daemons(store: Store) -> Pair:
    volume = store.volume("mounts")
    return stores.mounted(store, store.remote(0, volume), store.remote(1, volume))


def _direct_mounts(all_: Stores) -> Pair:
    store = all_.without_daemons
    return stores.mounted(store, store.file, store.file)


def _direct_and_webdav(all_: Stores) -> Pair:
    store = all_.directory
    return stores.beside(store, store.file, stores.dav(store.daemons[1]))


def _gateways(all_: Stores) -> Pair:
    return stores.gateways(*all_.directory.daemons)


def _gateway_and_http(all_: Stores) -> Pair:
    """Of two daemons."""
    one, other = all_.directory.daemons
    return Pair(stores.dav(one), stores.http(other, MAIN), [])


def _gateways_alone(all_: Stores) -> Pair:
    """One is an engine itself, one has a daemon behind it."""
    store = all_.bucket
    return stores.gateways_alone(store, store.file, store.remote(1, MAIN))


def _mount_and_gateway_alone(all_: Stores) -> Pair:
    store = all_.embedded
    volume = store.volume("gateway")
    return stores.mount_and_gateway_alone(store, store.remote(0, volume), store.remote(0, volume))


BUCKET = "mounts through two daemons, bucket"
PAIRS: dict[str, Callable[[Stores], Pair]] = {
    "two remote mounts": _remote_mounts,
    "mount and WebDAV": _mount_and_webdav,
    "mount and HTTP": _mount_and_http,
    "mounts through two daemons, directory": lambda all_: _through_two_daemons(all_.directory),
    BUCKET: lambda all_: _through_two_daemons(all_.bucket),
    "two direct mounts": _direct_mounts,
    "direct mount and WebDAV": _direct_and_webdav,
    "WebDAV of two daemons": _gateways,
    "WebDAV and HTTP of two daemons": _gateway_and_http,
    "WebDAV alone, direct and remote": _gateways_alone,
    "mount and WebDAV alone": _mount_and_gateway_alone,
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], PostgresServer]]:
    made: list[PostgresServer] = []

    def get() -> PostgresServer:
        if not made:
            made.append(PostgresServer(debian_binaries()))
        return made[0]

    yield get
    for server in made:
        server.close()


@pytest.fixture(scope="module")
def processes(postgres: object) -> Iterator[Graviton]:
    """Those of a module. What a log tells as an error or a warning fails the module's last test."""
    scratch = make_scratch()
    runner = Graviton(scratch)
    yield runner
    runner.close()
    unmount_below(scratch)
    troubles = runner.troubles()
    shutil.rmtree(scratch)
    assert not troubles, "unexpected in the logs:\n" + "\n".join(troubles)


@pytest.fixture(scope="module")
def all_stores(processes: Graviton, postgres: Callable[[], PostgresServer]) -> Iterator[Stores]:
    made = Stores(processes, processes.scratch, postgres)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, all_stores: Stores) -> Iterator[Pair]:
    made = PAIRS[request.param](all_stores)
    yield made
    for running, point in made.mounts:
        unmount(point)
        assert running.process.wait(60) == 0, running.log_text()
    for server in made.servers:
        assert server.stop() == 0, server.log_text()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """When it is killed it loses what no commit has waited for."""
    made = PostgresServer(debian_binaries(), "wal_writer_delay = 10s\n")
    yield made
    if not made.runs:
        made.start()
    made.close()
