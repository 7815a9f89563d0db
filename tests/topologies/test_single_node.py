"""deploy/topologies/single-node: one daemon with PostgreSQL and its own disk, behind HAProxy or nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton
from topologies.balancers import Certificates, HaProxy, Nginx
from topologies.front_ends import FrontEnds, refused_without_token, used_through_each
from topologies.laid_out import FILES, Daemon, names_in

HERE = FILES / "single-node"

pytestmark = [pytest.mark.mount, pytest.mark.timeout(240)]


@pytest.fixture
def names(postgres: PostgresServer) -> dict[str, str]:
    """Before ``graviton`` in a test's arguments: its processes end first."""
    return names_in(postgres)


@pytest.fixture
def daemon(names: dict[str, str], graviton: Graviton, scratch: Path, certificates: Certificates) -> Daemon:
    made = Daemon(graviton, HERE / "graviton.conf", scratch / "data", certificates, names)
    made.ready()
    return made


@pytest.fixture
def certificates(scratch: Path) -> Certificates:
    return Certificates(scratch / "tls")


@pytest.fixture(params=["haproxy", pytest.param("nginx", marks=pytest.mark.soak)])
def balancer(
    request: pytest.FixtureRequest, daemon: Daemon, scratch: Path, certificates: Certificates
) -> Iterator[HaProxy | Nginx]:
    made: HaProxy | Nginx
    if request.param == "haproxy":
        made = HaProxy(HERE / "haproxy.cfg", scratch, certificates, daemon.behind("GRAVITON"))
        made.wait_up("graviton")
    else:
        at = {"127.0.0.1:8080": daemon.ports.http, "127.0.0.1:8081": daemon.ports.webdav}
        at["127.0.0.1:50052"] = daemon.ports.grpc
        replaced = {old: f"127.0.0.1:{port}" for old, port in at.items()}
        made = Nginx(HERE / "nginx.conf", scratch, certificates, replaced)
    yield made
    made.stop()


def test_every_front_end_and_a_killed_daemon(
    graviton: Graviton, scratch: Path, daemon: Daemon, balancer: HaProxy | Nginx, certificates: Certificates
) -> None:
    ends = FrontEnds(graviton, scratch, balancer.ports, certificates, daemon.token())
    if isinstance(balancer, Nginx):  # how it tells of a daemon that has gone
        graviton.allow_log(r"INFO session \d+: INTERNAL: Stream removed \(RST_STREAM")
    refused_without_token(ends)
    direct = scratch / "mnt-direct"
    mounted = graviton.mount(daemon.file, direct, **daemon.variables)
    written = used_through_each(ends, direct)
    unmount(direct)
    assert mounted.process.wait(60) == 0, mounted.log_text()

    point = scratch / "mnt"
    running = ends.mount(point)
    (point / "before").write_bytes(b"before" * 100_000)
    daemon.running.kill()  # the only one: clients wait for it
    daemon.start()
    assert (point / "http-large").read_bytes() == written["http-large"]
    (point / "after").write_bytes(b"after")
    daemon.ready()
    if isinstance(balancer, HaProxy):
        balancer.wait_up("graviton")
    with closing(ends.api()) as api, closing(ends.dav()) as dav:
        assert api("GET", "/api/v1/files/before").body == b"before" * 100_000
        assert dav("GET", "/dav-small") == (200, b"dav")
    unmount(point)
    assert running.process.wait(60) == 0, running.log_text()
