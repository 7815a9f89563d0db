"""graviton serve: what the configuration does, health, metrics, logs, other programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gravitonfs.client import Client
from gravitonfs.errors import Unauthenticated
from harness.api import Api, address_in, blob_id
from harness.ports import free_port
from harness.programs import Graviton
from harness.waiting import wait_until

BLOBS = "/api/v1/blobs"


def test_what_is_stored_is_there_after_a_restart(daemon: Callable[..., Any]) -> None:
    one = daemon()
    data = os.urandom(5_000_000)
    one.api("POST", BLOBS, data)
    one.api("PUT", "/api/v1/files/a/b", data)
    one.restart(kill=True)
    assert one.api("GET", f"{BLOBS}/{blob_id(data)}").body == data
    assert one.api("GET", "/api/v1/files/a/b").body == data
    one.api("DELETE", f"{BLOBS}/{blob_id(data)}")
    one.restart(kill=True)
    assert one.api("GET", BLOBS).json["blobs"] == []
    one.running.stop()


def test_health(daemon: Callable[..., Any]) -> None:
    api = daemon().api
    assert api("GET", "/health").json["checks"] == {"database": "ok", "storage": "ok"}
    assert api("GET", "/health/live").json == {"status": "ok"}
    assert api("GET", "/health/ready").status == 200


def test_metrics_have_the_guides_names(daemon: Callable[..., Any]) -> None:
    port = free_port()
    one = daemon(f"graviton {{ metrics.prometheus-port = {port}, webdav {{ enabled = true, port = 0 }} }}")
    data = os.urandom(300_000)
    one.api("POST", BLOBS, data)
    one.api("GET", f"{BLOBS}/{blob_id(data)}")
    one.api("GET", f"{BLOBS}/{blob_id(b'none')}")
    dav = Api(address_in(one.ready, "webdav"))
    dav("PUT", "/f", b"x")
    dav("GET", "/f")
    dav.close()
    text = one.api("GET", "/metrics").body.decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        other = answer.read().decode()
    for page in (text, other):
        for line in (
            'graviton_uploads_total{front_end="http"} 1.0',
            'graviton_downloads_total{front_end="http"} 1.0',
            'graviton_uploads_total{front_end="webdav"} 1.0',
            'graviton_downloads_total{front_end="webdav"} 1.0',
            'graviton_request_duration_seconds_count{front_end="http",operation="post blobs"} 1.0',
            'graviton_request_duration_seconds_count{front_end="webdav",operation="PUT"} 1.0',
            "graviton_replicas_unhealthy 0.0",
        ):
            assert line in page, line
        assert re.search(r'^graviton_request_duration_seconds_bucket\{.*operation="get blobs"', page, re.M)
        stored = re.search(r'^graviton_storage_bytes\{target="local"\} ([0-9.e+]+)$', page, re.M)
        capacity = re.search(r'^graviton_storage_capacity\{target="local"\} ([0-9.e+]+)$', page, re.M)
        assert stored is not None
        assert capacity is not None
        assert 300_000 <= float(stored[1]) < float(capacity[1])
        assert "# TYPE graviton_errors_total counter" in page or "# TYPE graviton_errors counter" in page


def test_metrics_can_be_off(daemon: Callable[..., Any]) -> None:
    api = daemon("graviton.metrics.enabled = false").api
    api("GET", "/metrics").problem(404, "not-found")


def test_json_logs_carry_the_request_id(daemon: Callable[..., Any]) -> None:
    one = daemon('graviton.logging { format = json, correlation-id-header = "X-Correlation" }')
    assert one.api("GET", BLOBS, X_Correlation="my-id-1").headers["x-correlation"] == "my-id-1"
    given = one.api("GET", BLOBS, X_Correlation="bad id\x7f").headers["x-correlation"]
    assert re.fullmatch("[0-9a-f]{32}", given)
    problem = one.api("GET", f"{BLOBS}/x", X_Correlation="my-id-2").json
    assert problem["request_id"] == "my-id-2"

    def entry() -> Any:
        entries = [json.loads(line) for line in one.running.log_text().splitlines() if line.startswith("{")]
        return next((found for found in entries if found.get("request_id") == "my-id-1"), None)

    found = wait_until(entry, "the log entry", 10)
    assert (found["method"], found["path"], found["status"]) == ("GET", BLOBS, 200)


def test_the_log_level_of_the_environment_wins(daemon: Callable[..., Any]) -> None:
    one = daemon("graviton.logging.level = INFO", GRAVITON_LOG_LEVEL="ERROR")
    one.api("GET", BLOBS)
    assert "GET /api/v1/blobs" not in one.running.log_text()


def test_production(daemon: Callable[..., Any], graviton: Graviton) -> None:
    graviton.allow_log("means nothing|is ignored|damaged|cannot be read|could not|no such|records")
    one = daemon(GRAVITON_ENV="production", JAVA_OPTS="-Xmx256m -Xms2g -XX:+UseG1GC")
    one.api("POST", BLOBS, b"x")
    lines = one.running.log_text().splitlines()
    ignored = [line for line in lines if "-XX:+UseG1GC" in line]
    assert len(ignored) == 1
    assert all(json.loads(line)["level"] for line in lines if "graviton:" not in line)


def test_administration(daemon: Callable[..., Any]) -> None:
    one = daemon()
    api = one.api
    api("POST", BLOBS, os.urandom(100_000))
    status = api("GET", "/api/v1/admin/status").json
    assert (status["role"], status["http"]) == ("serve", one.url)
    assert api("GET", "/api/v1/admin/info").json["stored_bytes"] >= 0
    sessions = api("GET", "/api/v1/admin/sessions").json["sessions"]
    mine = next(session for session in sessions if session["label"] == "serve")
    assert api("DELETE", f"/api/v1/admin/sessions/{mine['number']}").status == 204
    api("DELETE", f"/api/v1/admin/sessions/{mine['number']}").problem(404, "not-found")
    assert api("POST", BLOBS, b"after the eviction").status == 201
    for kind, body in (("gc", {"dry_run": True}), ("scrub", {}), ("fsck", {"read_data": True})):
        started = api("POST", f"/api/v1/admin/{kind}", body)
        assert started.status == 202

        def ended(where: str = started.headers["location"]) -> Any:
            job = api("GET", where).json
            return job if job["state"] != "running" else None

        job = wait_until(ended, f"the job {kind}", 60)
        assert (job["state"], job["error"]) == ("done", None)
    api("POST", "/api/v1/admin/gc", {"dry_run": "x"}).problem(400, "invalid")
    api("GET", "/api/v1/admin/jobs/none").problem(404, "not-found")
    assert api("POST", f"/api/v1/admin/jobs/{job['id']}/cancel").status == 202
    assert {job["kind"] for job in api("GET", "/api/v1/admin/jobs").json["jobs"]} == {"gc", "scrub", "fsck"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "graviton.storage { backend = sharded, sharded.shards = [{name = a, address = b}] }",
            "is no address",
        ),
        ("graviton.storage.targets = [{name = a, kind = directory, zone = z}]", "graviton.storage.targets"),
        ("graviton.server.http.prot = 1", "did you mean port?"),
    ],
)
def test_what_cannot_be_served_is_refused(graviton: Graviton, scratch: Path, text: str, what: str) -> None:
    file = scratch / "x.conf"
    file.write_text(text)
    refused = graviton.run("serve", "--config", file, "--data", scratch / "data", status=1)
    assert what in refused.stderr.decode()
    assert not (scratch / "data").exists()


def test_a_port_in_use(daemon: Callable[..., Any], graviton: Graviton, scratch: Path) -> None:
    one = daemon()
    refused = graviton.run(
        "serve",
        "--data",
        scratch / "other",
        "--http",
        f"127.0.0.1:{one.api.port}",
        "--grpc",
        "127.0.0.1:0",
        status=1,
    )
    assert b"in use" in refused.stderr


def test_up_serves_http_too(graviton: Graviton, scratch: Path) -> None:
    running = graviton.start(
        "up",
        "--data",
        scratch / "d",
        "--webdav",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
    )
    ready = running.ready_line()
    api, dav = Api(address_in(ready)), Api(address_in(ready, "webdav"))
    assert api("PUT", "/api/v1/files/f", b"one tree").status == 201
    assert dav("GET", "/f").body == b"one tree"
    api.close()
    dav.close()
    assert running.stop() == 0


def test_commands_work_through_the_daemon(
    daemon: Callable[..., Any], graviton: Graviton, tmp_path: Path
) -> None:
    one = daemon()
    one.api("PUT", "/api/v1/files/f", b"from the api")
    assert graviton.run("cat", f"{one.data}:/f").stdout == b"from the api"
    status = json.loads(graviton.run("status", one.data, "--json").stdout)
    assert status["http"] == one.url


def test_both_protocols_have_one_store(daemon: Callable[..., Any], graviton: Graviton) -> None:
    one = daemon("graviton.auth.enabled = true")
    secret = graviton.run("token", "create", one.data, "--name", "robot").stdout.decode().strip()
    api = one.client(secret)
    address = address_in(one.ready, "grpc")
    data = os.urandom(3_000_000)
    with Client(f"graviton://{address}", token=secret) as client:
        stored = client.blobs.put(data)
        assert str(stored.id) == blob_id(data)
        assert api("GET", f"{BLOBS}/{blob_id(data)}").body == data
        other = os.urandom(100_000)
        api("POST", BLOBS, other)
        assert client.blobs.get(blob_id(other)) == other
    with pytest.raises(Unauthenticated), Client(f"graviton://{address}", token="wrong") as client:
        client.blobs.get(blob_id(other))
    text = api("GET", "/metrics").body.decode()
    assert 'graviton_uploads_total{front_end="grpc"} 1.0' in text
    assert 'graviton_request_duration_seconds_count{front_end="grpc"' in text


def test_volumes(daemon: Callable[..., Any]) -> None:
    api = daemon().api
    assert api("POST", "/api/v1/admin/volumes", {"name": "photos"}).status == 201
    api("POST", "/api/v1/admin/volumes", {"name": "photos"}).problem(409, "exists")
    api("POST", "/api/v1/admin/volumes", {"name": "No!"}).problem(400, "invalid")
    assert api("PUT", "/api/v1/files/f?volume=photos", b"here").status == 201
    assert api("GET", "/api/v1/files/f?volume=photos").body == b"here"
    api("GET", "/api/v1/files/f").problem(404, "not-found")
    where = api("POST", f"{BLOBS}?volume=photos", b"a blob of photos").headers["location"]
    assert api("GET", where).body == b"a blob of photos"
    assert api("DELETE", "/api/v1/admin/volumes/photos").status == 204
    api("GET", where).problem(404, "not-found")
    api("DELETE", "/api/v1/admin/volumes/photos").problem(404, "not-found")
    api("DELETE", "/api/v1/admin/volumes/main").problem(403, "not-permitted")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(daemon: Callable[..., Any], tmp_path: Path) -> None:
    one = daemon()
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))

    def curl(*arguments: str | Path) -> str:
        done = subprocess.run(
            ["curl", "-sS", "--fail-with-body", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    stored = json.loads(curl("--data-binary", f"@{source}", f"{one.url}{BLOBS}"))
    assert stored["id"] == blob_id(source.read_bytes())
    curl("-T", source, f"{one.url}/api/v1/files/dir/name")
    curl("-o", target, f"{one.url}/api/v1/files/dir/name")
    assert target.read_bytes() == source.read_bytes()
    target.write_bytes(source.read_bytes()[:1_000_000])
    curl("-C", "-", "-o", target, f"{one.url}{BLOBS}/{stored['id']}")
    assert target.read_bytes() == source.read_bytes()
    curl("-H", "Transfer-Encoding: chunked", "-T", source, f"{one.url}/api/v1/files/chunked")
    assert one.api("GET", "/api/v1/files/chunked").body == source.read_bytes()
