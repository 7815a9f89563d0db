"""deploy/topologies/multi-node: three daemons, one PostgreSQL, one bucket, behind HAProxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from topologies.balancers import Certificates, HaProxy
from topologies.front_ends import FrontEnds, refused_without_token, used_through_each
from topologies.laid_out import FILES, Daemon, bucket_of, haproxy_before, names_in
from topologies.load import Load, prepared

HERE = FILES / "multi-node"

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]


@pytest.fixture
def variables(postgres: PostgresServer, s3_server: S3Server) -> dict[str, str]:
    """Before ``graviton`` in a test's arguments: its processes end first."""
    return {**names_in(postgres), **bucket_of(s3_server)}


@pytest.fixture
def certificates(scratch: Path) -> Certificates:
    return Certificates(scratch / "tls")


@pytest.fixture
def daemons(
    variables: dict[str, str], graviton: Graviton, scratch: Path, certificates: Certificates
) -> list[Daemon]:
    """Started together."""
    made = [
        Daemon(graviton, HERE / "graviton.conf", scratch / f"data-{n}", certificates, variables)
        for n in (1, 2, 3)
    ]
    for daemon in made:
        daemon.ready()
    return made


@pytest.fixture
def balancer(daemons: list[Daemon], scratch: Path, certificates: Certificates) -> Iterator[HaProxy]:
    yield from haproxy_before(daemons, HERE / "haproxy.cfg", scratch, certificates)


@pytest.fixture
def ends(
    graviton: Graviton, scratch: Path, daemons: list[Daemon], balancer: HaProxy, certificates: Certificates
) -> FrontEnds:
    """With a token that one of the daemons has made, and all take."""
    return FrontEnds(graviton, scratch, balancer.ports, certificates, daemons[1].token())


def test_every_front_end_and_a_killed_daemon(
    variables: dict[str, str], ends: FrontEnds, daemons: list[Daemon], balancer: HaProxy
) -> None:
    graviton, scratch = ends.graviton, ends.scratch
    refused_without_token(ends)
    direct = scratch / "mnt-direct"
    places = {**variables, "GRAVITON_DATA_DIR": str(scratch / "data-direct")}
    mounted = graviton.mount(HERE / "graviton.conf", direct, **places)
    written = used_through_each(ends, direct)
    with Load(prepared(ends), lenient=True) as load:
        load.goes_on()
        daemons[0].running.kill()
        balancer.wait_up("g2", "g3")
        load.goes_on()
        daemons[0].start()
        daemons[1].running.kill()
        load.goes_on()
        balancer.wait_up("g1", "g3")
    assert {name: (direct / name).read_bytes() for name in written} == written
    unmount(direct)
    assert mounted.process.wait(60) == 0, mounted.log_text()
    told = json.loads(graviton.run("fsck", "--read-data", daemons[2].data, "--json").stdout)
    assert not told["findings"]


@pytest.mark.soak
def test_a_rolling_restart_costs_no_client_an_error(
    ends: FrontEnds, daemons: list[Daemon], balancer: HaProxy
) -> None:
    with Load(prepared(ends), lenient=False) as load:
        for daemon in daemons:
            load.goes_on()
            assert daemon.running.stop() == 0, daemon.running.log_text()
            load.goes_on()
            daemon.start()
            daemon.ready()
            balancer.wait_up("g1", "g2", "g3")
        load.goes_on()
