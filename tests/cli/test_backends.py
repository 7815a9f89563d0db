"""``graviton serve`` with names and packs where the configuration says: buckets, PostgreSQL, both."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gravitonfs.client import Client
from harness.buckets import client, new_bucket
from harness.ports import free_port
from harness.postgres import PostgresServer
from harness.programs import Graviton, Running
from harness.s3server import S3Server
from harness.waiting import wait_until

SIZES = (0, 100, 300_000, 9_000_000)


def address(ready: str, what: str) -> str:
    match = re.search(rf"\b{what}=(\S+)", ready)
    assert match is not None, ready
    return match[1]


class Daemon:
    """``graviton serve`` with a configuration file."""

    def __init__(self, graviton: Graviton, file: Path, data: Path) -> None:
        self._start = lambda: graviton.start(
            "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
        )
        self.data = data
        self.running: Running = self._start()

    def restart(self) -> None:
        self.running = self._start()
        self.__dict__.pop("_ready", None)

    @property
    def ready(self) -> str:
        return self.running.ready_line()

    def put(self, name: str, body: bytes) -> None:
        url = f"{address(self.ready, 'http')}/api/v1/files/{name}"
        urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"), timeout=60).close()

    def get(self, name: str) -> bytes:
        url = f"{address(self.ready, 'http')}/api/v1/files/{name}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bytes(answer.read())

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        url = f"{address(self.ready, 'http')}{path}"
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = answer.read()
        return json.loads(told) if told else None

    def send_get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{address(self.ready, 'http')}{path}", timeout=60) as answer:
            return json.loads(answer.read())

    def client(self) -> Client:
        return Client(f"graviton://{address(self.ready, 'grpc')}", timeout=30)

    def serving(self) -> bool:
        """What gRPC's own health service tells."""
        with grpc.insecure_channel(address(self.ready, "grpc")) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def health(self) -> int:
        url = f"{address(self.ready, 'http')}/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


def bucket_lines(server: S3Server, bucket: str) -> str:
    return f'storage {{ backend = s3, s3 {{ bucket = {bucket}, endpoint = "{server.endpoint}" }} }}'


def keys(server: S3Server, bucket: str) -> list[str]:
    listed = client(server.endpoint).list_objects_v2(Bucket=bucket)
    return [item["Key"] for item in listed.get("Contents", ())]


def configuration(scratch: Path, *lines: str) -> Path:
    file = scratch / "graviton.conf"
    file.write_text("graviton {\n" + "\n".join(lines) + "\n}\n")
    return file


def bodies() -> dict[str, bytes]:
    return {f"f{size}": os.urandom(size) for size in SIZES}


# --- names in SQLite, packs in a bucket --------------------------------------------------------------


def test_packs_in_a_bucket_survive_kill(graviton: Graviton, scratch: Path, s3_server: S3Server) -> None:
    bucket = new_bucket(s3_server)
    daemon = Daemon(graviton, configuration(scratch, bucket_lines(s3_server, bucket)), scratch / "data")
    files = bodies()
    for name, body in files.items():
        daemon.put(name, body)
    with daemon.client() as rpc:
        rpc.write_bytes("by-grpc", b"grpc" * 100_000)
        assert rpc.read_bytes("f300000") == files["f300000"]
    daemon.running.kill()
    assert "store" in keys(s3_server, bucket)
    assert any(key.startswith("packs/") for key in keys(s3_server, bucket))
    assert not (daemon.data / "packs").exists()
    daemon.restart()
    assert {name: daemon.get(name) for name in files} == files
    assert daemon.get("by-grpc") == b"grpc" * 100_000
    assert daemon.health() == 200
    assert daemon.running.stop() == 0
    daemon.restart()
    assert {name: daemon.get(name) for name in files} == files
    assert daemon.running.stop() == 0


