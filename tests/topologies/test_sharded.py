"""deploy/topologies/sharded: two routers behind HAProxy, and three shards, each with a bucket of its own."""

from __future__ import annotations

import errno
import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.places import unmount
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until
from sharding.cluster import TROUBLE
from topologies.balancers import Certificates, HaProxy
from topologies.front_ends import FrontEnds, refused_without_token, used_through_each
from topologies.laid_out import FILES, Daemon, bucket_of, haproxy_before, names_in

HERE = FILES / "sharded"
NAMES = ("s1", "s2", "s3")

pytestmark = [pytest.mark.mount, pytest.mark.timeout(300)]


@pytest.fixture
def variables(postgres: PostgresServer) -> dict[str, str]:
    """Before ``graviton`` in a test's arguments: its processes end first."""
    return names_in(postgres)


@pytest.fixture
def certificates(scratch: Path) -> Certificates:
    return Certificates(scratch / "tls")


@pytest.fixture
def shards(
    s3_server: S3Server, graviton: Graviton, scratch: Path, certificates: Certificates
) -> dict[str, Daemon]:
    made = {
        name: Daemon(graviton, HERE / "shard.conf", scratch / name, certificates, bucket_of(s3_server))
        for name in NAMES
    }
    for shard in made.values():
        shard.ready()
    return made


@pytest.fixture
def routers(
    variables: dict[str, str],
    shards: dict[str, Daemon],
    graviton: Graviton,
    scratch: Path,
    certificates: Certificates,
) -> list[Daemon]:
    for number, shard in enumerate(shards.values(), 1):
        token_file = scratch / f"s{number}.token"
        token_file.write_text(shard.token("admin"))
        token_file.chmod(0o600)
        variables[f"GRAVITON_SHARD_{number}"] = f"gravitons://localhost:{shard.ports.grpc}"
        variables[f"GRAVITON_SHARD_{number}_TOKEN_FILE"] = str(token_file)
    made = [
        Daemon(graviton, HERE / "router.conf", scratch / f"router-{n}", certificates, variables)
        for n in (1, 2)
    ]
    for router in made:
        router.ready()
    return made


@pytest.fixture
def balancer(routers: list[Daemon], scratch: Path, certificates: Certificates) -> Iterator[HaProxy]:
    yield from haproxy_before(routers, HERE / "haproxy.cfg", scratch, certificates)


def packs_at(shard: Daemon, certificates: Certificates) -> int:
    """Bytes, as its own metrics tell."""
    url = f"https://localhost:{shard.ports.http}/metrics"
    with urllib.request.urlopen(url, timeout=30, context=certificates.context()) as answer:
        found = re.findall(r"^graviton_storage_bytes\S* (\S+)$", answer.read().decode(), re.MULTILINE)
    return int(sum(map(float, found)))


def read(file: Path) -> bytes | int | None:
    try:
        return file.read_bytes()
    except OSError as error:
        return error.errno


def test_every_front_end_a_killed_router_and_a_shard_that_goes_and_returns(
    graviton: Graviton,
    scratch: Path,
    shards: dict[str, Daemon],
    routers: list[Daemon],
    balancer: HaProxy,
    certificates: Certificates,
) -> None:
    graviton.allow_log(TROUBLE)
    ends = FrontEnds(graviton, scratch, balancer.ports, certificates, routers[1].token())
    refused_without_token(ends)
    written = used_through_each(ends)
    bodies = {f"f{n}": os.urandom(1_500_000) for n in range(9)}
    with closing(ends.api()) as api:
        for name, body in bodies.items():
            assert api("PUT", f"/api/v1/files/{name}", body).status == 201
    wait_until(lambda: all(packs_at(shard, certificates) for shard in shards.values()), "all have packs")

    # A router goes: the other goes on. It has nothing of all this in memory.
    routers[0].running.kill()
    routers[1].running.stop()
    routers[1].start()
    routers[1].ready()
    balancer.wait_up("g2")

    # A shard goes: only what lies on it fails, and says why.
    shards["s1"].running.kill()
    point = scratch / "mnt"
    mounted = ends.mount(point, "timeout=2", "cache-size=0")
    outcome = {name: read(point / name) for name in bodies}
    assert all(found in (bodies[name], errno.EIO) for name, found in outcome.items())
    failed = [name for name, found in outcome.items() if found == errno.EIO]
    assert 0 < len(failed) < len(bodies), outcome.keys()
    with closing(ends.api()) as api:
        for name, body in bodies.items():
            answer = api("GET", f"/api/v1/files/{name}")
            if name in failed:
                assert "s1" in answer.problem(503, "unavailable")
            else:
                assert answer.body == body
        assert api("PUT", "/api/v1/files/meanwhile", b"m" * 2_000_000).status == 201
        assert api("GET", "/health/ready").status == 200

        # It returns: all is right.
        shards["s1"].start()
        shards["s1"].ready()
        routers[0].start()
        # By both routers, which take turns, and each find out for themselves.
        paths = [f"/api/v1/files/{name}" for name in failed for _ in range(3)]
        wait_until(lambda: all(api("GET", path).status == 200 for path in paths), "it is read again", 60)
        assert {name: api("GET", f"/api/v1/files/{name}").body for name in bodies} == bodies
        assert api("GET", "/api/v1/files/meanwhile").body == b"m" * 2_000_000
    assert {name: (point / name).read_bytes() for name in written} == written
    unmount(point)
    assert mounted.process.wait(60) == 0, mounted.log_text()
    balancer.wait_up("g1", "g2")