def test_a_mount_of_a_bucket_keeps_what_it_read_on_disk(
    graviton: Graviton, scratch: Path, s3_server: S3Server
) -> None:
    bucket, port = new_bucket(s3_server), free_port()
    lines = (f'data-dir = "{scratch}/data"', bucket_lines(s3_server, bucket))
    file, point = configuration(scratch, *lines), scratch / "mnt"
    body = os.urandom(9_000_000)

    def mounted() -> Running:
        return graviton.mount(
            file, point, f"cache-dir={scratch / 'cache'},cache-reserve=0,metrics=127.0.0.1:{port}"
        )

    def metric(name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return float(re.findall(rf"^graviton_{name} (\S+)$", text, re.MULTILINE)[0])

    mount = mounted()
    (point / "f").write_bytes(body)
    graviton.unmount(mount, point)
    for turn in range(3):
        mount = mounted()
        assert (point / "f").read_bytes() == body
        if turn == 0:
            assert metric("blocks_read_total") > 10
            wait_until(lambda: metric("disk_cache_filled_bytes_total") >= len(body), "the file to be on disk")
        else:
            assert metric("blocks_read_total") == 0
            assert metric("disk_cache_hit_bytes_total") >= len(body)
        graviton.unmount(mount, point)


def test_another_bucket_is_refused(graviton: Graviton, scratch: Path, s3_server: S3Server) -> None:
    """An empty one too: the files' packs are not there."""
    bucket, other = new_bucket(s3_server), new_bucket(s3_server)
    daemon = Daemon(graviton, configuration(scratch, bucket_lines(s3_server, bucket)), scratch / "data")
    daemon.put("f", os.urandom(3_000_000))
    assert daemon.running.stop() == 0
    file = configuration(scratch, bucket_lines(s3_server, other))
    refused = graviton.run("serve", "--config", file, "--data", daemon.data, status=1)
    assert b"no object 'store'" in refused.stderr
    assert not keys(s3_server, other)
    file = configuration(scratch, bucket_lines(s3_server, bucket))
    refused = graviton.run("serve", "--config", file, "--data", scratch / "fresh", status=1)
    assert b"belongs to the store" in refused.stderr


def test_backends_are_not_mixed_up(graviton: Graviton, scratch: Path, s3_server: S3Server) -> None:
    bucket = new_bucket(s3_server)
    file = configuration(scratch, bucket_lines(s3_server, bucket))
    graviton.run("init", scratch / "local")
    refused = graviton.run("serve", "--config", file, "--data", scratch / "local", status=1)
    assert b"another data-dir" in refused.stderr
    assert not keys(s3_server, bucket)
    daemon = Daemon(graviton, file, scratch / "data")
    daemon.put("f", b"x")
    second = graviton.run("serve", "--config", file, "--data", daemon.data, status=1)
    assert b"graviton serve" in second.stderr  # who has it
    assert daemon.running.stop() == 0
    graviton.run("serve", "--data", daemon.data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", status=1)
    refused = graviton.run("up", "--config", file, "--data", scratch / "up", status=1)
    assert b"graviton serve" in refused.stderr


# --- names in PostgreSQL -----------------------------------------------------------------------------


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The line that leads to an empty database. Before ``graviton`` in a test's arguments: its processes
    end first."""
    if not postgres.runs:
        postgres.start()
    conninfo = postgres.database()
    name = conninfo.rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    yield f'database {{ jdbc-url = "{url}", username = graviton }}'
    postgres.drop(conninfo)


@pytest.fixture(params=["directory", "s3"])
def packs(request: pytest.FixtureRequest) -> str:
    """Where they are kept; daemons with a directory share it."""
    if request.param == "directory":
        return "storage { backend = directory }"
    s3_server: S3Server = request.getfixturevalue("s3_server")
    return bucket_lines(s3_server, new_bucket(s3_server))


def two(graviton: Graviton, scratch: Path, database: str, packs: str) -> tuple[Daemon, Daemon]:
    """Started at once on nothing."""
    file = configuration(scratch, database, packs)
    shared = "directory" in packs
    return tuple(  # type: ignore[return-value]
        Daemon(graviton, file, scratch / ("data" if shared else f"data-{n}")) for n in range(2)
    )


def test_two_daemons_are_one_store(database: str, packs: str, graviton: Graviton, scratch: Path) -> None:
    one, other = two(graviton, scratch, database, packs)
    files = bodies()
    for name, body in files.items():
        one.put(name, body)
        assert other.get(name) == body
        other.put(name, body[::-1])
        assert one.get(name) == body[::-1]
    with one.client() as rpc, other.client() as second:
        rpc.write_bytes("g", b"grpc" * 100_000)
        assert second.read_bytes("g") == b"grpc" * 100_000
        second.rename("g", "h")
        assert not rpc.exists("g")
        assert rpc.read_bytes("h") == b"grpc" * 100_000
    one.running.kill()
    assert {name: other.get(name) for name in files} == {name: body[::-1] for name, body in files.items()}
    one.restart()
    assert {name: one.get(name) for name in files} == {name: body[::-1] for name, body in files.items()}
    one.put("last", b"x" * 2_000_000)
    assert one.running.stop() == 0
    assert other.get("last") == b"x" * 2_000_000
    assert other.running.stop() == 0
    assert (scratch / "data" / "packs").exists() == ("directory" in packs)
    one.restart()
    assert one.get("last") == b"x" * 2_000_000
    assert one.running.stop() == 0


def test_an_upload_goes_on_through_another_daemon(database: str, graviton: Graviton, scratch: Path) -> None:
    one, other = two(graviton, scratch, database, "storage { backend = directory }")
    parts = [os.urandom(3_000_000) for _ in range(3)]
    begun = one.send("POST", "/api/v1/uploads", b"{}", {"Content-Type": "application/json"})
    place = f"/api/v1/uploads/{begun['id']}"
    for n, (daemon, part) in enumerate(zip((one, other, one), parts, strict=True)):
        daemon.send("PATCH", place, part, {"Upload-Offset": str(3_000_000 * n)})
    made = one.send("POST", place, b"{}", {"Content-Type": "application/json"})
    url = f"{address(other.ready, 'http')}/api/v1/blobs/{made['id']}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"".join(parts)
    assert one.running.stop() == other.running.stop() == 0


def test_readiness_follows_the_database(
    postgres: PostgresServer, database: str, graviton: Graviton, scratch: Path
) -> None:
    graviton.allow_log("database server does not answer|database does not answer")
    daemon = Daemon(graviton, configuration(scratch, database), scratch / "data")
    daemon.put("f", b"before" * 100_000)
    assert daemon.health() == 200
    postgres.kill()
    wait_until(lambda: daemon.health() == 503, "the daemon is not ready", 30)
    wait_until(lambda: not daemon.serving(), "gRPC says so, too", 30)
    postgres.start()
    wait_until(lambda: daemon.health() == 200, "the daemon is ready again", 60)
    wait_until(daemon.serving, "gRPC says so, too", 60)
    assert daemon.get("f") == b"before" * 100_000
    daemon.put("g", b"after")
    assert daemon.get("g") == b"after"
    assert daemon.running.stop() == 0


def test_daemons_with_a_directory_must_share_it(database: str, graviton: Graviton, scratch: Path) -> None:
    file = configuration(scratch, database)
    daemon = Daemon(graviton, file, scratch / "data")
    daemon.put("f", b"x")
    refused = graviton.run("serve", "--config", file, "--data", scratch / "elsewhere", status=1)
    assert b"share" in refused.stderr
    assert daemon.running.stop() == 0
    graviton.run("init", scratch / "local")
    refused = graviton.run("serve", "--config", file, "--data", scratch / "local", status=1)
    assert b"another data-dir" in refused.stderr
    refused = graviton.run("init", daemon.data, status=1)
    assert b"not empty" in refused.stderr


def test_commands_go_through_the_daemon(database: str, graviton: Graviton, scratch: Path) -> None:
    daemon = Daemon(graviton, configuration(scratch, database), scratch / "data")
    daemon.put("f", os.urandom(3_000_000))
    told = json.loads(graviton.run("info", daemon.data, "--json").stdout)
    assert told["logical_bytes"] == 3_000_000
    assert json.loads(graviton.run("token", "create", "--name", "t", "--json", daemon.data).stdout)["token"]
    graviton.run("gc", daemon.data)
    assert not json.loads(graviton.run("fsck", daemon.data, "--json").stdout)["findings"]
    graviton.run("get", f"{daemon.data}:/f", scratch / "copy")
    assert (scratch / "copy").read_bytes() == daemon.get("f")
    assert daemon.running.stop() == 0


@pytest.mark.mount
def test_a_mount_without_a_daemon_sees_what_daemons_do(
    database: str, packs: str, graviton: Graviton, scratch: Path
) -> None:
    file = configuration(scratch, f'data-dir = "{scratch}/data"', database, packs)
    daemon = Daemon(graviton, file, scratch / "data")
    assert daemon.ready
    point = scratch / "mnt"
    mounted = graviton.mount(file, point)
    for turn in range(10):
        body = os.urandom(300_000 * turn)
        daemon.put("f", body)
        assert (point / "f").read_bytes() == body
        (point / "g").write_bytes(body[::-1])
        assert daemon.get("g") == body[::-1]
        (point / "g").rename(point / f"h{turn}")
        assert daemon.get(f"h{turn}") == body[::-1]
    assert sorted(os.listdir(point)) == ["f", *(f"h{turn}" for turn in range(10))]
    (point / "large").write_bytes(b"x" * 20_000_000)
    graviton.unmount(mounted, point)
    assert daemon.get("large") == b"x" * 20_000_000
    assert daemon.running.stop() == 0


@pytest.mark.mount
def test_a_mount_in_the_background(database: str, graviton: Graviton, scratch: Path) -> None:
    file = configuration(scratch, f'data-dir = "{scratch}/data"', database)
    point = scratch / "mnt"
    point.mkdir()
    graviton.run("mount", file, point, XDG_STATE_HOME=str(scratch))
    second = scratch / "second"
    second.mkdir()
    graviton.run("mount", file, second, XDG_STATE_HOME=str(scratch))
    (point / "f").write_bytes(b"x" * 3_000_000)
    assert (second / "f").read_bytes() == b"x" * 3_000_000
    assert json.loads(graviton.run("info", point, "--json").stdout)["logical_bytes"] == 3_000_000
    graviton.run("cp", point / "f", point / "g")
    assert (second / "g").read_bytes() == b"x" * 3_000_000
    graviton.run("umount", point)
    (second / "f").unlink()
    assert os.listdir(second) == ["g"]
    graviton.run("umount", second)
    for log in (scratch / "graviton").glob("*.log"):
        assert "ERROR" not in log.read_text()
        assert "Traceback" not in log.read_text()


def test_collection_by_one_daemon_keeps_what_another_writes(
    database: str, packs: str, graviton: Graviton, scratch: Path
) -> None:
    one, other = two(graviton, scratch, database, packs)
    assert one.ready
    assert other.ready
    homes = [one.data, other.data] if one.data != other.data else sorted(one.data.glob("engine-*"))
    kept = {}
    for turn in range(4):
        body = os.urandom(3_000_000)
        one.put(f"gone{turn}", body)
        if turn % 2:
            one.send("DELETE", f"/api/v1/files/gone{turn}", b"", {})
        graviton.run("gc", one.data)
        other.put(f"kept{turn}", body + body[:1_000_000])
        kept[f"kept{turn}"] = body + body[:1_000_000]
        graviton.run("gc", homes[-1])
        for name, expected in kept.items():
            assert one.get(name) == expected
            assert other.get(name) == expected
    told = json.loads(graviton.run("fsck", "--read-data", one.data, "--json").stdout)
    assert not told["findings"]
    assert one.running.stop() == other.running.stop() == 0


def test_commands_take_the_configuration_file(graviton: Graviton, scratch: Path) -> None:
    """In place of the data directory that it names, whether somebody serves it or not."""
    file, point = configuration(scratch, f'data-dir = "{scratch}/data"'), scratch / "mnt"

    def all_answer() -> None:
        for command in ("gc", "fsck", "scrub"):
            graviton.run(command, file)
        for command in (("status",), ("target", "list"), ("session", "list"), ("token", "list")):
            json.loads(graviton.run(*command, file, "--json").stdout)

    all_answer()
    mount = graviton.mount(file, point)
    (point / "f").write_bytes(b"x" * 100_000)
    all_answer()
    graviton.unmount(mount, point)
